"""efio.ChunkedStream and BufferedStream: what they hold, who waits, how they end; the original's own examples."""

from __future__ import annotations

import asyncio
import hashlib
import io
import itertools
import os
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until
from hypothesis import given
from hypothesis import strategies as st

from efio import BufferedStream, ChunkedStream, StreamBroken


def filled(*chunks: bytes) -> ChunkedStream:
    stream = ChunkedStream()
    for chunk in chunks:
        stream.push(chunk)
    return stream


def test_the_examples_of_the_original() -> None:
    stream = filled(b"01", b"23", b"45", b"67")
    assert [stream.copy(0, 3), stream.copy(1, 1), stream.copy(3, 5), stream.copy(3, 6)] == [
        b"012",
        b"1",
        *[b"34567"] * 2,
    ]
    assert stream.copy(8, 1) == b"", "beyond the end there is nothing"
    assert stream.erase(5) == 5
    assert (stream.copy(0, 10), len(stream)) == (b"567", 3)
    assert stream.erase(10) == 3
    stream = filled(b"01", b"23", b"45", b"67")
    stream.end()
    assert [stream.read(1), stream.read(1), stream.read(3), stream.read(10), stream.read(1)] == [
        b"0", b"1", b"234", b"567", b"",
    ]  # fmt: skip


def test_chunks_are_not_copied() -> None:
    data = bytearray(b"some data")
    stream = filled(data)  # type: ignore[arg-type]
    view = stream.view()
    data[0:4] = b"same"
    assert bytes(view) == b"same data"
    stream = filled(b"abc", b"defg")
    assert bytes(stream.peek()) == b"abc"
    assert [bytes(stream.view(2)), bytes(stream.view(2)), bytes(stream.view())] == [b"ab", b"c", b"defg"]
    stream.end()
    assert bytes(stream.view()) == b""
    stream = filled(b"x", b"", b"yz")
    stream.end()
    assert [bytes(chunk) for chunk in stream] == [b"x", b"yz"]


def test_a_byte_of_255_is_no_end() -> None:
    """The original takes it for the end at the beginning of a chunk."""
    stream = filled(b"\xff\xff", b"\xff")
    stream.end()
    reader = BufferedStream(stream)
    assert [reader.read(1), reader.read1(), reader.read()] == [b"\xff", b"\xff", b"\xff"]


def test_length_is_kept() -> None:
    stream = ChunkedStream(length=5)
    stream.push(b"123")
    with pytest.raises(ValueError, match="6 bytes would be pushed, the stream has a length of 5"):
        stream.push(b"456")
    with pytest.raises(ValueError, match=r"3 of 5 bytes have been pushed: use fail\(\)"):
        stream.end()
    stream.push(b"45")
    stream.end()
    stream.end()
    with pytest.raises(ValueError, match="has ended"):
        stream.push(b"6")
    assert stream.read() == b"12345"
    for bad in ({"length": -1}, {"limit": -1}):
        with pytest.raises(ValueError, match="cannot be less than 0"):
            ChunkedStream(**bad)


def test_a_failure_comes_after_what_was_there() -> None:
    stream = filled(b"before")
    stream.fail()
    assert stream.read(6) == b"before"
    for _ in range(2):
        with pytest.raises(StreamBroken, match="given up after 6 bytes"):
            stream.read(1)
    stream = ChunkedStream()
    error = ZeroDivisionError("mine")
    stream.fail(error)
    with pytest.raises(ZeroDivisionError) as caught:
        stream.wait()
    assert caught.value is error


def test_an_interrupted_read_has_taken_nothing() -> None:
    stream = filled(b"abc", b"de")
    with pytest.raises(TimeoutError):
        stream.read(10, timeout=0.01)
    assert (stream.size, stream.statistics().taken, stream.read(4)) == (5, 0, b"abcd")

    async def cancelled() -> None:
        task = asyncio.create_task(stream.aread(10))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    stream.push(b"f")
    asyncio.run(cancelled())
    assert (stream.size, stream.copy(0, 10)) == (2, b"ef")

    def killed() -> bytes:
        victim = gevent.spawn(stream.read, 10)
        gevent.sleep(0)
        victim.kill()
        stream.push(b"g")
        stream.end()
        return stream.read()

    assert in_thread(killed, hub=True).result(PATIENCE) == b"efg"


def test_what_was_there_before_a_failure_comes_first_whatever_is_asked_for() -> None:
    stream = filled(b"abc", b"d")
    stream.fail()
    assert stream.read() == b"abcd"
    with pytest.raises(StreamBroken):
        stream.read()
    stream = filled(b"abc")
    stream.fail()
    assert asyncio.run(stream.aread(10)) == b"abc"


def test_timeouts() -> None:
    stream = ChunkedStream(limit=2)
    with pytest.raises(TimeoutError, match=r"nothing came for 0\.01 s"):
        stream.read(1, timeout=0.01)
    stream.push(b"1234")
    assert not stream.push_nowait(b"5")
    with pytest.raises(TimeoutError, match=r"no room for 0\.01 s: 4 bytes wait"):
        stream.push(b"5", timeout=0.01)
    assert stream.read_nowait(3) == b"123"
    assert stream.push_nowait(b"5")
    assert stream.read_nowait() == b"45"
    assert stream.read_nowait() == b""


def test_closing_frees_the_producer() -> None:
    stream = ChunkedStream(limit=1)
    stream.push(b"x")
    producer = in_thread(lambda: stream.push(b"y", PATIENCE))
    until(lambda: stream.statistics().producer_waits)
    stream.close()
    with pytest.raises(StreamBroken, match="the consumer has closed"):
        producer.result(PATIENCE)
    with pytest.raises(StreamBroken):
        stream.push(b"z")
    with pytest.raises(ValueError, match="has been closed"):
        stream.wait()
    assert stream.size == 0


@pytest.mark.parametrize("producer_hub", [False, True])
@pytest.mark.parametrize("consumer_hub", [False, True])
def test_everything_arrives_in_order(producer_hub: bool, consumer_hub: bool) -> None:
    stream = ChunkedStream(limit=5000)
    pieces = [os.urandom(1 + (k * 37) % 3000) for k in range(2000)]

    def produce() -> None:
        for piece in pieces:
            stream.push(piece, PATIENCE)
        stream.end()

    def consume() -> str:
        seen = hashlib.sha256()
        k = 0
        while data := stream.read(1 + k % 5000, PATIENCE):
            assert stream.size <= 5000 + 3000
            seen.update(data)
            k += 7
        return seen.hexdigest()

    producer, consumer = in_thread(produce, hub=producer_hub), in_thread(consume, hub=consumer_hub)
    assert consumer.result(PATIENCE) == hashlib.sha256(b"".join(pieces)).hexdigest()
    producer.result(PATIENCE)
    found = stream.statistics()
    assert found.pushed == found.taken == sum(map(len, pieces))
    assert (found.size, found.chunks, found.ended) == (0, 0, True)


def test_greenlets_of_one_hub() -> None:
    def work() -> list[Any]:
        stream = ChunkedStream(limit=1)
        reader = gevent.spawn(lambda: [bytes(chunk) for chunk in stream])
        for k in range(5):
            stream.push(b"%d" % k)
        stream.end()
        found: list[Any] = reader.get(timeout=PATIENCE)
        return found

    assert in_thread(work, hub=True).result(PATIENCE) == [b"0", b"1", b"2", b"3", b"4"]


def test_tasks_of_asyncio() -> None:
    async def main() -> bytes:
        stream = ChunkedStream(limit=3)

        async def produce() -> None:
            for k in range(100):
                await stream.apush(b"%02d" % k)
            stream.end()

        task = asyncio.create_task(produce())
        found = await asyncio.wait_for(stream.aread(), PATIENCE)
        await task
        with pytest.raises(TimeoutError):
            await ChunkedStream().aread(1, timeout=0.01)
        return found

    assert asyncio.run(main()) == b"".join(b"%02d" % k for k in range(100))


# --- BufferedStream


def test_a_text_file_on_it() -> None:
    stream = ChunkedStream()
    with io.TextIOWrapper(BufferedStream(stream, "w"), "utf-8", write_through=True) as text:
        text.write("grüße\nzwei\n")
    assert list(io.TextIOWrapper(BufferedStream(stream), "utf-8")) == ["grüße\n", "zwei\n"]


def test_writes_are_gathered() -> None:
    stream = ChunkedStream()
    writer = BufferedStream(stream, "w", buffer_size=4)
    assert [writer.write(b"01"), writer.write(b"2")] == [1 + 1, 1]
    assert stream.size == 0
    writer.write(b"345")
    writer.write(b"67890")
    assert [bytes(chunk) for chunk in stream._chunks] == [b"012345", b"67890"]
    writer.write(b"x")
    writer.flush()
    writer.close()
    writer.close()
    assert stream.read() == b"01234567890x"
    with pytest.raises(ValueError, match="closed file"):
        writer.write(b"y")


def test_a_frame_around_each_chunk() -> None:
    """HTTP's chunked coding; in the original prefix and suffix are limited to 6 and 4 bytes."""
    stream = ChunkedStream()
    with BufferedStream(stream, "w", 1 << 20, lambda b: (b"%x\r\n" % len(b), b, b"\r\n")) as writer:
        writer.write(b"hello")
        writer.flush()
        writer.write(b"x" * (1 << 20))
    assert stream.read() == b"5\r\nhello\r\n100000\r\n" + b"x" * (1 << 20) + b"\r\n"


def test_reading_methods() -> None:
    stream = filled(b"line 1\nli", b"ne 2\n", b"rest")
    stream.end()
    reader = BufferedStream(stream)
    assert (reader.readable(), reader.writable()) == (True, False)
    assert reader.readline() == b"line 1\n"
    buffer = bytearray(4)
    assert (reader.readinto1(buffer), bytes(buffer[:2])) == (2, b"li")
    assert (reader.readinto(buffer), bytes(buffer)) == (4, b"ne 2")
    assert reader.peek() == b"\n"
    assert reader.readlines() == [b"\n", b"rest"]
    assert (reader.read(), reader.peek(), reader.read1(5)) == (b"", b"", b"")
    with pytest.raises(io.UnsupportedOperation, match="not writable"):
        reader.write(b"x")
    reader.close()
    with pytest.raises(ValueError, match="closed file"):
        reader.read()


def test_an_error_of_the_writer_reaches_the_reader() -> None:
    stream = ChunkedStream()

    def work() -> None:
        with BufferedStream(stream, "w") as writer:
            writer.write(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    with pytest.raises(ZeroDivisionError):
        stream.read()
    for bad in ({"mode": "rw"}, {"buffer_size": 0}):
        with pytest.raises(ValueError, match="BufferedStream"):
            BufferedStream(ChunkedStream(), **bad)  # type: ignore[arg-type]


# --- up to a separator


@given(
    text=st.text("ab;", max_size=40),
    cuts=st.lists(st.integers(0, 40), max_size=8),
    separator=st.sampled_from([b";", b"ab", b";;", b"aba", b"b;ab"]),
)
def test_readuntil_is_split(text: str, cuts: list[int], separator: bytes) -> None:
    """However the bytes are cut into chunks."""
    data = text.encode()
    edges = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    stream = ChunkedStream()
    for begin, end in itertools.pairwise(edges):
        stream.push(data[begin:end])
    stream.end()
    expected = [part + separator for part in data.split(separator)]
    expected[-1] = expected[-1][: -len(separator)]
    assert [stream.readuntil(separator) for _ in expected] == expected
    assert stream.readuntil(separator) == b""


@pytest.mark.parametrize("hub", [False, True])
def test_readuntil_waits(hub: bool) -> None:
    stream = ChunkedStream()

    def consume() -> list[bytes]:
        return [stream.readuntil(b"\r\n", timeout=PATIENCE) for _ in range(4)]

    consumer = in_thread(consume, hub=hub)
    waits = 0
    for part in (b"o", b"ne\r", b"\nt", b"wo\r\n\r", b"\nrest"):
        until(lambda waits=waits: stream.statistics().consumer_waits > waits)  # it waits for more than there is
        waits = stream.statistics().consumer_waits
        stream.push(part)
    stream.end()
    assert consumer.result(PATIENCE) == [b"one\r\n", b"two\r\n", b"\r\n", b"rest"]


def test_areaduntil() -> None:
    async def main() -> None:
        stream = ChunkedStream()
        line = asyncio.ensure_future(stream.areaduntil())
        stream.push(b"half")
        await asyncio.sleep(0)
        stream.push(b" and half\nrest")
        assert await asyncio.wait_for(line, PATIENCE) == b"half and half\n"
        with pytest.raises(TimeoutError, match=r"came for 0\.01 s"):
            await stream.areaduntil(timeout=0.01)
        stream.end()
        assert await stream.areaduntil() == b"rest"

    asyncio.run(main())


def test_what_readuntil_refuses_is_still_there() -> None:
    stream = filled(b"0123456789", b"abc;")
    with pytest.raises(ValueError, match="at least one byte"):
        stream.readuntil(b"")
    with pytest.raises(ValueError, match="no b';' within 13 bytes"):
        stream.readuntil(b";", limit=13)
    assert stream.readuntil(b";", limit=14) == b"0123456789abc;"
    open_end = ChunkedStream()
    open_end.push(b"01234")
    with pytest.raises(ValueError, match="within 4 bytes"):
        open_end.readuntil(b";", limit=4)
    with pytest.raises(TimeoutError, match="came for 0 s"):
        open_end.readuntil(b";", timeout=0)
    open_end.fail(StreamBroken("gone"))
    assert open_end.readuntil(b";") == b"01234"
    with pytest.raises(StreamBroken, match="gone"):
        open_end.readuntil(b";")
    open_end.close()
    with pytest.raises(ValueError, match="closed"):
        open_end.readuntil(b";")


def test_transfer_hands_chunks_over() -> None:
    chunk = bytearray(b"as it is")
    source, target = filled(b"first"), ChunkedStream(limit=5)
    more = ChunkedStream()
    more.push(chunk)
    more.push(b"two")
    assert target.transfer(source) == 5
    with pytest.raises(TimeoutError, match="no room"):
        target.transfer(more, timeout=0)
    assert (more.size, target.size) == (11, 5), "what there was no room for stays"
    assert target.read(5) == b"first"
    moving = in_thread(lambda: target.transfer(more, PATIENCE))
    assert target.read(8, PATIENCE) == b"as it is"
    assert target.read(3, PATIENCE) == b"two"
    assert moving.result(PATIENCE) == 11
    target.push(chunk)
    assert target.view().obj is chunk

"""What was wrong in the C library efio, whose successor this is: one test for each defect that users could meet.

Its names stand in the docstrings (ef_* files, ev_* queues, stacks, locks and streams, thrpool, base64, compression).
"""

import errno
import gc
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

import efio
import efio.os
from efio import codecs


class Item:
    """Something that can be referred to weakly."""


def in_greenlet(function: Callable[[], Any]) -> Any:
    return gevent.spawn(function).get(timeout=PATIENCE)


# --- files


def test_as_many_files_as_the_system_allows(tmp_path: Path) -> None:
    """EF_MAX_FILES: 128, then EMFILE."""
    files = [efio.open(tmp_path / str(n), "w") for n in range(300)]
    for n, file in enumerate(files):
        file.write(str(n))
        file.close()
    assert (tmp_path / "299").read_text() == "299"


@pytest.mark.parametrize("number", [-1, 1 << 20])
def test_descriptors_are_checked(number: int) -> None:
    """No function looked at the bounds of its index: memory outside of the table was read."""
    with pytest.raises((OSError, ValueError)):
        efio.open(number, "rb")


def test_files_for_writing_only(tmp_path: Path) -> None:
    """ef_open refused O_WRONLY and O_WRONLY|O_TRUNC."""
    (tmp_path / "f").write_text("longer than what is written")
    with efio.open(tmp_path / "f", "wb", 0) as file:
        file.write(b"new")
    assert (tmp_path / "f").read_bytes() == b"new"


def test_an_error_of_opening_is_told_at_once(tmp_path: Path) -> None:
    """ef_open succeeded; the error came with a later call, once, and left a bad index."""
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            in_greenlet(lambda: efio.open(tmp_path / "none" / "f", "w"))


def test_reads_of_more_than_a_mebibyte(tmp_path: Path) -> None:
    """ef_read: EINVAL beyond 1 MiB, and never across a page."""
    data = os.urandom(5 << 20)
    (tmp_path / "f").write_bytes(data)
    with efio.open(tmp_path / "f", "rb", 0) as file:
        assert in_greenlet(lambda: (file.read(3), file.read(4 << 20), file.read(5 << 20))) == (
            data[:3], data[3 : 3 + (4 << 20)], data[3 + (4 << 20) :]
        )  # fmt: skip


def test_a_file_that_grows_and_shrinks(tmp_path: Path) -> None:
    """The end of a file was that of the moment of opening; after a truncation old bytes were returned."""
    path = tmp_path / "f"
    path.write_bytes(b"old")
    with efio.open(path, "rb", 0) as file:
        assert file.read(10) == b"old"
        with path.open("ab") as more:
            more.write(b"grown")
        assert file.read(10) == b"grown"
        os.truncate(path, 2)
        assert file.read(10) == b""
        file.seek(0)
        assert file.read(10) == b"ol"


def test_after_an_error_no_read_makes_up_data() -> None:
    """The read after a failed one returned memory that nobody had written."""
    with efio.open("/proc/self/mem", "rb", 0) as file:  # address 0 cannot be read
        for _ in range(2):
            with pytest.raises(OSError, match="Input/output error"):
                in_greenlet(lambda: file.read(100))


@pytest.mark.parametrize("mode", ["w", "wb", "ab"])
def test_what_is_open_for_writing_is_not_empty(tmp_path: Path, mode: str) -> None:
    """Reading an empty file that was open for writing gave its end instead of an error."""
    with efio.open(tmp_path / "f", mode) as file, pytest.raises(OSError, match="read"):
        file.read(1)


@pytest.mark.parametrize("buffering", [0, -1])
def test_bytes_around_a_write_stay(tmp_path: Path, buffering: int) -> None:
    """Writing part of a page of an existing file filled the rest of the page with whatever was in memory."""
    data = os.urandom(3 << 20)
    (tmp_path / "f").write_bytes(data)

    def change() -> None:
        with efio.open(tmp_path / "f", "r+b", buffering) as file:
            file.seek(1_500_000)
            file.write(b"changed")

    in_greenlet(change)
    assert (tmp_path / "f").read_bytes() == data[:1_500_000] + b"changed" + data[1_500_007:]


@pytest.mark.parametrize("behind", [None, 1 << 20])
def test_errors_of_writing_are_told(behind: int | None) -> None:
    """A page that could not be written was dropped in silence; a failing ftruncate ended the process."""
    file = efio.open("/dev/full", "wb", write_behind=behind)
    assert file.write(b"x" * 100) == 100
    with pytest.raises(OSError, match="No space left") as caught:
        file.flush()
    assert caught.value.errno == errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert file.closed


def test_sync_reaches_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ef_sync called no fsync(2), and failed when there was nothing to write."""
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append((fd, os.fstat(fd).st_size)))
    with efio.open(tmp_path / "f", "wb", 0, write_behind=1 << 20) as file:
        file.sync()  # type: ignore[attr-defined]
        file.write(b"12345")
        file.sync()  # type: ignore[attr-defined]
        assert [size for _, size in synced] == [0, 5]


def test_writers_are_stopped_by_the_watermark(tmp_path: Path) -> None:
    """What waited to be written grew without limit."""
    with efio.open(tmp_path / "f", "wb", 0, write_behind=1000) as file:
        for _ in range(1000):
            file.write(b"x" * 100)
            assert file.pending <= 1000  # type: ignore[attr-defined]


def test_a_closed_file_is_not_another_one(tmp_path: Path) -> None:
    """An index was given to the next file while the last one's owner still asked for its state."""
    first = efio.open(tmp_path / "a", "w")
    number = first.fileno()
    first.close()
    with efio.open(tmp_path / "b", "w") as second:
        assert second.fileno() == number
        for use in (first.fileno, lambda: first.write("x"), first.flush):
            with pytest.raises(ValueError, match="closed file"):
                use()
        first.close()
        second.write("mine")
    assert (tmp_path / "b").read_text() == "mine"


# --- queues and stacks


@pytest.mark.parametrize("kind", [efio.Queue, efio.SimpleQueue, efio.LifoQueue, efio.Stack])
def test_nothing_is_an_item(kind: Any) -> None:
    """NULL could not be told from "empty"; it ended ev_stack's destruction early."""
    many = kind()
    put, get = many.put, many.get_nowait
    for _ in range(3):
        put(None)
    assert [get() for _ in range(3)] == [None] * 3
    with pytest.raises((efio.Empty, IndexError)):
        get()


@pytest.mark.parametrize("kind", [efio.Queue, efio.SimpleQueue])
def test_between_empty_and_one_item(kind: Any) -> None:
    """ev_queue aborted when its last item was taken while another one came."""
    there, back = kind(), kind()

    def echo() -> None:
        while (item := there.get()) is not None:
            back.put(item)

    answering = [in_thread(echo) for _ in range(2)]
    for n in range(5000):
        there.put(n)
        assert back.get(timeout=PATIENCE) == n
    for _ in answering:
        there.put(None)
    for each in answering:
        each.result(PATIENCE)


@pytest.mark.parametrize("kind", [efio.Queue, efio.SimpleQueue, efio.PriorityQueue, efio.Stack])
def test_what_was_taken_or_left_is_freed(kind: Any) -> None:
    """ev_stack kept every node; the queues leaked their nodes or their arrays."""
    many = kind()
    put, get = many.put, many.get_nowait
    items = [(n, Item()) for n in range(10)]
    gone = [weakref.ref(item) for _, item in items]
    for pair in items:
        put(pair)
    del items, pair
    for _ in range(5):
        get()
    gc.collect()
    assert sum(each() is None for each in gone) == 5
    del many, put, get
    gc.collect()
    assert all(each() is None for each in gone)


def test_two_queues_are_two() -> None:
    """ev_piqueue's indices belonged to the process: a second queue used those of the first."""
    queues = [efio.Queue(maxsize) for maxsize in (64, 2)]
    for n in range(40):
        queues[0].put(n)
    queues[1].put("a")
    assert (queues[1].get(), queues[0].qsize(), queues[0].get()) == ("a", 40, 0)


# --- locks


@pytest.mark.parametrize("kind", [efio.SpinLock, efio.TicketLock])
def test_a_lock_is_released_by_its_holder_only(kind: Any) -> None:
    """ev_spin_unlock could release the lock of whoever had taken it in between, so that two were inside."""
    lock, inside, most = kind(), 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(2000):
            with lock:
                inside += 1
                most = max(most, inside)
                inside -= 1

    for each in [in_thread(work) for _ in range(3)]:
        each.result(PATIENCE)
    assert most == 1
    with pytest.raises(RuntimeError, match="not held by the caller"):
        lock.release()
    with lock, pytest.raises(RuntimeError, match="not held by the caller"):
        in_thread(lock.release).result(PATIENCE)


def test_misuse_of_a_rwlock_is_an_error() -> None:
    """Misuse was an assert, and nothing at all in release builds."""
    lock = efio.RWLock()
    for release in (lock.release_read, lock.release_write, lock.downgrade):
        with pytest.raises(RuntimeError, match="not held"):
            release()
    with lock.reading, pytest.raises(RuntimeError, match="would wait for itself"):
        lock.acquire_write()


# --- the thread pool


@pytest.mark.parametrize("size", [0, -1])
def test_a_pool_without_threads(size: int) -> None:
    """create_thread_pool returned NULL."""
    with pytest.raises(ValueError, match="max_workers"):
        efio.ThreadPool(size)


def test_the_end_of_a_pool() -> None:
    """Tasks were taken by a pool that was shut down; destroying it twice failed, and by a worker aborted."""
    pool = efio.ThreadPool(1)
    assert "cannot wait for the end of the pool" in str(pool.submit(pool.shutdown).exception(PATIENCE))
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(print)
    pool.shutdown()
    pool.shutdown()


def test_a_task_that_fails_is_contained() -> None:
    """There was no result and no failure report; who failed took the process with it."""
    with efio.ThreadPool(1) as pool:
        assert isinstance(pool.submit(lambda: 1 // 0).exception(PATIENCE), ZeroDivisionError)
        assert pool.submit(threading.get_ident).result(PATIENCE) != threading.get_ident()


# --- streams


def test_chunks_at_the_edges() -> None:
    """A byte 0xFF at a chunk's start was the end; an empty chunk leaked; copying beyond the end was -1, or 0."""
    stream = efio.ChunkedStream()
    stream.push(b"")
    stream.push(b"\xff\xfe")
    stream.end()
    assert (stream.size, stream.copy(2, 5), stream.copy(7, 1)) == (2, b"", b"")
    assert efio.BufferedStream(stream).read() == b"\xff\xfe"


# --- codecs


@pytest.mark.parametrize("size", [*range(8), 55, 56, 57, 58, 113, 114])
def test_base64_of_any_length(size: int) -> None:
    """Padding was written over the line break when the text was a multiple of 76 characters, as of 56 bytes."""
    data = bytes(range(size))
    text = codecs.b64encode(data)
    assert len(text) == (size + 2) // 3 * 4
    assert codecs.b64decode(text) == data


@pytest.mark.parametrize("text", ["Q Q=", "QQ=", "QQ", "Q===", "QQ==\n", "QR=="])
def test_base64_that_is_not_whole(text: str) -> None:
    """A single "=" where two are due was taken, and a byte read beyond the end; line breaks only sometimes."""
    with pytest.raises(codecs.CodecError, match="base64"):
        codecs.b64decode(text)


def test_base64url_without_padding() -> None:
    """The parts of a JSON Web Token could not be decoded."""
    assert codecs.b64decode("-_-_QQ", urlsafe=True, padded=False) == b"\xfb\xff\xbfA"


@pytest.mark.parametrize("size", [0, 1, 100_000])
@pytest.mark.parametrize("form", ["zlib", "gzip", "deflate", "zstd"])
def test_what_cannot_be_made_smaller(form: Any, size: int) -> None:
    """compress wrote to memory that it had given back when the data did not shrink, and never ended for none."""
    data = os.urandom(size)
    assert codecs.decompress(codecs.compress(data, form), form) == data


def test_decompression_has_an_end(capfd: pytest.CaptureFixture[str]) -> None:
    """uncompress never ended for no data, knew no limit, and wrote its errors to stderr."""
    for nothing in (b"", b"x"):
        with pytest.raises(codecs.CodecError):
            codecs.decompress(nothing, "zlib")
    bomb = codecs.compress(bytes(1 << 20), "zlib")
    with pytest.raises(codecs.CodecError, match="1000"):
        codecs.decompress(bomb, "zlib", max_size=1000)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("text", ["abc", "0g"])
def test_hex_that_is_none(text: str) -> None:
    """hex_decode returned NULL, and did not say where."""
    with pytest.raises(codecs.CodecError, match=r"hex.* at position [12]"):
        codecs.hexdecode(text)

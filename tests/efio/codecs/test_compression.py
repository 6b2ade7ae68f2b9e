"""Compression: what the standard tools read and write, in any pieces, within limits; hashes; and where it is done."""

import asyncio
import gzip
import hashlib
import os
import sys
import threading
import zlib
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread
from hypothesis import given
from hypothesis import strategies as st

import efio
from efio import codecs
from efio.codecs import _placed

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

formats = pytest.mark.parametrize("format", codecs.FORMATS)
STANDARD: dict[str, Any] = {
    "zstd": zstd.decompress,
    "gzip": gzip.decompress,
    "zlib": zlib.decompress,
    "deflate": lambda data: zlib.decompress(data, -15),
}
LARGE = os.urandom(1000) * 1000


@formats
@pytest.mark.parametrize("level", [None, 1, 9])
def test_the_standard_tools_read_it(format: Any, level: int | None) -> None:
    for data in (b"", b"abc", LARGE):
        packed = codecs.compress(data, format, level)
        assert STANDARD[format](packed) == data
        assert codecs.decompress(memoryview(packed), format) == data


@given(st.binary(max_size=300), st.sampled_from(codecs.FORMATS), st.integers(1, 50))
def test_in_pieces(data: bytes, format: Any, size: int) -> None:
    compressor, decompressor = codecs.Compressor(format), codecs.Decompressor(format)
    packed = b"".join(
        [*(compressor.update(data[n : n + size]) for n in range(0, len(data), size)), compressor.finish()]
    )
    for _ in range(2):  # after finish() it is as new
        out = [decompressor.update(packed[n : n + size]) for n in range(0, len(packed), size)]
        assert b"".join([*out, decompressor.finish()]) == data


@pytest.mark.parametrize("format", ["gzip", "zstd"])
def test_several_members(format: Any) -> None:
    packed = codecs.compress(b"one, ", format) + codecs.compress(b"two", format)
    assert codecs.decompress(packed, format) == b"one, two"


@pytest.mark.parametrize("format", ["zlib", "deflate"])
def test_something_after_the_end(format: Any) -> None:
    packed = codecs.compress(b"one", format)
    with pytest.raises(codecs.CodecError, match=f"{format}: something after the end at position {len(packed)}"):
        codecs.decompress(packed + b"x", format)


@formats
def test_damaged_and_cut_short(format: Any) -> None:
    packed = codecs.compress(LARGE, format)
    for n in (0, 1, len(packed) // 2, len(packed) - 1):
        with pytest.raises(codecs.CodecError, match=f"{format}: the end is missing at position {n}"):
            codecs.decompress(packed[:n], format)
    with pytest.raises(codecs.CodecError, match=rf"{format}: it is damaged \(.+\), in the piece at position 0"):
        codecs.decompress(b"\xff" * 100, format)


@formats
def test_limit(format: Any) -> None:
    packed = codecs.compress(bytes(10_000_000), format)
    assert len(codecs.decompress(packed, format, max_size=10_000_000)) == 10_000_000
    with pytest.raises(codecs.CodecError, match="more than max_size=9999999 bytes come out"):
        codecs.decompress(packed, format, max_size=9_999_999)
    piecewise = codecs.Decompressor(format, max_size=1000)
    bits = [packed[n : n + 1] for n in range(len(packed))]
    with pytest.raises(codecs.CodecError, match="more than max_size=1000 bytes come out"):
        b"".join(map(piecewise.update, bits))


def test_names_that_do_not_exist() -> None:
    with pytest.raises(ValueError, match=r"no format 'lzma'; there are zstd, gzip, zlib, deflate"):
        codecs.compress(b"", "lzma")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"no format 'lzma'"):
        codecs.decompress(b"", "lzma")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"level=11: gzip has -1 \(default\) and 0 to 9"):
        codecs.compress(b"", "gzip", 11)
    with pytest.raises(ValueError, match=r"no algorithm 'crc'; there are blake2b, .*sha256"):
        codecs.digest(b"", "crc")


def test_digest() -> None:
    for algorithm in ("sha256", "blake2b", "sha3_512", "md5"):
        for data in (b"", b"abc", LARGE):
            assert codecs.digest(data, algorithm) == hashlib.new(algorithm, data).digest()


# --- where it is done


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The threads in which something was done."""
    threads: list[int] = []

    def wrap(function: Any) -> Any:
        def wrapped(*arguments: Any) -> Any:
            threads.append(threading.get_ident())
            return function(*arguments)

        return wrapped

    for name in ("_compress", "_decompress", "_digest"):
        monkeypatch.setattr(_placed, name, wrap(getattr(_placed, name)))
    return threads


def use(data: bytes) -> None:
    packed = codecs.compress(data, "zlib", 0)
    assert codecs.decompress(packed, "zlib") == data
    assert codecs.digest(data) == hashlib.sha256(data).digest()


def test_in_a_thread_all_is_done_there(callers: list[int]) -> None:
    use(LARGE)
    assert set(callers) == {threading.get_ident()}


def test_in_a_greenlet_large_data_go_to_the_pool(callers: list[int]) -> None:
    def in_hub() -> int:
        use(b"small")
        assert set(callers) == {threading.get_ident()}
        callers.clear()
        ticks: list[int] = []
        ticker = gevent.spawn(lambda: [ticks.append(gevent.sleep(0) or 1) for _ in range(3)])
        use(LARGE)
        ticker.join()
        return threading.get_ident()

    assert in_thread(in_hub, hub=True).result(PATIENCE) not in callers
    assert len(callers) == 3


def test_in_a_greenlet_of_a_thread_of_the_pool(callers: list[int]) -> None:
    def call() -> int:
        gevent.spawn(use, LARGE).get()
        return threading.get_ident()

    assert {efio.default_pool().submit(call).result(PATIENCE)} == set(callers)


def test_in_a_task(callers: list[int]) -> None:
    async def use_async(data: bytes) -> None:
        packed = await codecs.compress_async(data, "zlib", 0)
        assert await codecs.decompress_async(packed, "zlib") == data
        assert await codecs.digest_async(data) == hashlib.sha256(data).digest()

    asyncio.run(use_async(b"small"))
    assert set(callers) == {threading.get_ident()}
    callers.clear()
    asyncio.run(use_async(LARGE))
    assert threading.get_ident() not in callers
    assert len(callers) == 3

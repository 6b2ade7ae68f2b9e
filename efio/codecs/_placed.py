"""Compression and hashes of whole data, placed where they delay nobody.

In a greenlet, data that would take longer than some 200 us is given to a thread of the default pool, which works on it
without the interpreter lock, and the greenlet is switched out. In a plain thread, where nobody else waits, all is done
on the spot. The ..._async functions do the same for a task of asyncio.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any, TypeVar

from efio._offload import call, call_async
from efio.codecs._compression import MAX_SIZE, Compressor, Decompressor, Format
from efio.codecs._errors import Bytes

__all__ = ["compress", "compress_async", "decompress", "decompress_async", "digest", "digest_async"]

T = TypeVar("T")

# Bytes that take some 200 us; `scripts/bench efio codecs` prints the rates.
INLINE_DIGEST = 128 * 1024
INLINE_COMPRESS = {"zstd": 32 * 1024, "gzip": 8 * 1024, "zlib": 8 * 1024, "deflate": 8 * 1024}
INLINE_DECOMPRESS = 32 * 1024  # that go in


def _call(large: bool, function: Callable[..., T], *arguments: Any) -> T:
    return call(function, *arguments) if large else function(*arguments)


async def _call_async(large: bool, function: Callable[..., T], *arguments: Any) -> T:
    return await call_async(function, *arguments) if large else function(*arguments)


def _size(data: Bytes) -> int:
    return data.nbytes if isinstance(data, memoryview) else len(data)


def _compress(data: Bytes, format: Format, level: int | None) -> bytes:
    compressor = Compressor(format, level)
    return compressor.update(data) + compressor.finish()


def _decompress(data: Bytes, format: Format, max_size: int) -> bytes:
    decompressor = Decompressor(format, max_size=max_size)
    result = decompressor.update(data)
    decompressor.finish()
    return result


def _digest(data: Bytes, algorithm: str) -> bytes:
    hash_ = hashlib.new(algorithm, usedforsecurity=False)
    hash_.update(data)
    return hash_.digest()


def _check_algorithm(algorithm: str) -> None:
    if algorithm not in hashlib.algorithms_guaranteed or algorithm.startswith("shake"):
        known = ", ".join(sorted(a for a in hashlib.algorithms_guaranteed if not a.startswith("shake")))
        raise ValueError(f"there is no algorithm {algorithm!r}; there are {known}")


def compress(data: Bytes, format: Format = "zstd", level: int | None = None) -> bytes:
    """The compressed stream. `format`: zstd, gzip, zlib or deflate (without a header); `level` as Compressor's."""
    return _call(_size(data) > INLINE_COMPRESS.get(format, 0), _compress, data, format, level)


async def compress_async(data: Bytes, format: Format = "zstd", level: int | None = None) -> bytes:
    """compress() for a task of asyncio."""
    return await _call_async(_size(data) > INLINE_COMPRESS.get(format, 0), _compress, data, format, level)


def decompress(data: Bytes, format: Format = "zstd", *, max_size: int = MAX_SIZE) -> bytes:
    """What was compressed. CodecError when it is damaged, not all there, or more than `max_size` bytes."""
    return _call(_size(data) > INLINE_DECOMPRESS, _decompress, data, format, max_size)


async def decompress_async(data: Bytes, format: Format = "zstd", *, max_size: int = MAX_SIZE) -> bytes:
    """decompress() for a task of asyncio."""
    return await _call_async(_size(data) > INLINE_DECOMPRESS, _decompress, data, format, max_size)


def digest(data: Bytes, algorithm: str = "sha256") -> bytes:
    """The hash. `algorithm`: one of hashlib.algorithms_guaranteed but the shakes, such as sha256, sha3_512, blake2b."""
    _check_algorithm(algorithm)
    return _call(_size(data) > INLINE_DIGEST, _digest, data, algorithm)


async def digest_async(data: Bytes, algorithm: str = "sha256") -> bytes:
    """digest() for a task of asyncio."""
    _check_algorithm(algorithm)
    return await _call_async(_size(data) > INLINE_DIGEST, _digest, data, algorithm)

"""zlib, gzip, raw deflate (RFC 1950 to 1952) and Zstandard (RFC 8878), piece by piece, with one interface.

Several gzip members or zstd frames after one another are one stream, as their specifications have it. A limit on what
comes out is not optional: a few bytes can stand for gigabytes.
"""

from __future__ import annotations

import sys
import zlib
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from efio.codecs._errors import Bytes, CodecError

if TYPE_CHECKING or sys.version_info < (3, 14):
    from backports import zstd
else:
    from compression import zstd

__all__ = ["FORMATS", "MAX_SIZE", "Compressor", "Decompressor", "Format"]

Format: TypeAlias = Literal["zstd", "gzip", "zlib", "deflate"]
FORMATS: tuple[Format, ...] = ("zstd", "gzip", "zlib", "deflate")
MAX_SIZE = 64 * 2**20  # bytes that a Decompressor returns at most, by default

_WBITS = {"gzip": 31, "zlib": 15, "deflate": -15}
_SEVERAL = ("gzip", "zstd")


def _check(format: str) -> None:
    if format not in FORMATS:
        raise ValueError(f"there is no format {format!r}; there are {', '.join(FORMATS)}")


class Compressor:
    """update(...) + update(...) + ... + finish() is the compressed stream of all pieces.

    `level`: as zlib's (0 to 9) or zstd's (about -7 to 22); None is the library's default. ValueError for others.
    """

    def __init__(self, format: Format = "zstd", level: int | None = None) -> None:
        _check(format)
        self._object: Any
        if format == "zstd":
            self._object = zstd.ZstdCompressor(level)
        else:
            if level is not None and not -1 <= level <= 9:
                raise ValueError(f"level={level}: {format} has -1 (default) and 0 to 9")
            self._object = zlib.compressobj(-1 if level is None else level, zlib.DEFLATED, _WBITS[format])

    def update(self, data: Bytes) -> bytes:
        """What is certain of the stream."""
        result: bytes = self._object.compress(data)
        return result

    def finish(self) -> bytes:
        """The rest of the stream. Nothing can be added."""
        result: bytes = self._object.flush()
        return result


class Decompressor:
    """update(...) + ... + finish() is what was compressed. CodecError when it is damaged, too much, or not all there.

    `max_size`: bytes that come out at most.
    """

    def __init__(self, format: Format = "zstd", *, max_size: int = MAX_SIZE) -> None:
        _check(format)
        self.format = format
        self.max_size = max_size
        self._object: Any = None  # of the current member; None: between two
        self._consumed = 0
        self._returned = 0
        self._members = 0

    def update(self, data: Bytes) -> bytes:
        """What comes out."""
        pieces = []
        rest = bytes(data)
        while rest:
            at = self._consumed
            if self._object is None:
                self._begin()
            piece, left = self._step(rest, at)
            self._returned += len(piece)
            if self._returned > self.max_size:
                raise CodecError(self.format, f"more than max_size={self.max_size} bytes come out", at)
            pieces.append(piece)
            self._consumed += len(rest) - len(left)
            rest = left
            if self._object.eof:
                self._object = None
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin(self) -> None:
        if self._members and self.format not in _SEVERAL:
            raise CodecError(self.format, "something after the end", self._consumed)
        self._members += 1
        self._object = zstd.ZstdDecompressor() if self.format == "zstd" else zlib.decompressobj(_WBITS[self.format])

    def _step(self, data: bytes, at: int) -> tuple[bytes, bytes]:
        """What comes out, one byte more than is allowed at most, and what is left after the end of the member."""
        room = self.max_size - self._returned + 1
        try:
            piece: bytes = self._object.decompress(data, room)
        except (zlib.error, zstd.ZstdError) as error:
            raise CodecError(self.format, f"it is damaged ({error}), in the piece", at) from None
        return piece, self._object.unused_data if self._object.eof else b""

    def finish(self) -> bytes:
        """Nothing; CodecError when the end of the stream is missing. Then it is as new."""
        missing, at = self._object is not None or not self._members, self._consumed
        self._object, self._consumed, self._returned, self._members = None, 0, 0, 0
        if missing:
            raise CodecError(self.format, "the end is missing", at)
        return b""

"""Content codings: gzip, deflate, zstd, br (RFC 9110 section 8.4, RFC 8878, RFC 7932).

Everything is decompressed in steps of some 64 KiB, so that a small message that expands a thousandfold costs memory
only as far as somebody reads it; how much that may be in all is for the reader to count. br is there if the package
brotli is.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any

from service_utils.http.errors import ProtocolError

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

try:
    import brotli  # type: ignore[import-untyped,unused-ignore]
except ImportError:
    brotli = None

__all__ = ["ACCEPTED", "decode"]

STEP = 65536  # bytes
MAX_CODINGS = 3  # applied one after the other
MAX_EMPTY = 100  # members of gzip, or frames of zstd, one after the other, that hold nothing
MAX_SILENT = 32 << 20  # bytes that make nothing
MAX_WINDOW = 23  # of zstd: 8 MiB, RFC 9659

Chunks = Iterator[bytes]


def _inflate(chunks: Chunks, bits: int) -> Chunks:
    inflater = zlib.decompressobj(bits)
    begun = False
    empty = 0
    for data in chunks:
        while True:
            out = inflater.decompress(data, STEP)
            begun = begun or bool(data)
            if out:
                empty = 0
                yield out
            if inflater.eof:
                empty = _one_more(empty)
                data = inflater.unused_data
                if not data:
                    begun = False
                    inflater = zlib.decompressobj(bits)
                    break
                inflater = zlib.decompressobj(bits)  # gzip: another member follows
            else:
                data = inflater.unconsumed_tail
                if not data and not out:
                    break
    if begun:
        raise zlib.error("it ends too early")


def _one_more(empty: int) -> int:
    """Each costs much more than its few bytes."""
    if empty >= MAX_EMPTY:
        raise ProtocolError(f"the body has more than {MAX_EMPTY} empty parts, one after the other")
    return empty + 1


def _gzip(chunks: Chunks) -> Chunks:
    return _inflate(chunks, 31)


def _deflate(chunks: Chunks) -> Chunks:
    """zlib's format, as it should be, or the bare one that some servers send."""
    first = b""
    for data in chunks:
        first += data
        if len(first) >= 2:
            break
    zlib_head = len(first) >= 2 and first[0] & 15 == 8 and int.from_bytes(first[:2], "big") % 31 == 0

    def again() -> Chunks:
        if first:
            yield first
        yield from chunks

    return _inflate(again(), 15 if zlib_head else -15)


def _zstd(chunks: Chunks) -> Chunks:
    def new() -> Any:
        return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW})

    decompressor, begun, empty = new(), False, 0
    for data in chunks:
        while data or not decompressor.needs_input:
            out = decompressor.decompress(data, STEP)
            begun = True
            data = b""
            if out:
                empty = 0
                yield out
            if decompressor.eof:
                empty = _one_more(empty)
                data, decompressor, begun = decompressor.unused_data, new(), False
                if not data:
                    break
    if begun:
        raise zstd.ZstdError("it ends too early")


def _brotli(chunks: Chunks) -> Chunks:
    decompressor = brotli.Decompressor()
    begun = False
    for data in chunks:
        begun = begun or bool(data)
        if decompressor.is_finished():
            raise brotli.error("something follows the end")
        out = decompressor.process(data, output_buffer_limit=STEP)
        while out or not decompressor.can_accept_more_data():
            if out:
                yield out
            out = decompressor.process(b"", output_buffer_limit=STEP)
    if begun and not decompressor.is_finished():
        raise brotli.error("it ends too early")


_DECODERS: dict[str, Callable[[Chunks], Chunks]] = {"gzip": _gzip, "x-gzip": _gzip, "deflate": _deflate, "zstd": _zstd}
if brotli is not None:
    _DECODERS["br"] = _brotli
_ERRORS: tuple[type[Exception], ...] = (zlib.error, zstd.ZstdError, *((brotli.error,) if brotli is not None else ()))
ACCEPTED = ", ".join(name for name in _DECODERS if name != "x-gzip")  #: for Accept-Encoding


def decode(chunks: Chunks, codings: str) -> Chunks:
    """The body in pieces of some 64 KiB, given what Content-Encoding says. ProtocolError."""
    names = [name for part in codings.lower().split(",") if (name := part.strip()) and name != "identity"]
    if len(names) > MAX_CODINGS:
        raise ProtocolError(f"the body is encoded {len(names)} times: {codings[:100]!r}")
    silent = 0

    def counted(chunks: Chunks) -> Chunks:
        nonlocal silent
        for data in chunks:
            silent += len(data)
            if silent > MAX_SILENT:
                raise ProtocolError(f"{silent} bytes of the body, and nothing comes out of them")
            yield data

    def checked(chunks: Chunks) -> Chunks:
        nonlocal silent
        try:
            for data in chunks:
                silent = 0
                yield data
        except _ERRORS as error:
            raise ProtocolError(f"the body is not what Content-Encoding says ({codings[:100]}): {error}") from error

    chunks = counted(chunks)
    for name in reversed(names):
        decoder = _DECODERS.get(name)
        if decoder is None:
            raise ProtocolError(f"the body is encoded as {name[:100]!r}, which was not asked for")
        chunks = decoder(chunks)
    return checked(chunks)

"""Hexadecimal (RFC 4648, section 8), strict: both cases of digits, nothing else."""

from __future__ import annotations

import binascii
import re

from efio.codecs._errors import Bytes, CodecError, Text, as_bytes

__all__ = ["HexDecoder", "HexEncoder", "hexdecode", "hexencode"]

_FOREIGN = re.compile(rb"[^0-9A-Fa-f]")


def _decode(text: bytes, offset: int) -> bytes:
    try:
        return binascii.unhexlify(text)
    except binascii.Error:
        foreign = _FOREIGN.search(text)
        if foreign:
            reason, at = f"the character {chr(foreign[0][0])!r} does not belong to it", foreign.start()
        else:
            reason, at = "a single digit is left, which is no byte", len(text) - 1
        raise CodecError("hex", reason, offset + at) from None


def hexencode(data: Bytes) -> bytes:
    """Two digits for each byte, in lower case."""
    return binascii.hexlify(data)


def hexdecode(text: Text) -> bytes:
    """The bytes. CodecError for anything but pairs of hexadecimal digits."""
    return _decode(bytes(as_bytes("hex", text)), 0)


class HexEncoder:
    """Piece by piece, with the interface of the others."""

    def update(self, data: Bytes) -> bytes:
        """The digits."""
        return binascii.hexlify(data)

    def finish(self) -> bytes:
        """Nothing is left."""
        return b""


class HexDecoder:
    """Piece by piece: update(...) + ... + finish() are the bytes of all pieces, or CodecError."""

    def __init__(self) -> None:
        self._rest = b""  # one digit, or none
        self._done = 0

    def update(self, text: Text) -> bytes:
        """The bytes of all pairs that are complete."""
        piece = self._rest + bytes(as_bytes("hex", text, self._done + len(self._rest)))
        whole = len(piece) - len(piece) % 2
        data = _decode(piece[:whole], self._done)
        self._rest = piece[whole:]
        self._done += whole
        return data

    def finish(self) -> bytes:
        """Nothing; CodecError when a digit is left. Then it is as new."""
        rest, done = self._rest, self._done
        self._rest, self._done = b"", 0
        return _decode(rest, done)

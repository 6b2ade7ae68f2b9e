"""Base64 (RFC 4648), by pybase64: some twenty times as fast as the standard library, and strict.

Strict means: no character outside of the alphabet, line breaks included (RFC 4648, section 3.3); padding as it must be,
or none with padded=False (section 3.2); no bits after the last byte (section 3.5), so that each text that is accepted
is what encoding the result gives.
"""

from __future__ import annotations

import binascii
import re

from efio._impl import PYTHON
from efio.codecs._errors import Bytes, CodecError, Text, as_bytes

__all__ = ["Base64Decoder", "Base64Encoder", "b64decode", "b64encode"]

NAMES = {False: "base64", True: "base64url"}  # by urlsafe
_FOREIGN = {False: re.compile(rb"[^A-Za-z0-9+/]"), True: re.compile(rb"[^A-Za-z0-9_-]")}
_TO_URL = bytes.maketrans(b"+/", b"-_")
_FROM_URL = bytes.maketrans(b"-_+/", b"+/!!")

if PYTHON:

    def _encode(data: Bytes, urlsafe: bool, padded: bool) -> bytes:
        text = binascii.b2a_base64(data, newline=False)
        if urlsafe:
            text = text.translate(_TO_URL)
        return text if padded else text.rstrip(b"=")

    def _decode(text: bytes, urlsafe: bool, padded: bool) -> bytes:
        plain = text.translate(_FROM_URL) if urlsafe else text
        if not padded:
            if b"=" in plain:
                raise binascii.Error
            plain += b"=" * (-len(plain) % 4)
        data = binascii.a2b_base64(plain, strict_mode=True)
        if _encode(data[-(len(data) % 3 or 3) :], False, True) != plain[-4:]:
            raise binascii.Error
        return data

else:
    import pybase64

    _ALTERNATIVES = {False: None, True: b"-_"}

    def _encode(data: Bytes, urlsafe: bool, padded: bool) -> bytes:
        return pybase64.b64encode(data, _ALTERNATIVES[urlsafe], padded=padded)

    def _decode(text: bytes, urlsafe: bool, padded: bool) -> bytes:
        if urlsafe:  # pybase64 would take both alphabets
            text = text.translate(_FROM_URL)
        return pybase64.b64decode(text, validate=True, padded=padded, canonical=True)


def _checked(text: bytes, urlsafe: bool, padded: bool, offset: int) -> bytes:
    try:
        return _decode(text, urlsafe, padded)
    except binascii.Error:
        reason, position = _what_is_wrong(text, urlsafe, padded)
        raise CodecError(NAMES[urlsafe], reason, offset + position) from None


def _what_is_wrong(text: bytes, urlsafe: bool, padded: bool) -> tuple[str, int]:
    foreign = _FOREIGN[urlsafe].search(text)
    end = foreign.start() if foreign else len(text)
    if foreign and foreign[0] != b"=":
        return f"the character {chr(text[end])!r} does not belong to it", end
    if foreign and not padded:
        return "padding where none is expected", end
    if end % 4 == 1:
        return "a single character is left, which is no byte", end - 1
    if foreign and end % 4 == 0:
        return "padding where none is needed", end
    right = b"=" * (-end % 4) if padded else b""
    if text[end:] == right:
        return "bits that are not zero after the last byte", end - 1
    if text.startswith(right, end):
        return "something after the padding", end + len(right)
    return "padding is missing", min(len(text), end + (text[end : end + 1] == b"="))


def b64encode(data: Bytes, *, urlsafe: bool = False, padded: bool = True) -> bytes:
    """The text, as bytes. `urlsafe`: the alphabet with - and _ (RFC 4648, section 5)."""
    return _encode(data, urlsafe, padded)


def b64decode(text: Text, *, urlsafe: bool = False, padded: bool = True) -> bytes:
    """The bytes. CodecError when it is not exactly what b64encode would have returned."""
    return _checked(bytes(as_bytes(NAMES[urlsafe], text)), urlsafe, padded, 0)


class Base64Encoder:
    """Piece by piece: update(...) + update(...) + ... + finish() is the text of all pieces."""

    def __init__(self, *, urlsafe: bool = False, padded: bool = True) -> None:
        self._urlsafe = urlsafe
        self._padded = padded
        self._rest = b""  # less than three bytes

    def update(self, data: Bytes) -> bytes:
        """The text that is certain."""
        if self._rest:
            data = self._rest + bytes(data)
        whole = len(data) - len(data) % 3
        self._rest = bytes(data[whole:])
        return _encode(memoryview(data)[:whole], self._urlsafe, self._padded)

    def finish(self) -> bytes:
        """The rest of the text. Then it is as new."""
        rest, self._rest = self._rest, b""
        return _encode(rest, self._urlsafe, self._padded)


class Base64Decoder:
    """Piece by piece: update(...) + ... + finish() are the bytes of all pieces, or CodecError."""

    def __init__(self, *, urlsafe: bool = False, padded: bool = True) -> None:
        self._urlsafe = urlsafe
        self._padded = padded
        self._rest = b""  # less than four characters
        self._done = 0  # characters before the rest
        self._ended = False  # by padding

    def update(self, text: Text) -> bytes:
        """The bytes of all groups of four characters that are complete."""
        piece = self._rest + bytes(as_bytes(NAMES[self._urlsafe], text, self._done + len(self._rest)))
        if self._ended and piece:
            raise CodecError(NAMES[self._urlsafe], "something after the padding", self._done)
        whole = len(piece) - len(piece) % 4
        data = _checked(piece[:whole], self._urlsafe, self._padded, self._done)
        self._rest = piece[whole:]
        self._done += whole
        self._ended = piece[:whole].endswith(b"=")
        if self._ended and self._rest:
            raise CodecError(NAMES[self._urlsafe], "something after the padding", self._done)
        return data

    def finish(self) -> bytes:
        """The rest of the bytes. Then it is as new."""
        rest, done = self._rest, self._done
        self._rest, self._done, self._ended = b"", 0, False
        return _checked(rest, self._urlsafe, self._padded, done)

"""Text of a charset that the client chose."""

from __future__ import annotations

import codecs

# Text encodings of the standard library that are no charsets of any registry; decoding some of them takes quadratic
# time.
_NO_CHARSETS = frozenset({"idna", "punycode", "raw-unicode-escape", "undefined", "unicode-escape", "utf-7"})


def decode_text(data: bytes, charset: str) -> str:
    """``data`` as text. LookupError for an unknown charset, UnicodeDecodeError for bytes that do not belong to it."""
    try:
        codec = codecs.lookup(charset)
    except ValueError:  # a NUL in the name
        raise LookupError(f"unknown charset: {charset!r}") from None
    if codec.name in _NO_CHARSETS:
        raise LookupError(f"unknown charset: {charset}")
    return data.decode(codec.name)

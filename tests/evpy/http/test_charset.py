from __future__ import annotations

import pytest

from evpy.http.charset import decode_text


def test_charsets() -> None:
    assert decode_text("\xe9".encode(), "UTF-8") == "\xe9"
    assert decode_text(b"\xe9", "ISO-8859-1") == "\xe9"
    assert decode_text("\u0416".encode("koi8-r"), "koi8-r") == "\u0416"


@pytest.mark.parametrize(
    "name", ["nope", "", "zlib", "hex", "rot13", "idna", "PUNYCODE", "unicode_escape", "utf-7", "a\0b"]
)
def test_what_is_no_charset(name: str) -> None:
    with pytest.raises(LookupError):
        decode_text(b"00", name)


def test_wrong_bytes() -> None:
    with pytest.raises(UnicodeDecodeError):
        decode_text(b"\xff", "utf-8")

"""White space, booleans, numbers and binaries: text to value and back.

The readers get text that libxml2 has judged; the writers get whatever the user has put into a field, and raise
TypeError or ValueError (KeyError for booleans) when it is of another type.
"""

from __future__ import annotations

import base64
import math
import re
from decimal import Decimal

__all__ = [
    "BOOLEANS", "WRITE_BOOLEAN", "collapse", "read_base64", "read_hex", "replace", "write_base64", "write_decimal",
    "write_float", "write_hex", "write_int",
]  # fmt: skip

_SPACE = re.compile("[ \t\n\r]+")
_EACH = str.maketrans("\t\n\r", "   ")


def replace(text: str) -> str:
    """White space "replace" (part 2, 4.3.6): tab, line feed and carriage return become spaces."""
    return text if text.isprintable() else text.translate(_EACH)


def collapse(text: str) -> str:
    """White space "collapse": single spaces between, none around. Other spaces, such as U+00A0, are text."""
    if text.isalnum():
        return text
    if text.isascii():
        return " ".join(text.split())  # XML has no other ASCII white space
    return _SPACE.sub(" ", text).strip(" ")


class _Booleans(dict[str, bool]):
    def __missing__(self, text: str) -> bool:
        return self[text.strip()] if text != text.strip() else _refuse(text)


def _refuse(text: str) -> bool:
    raise ValueError(f"{text!r} is not a boolean")


BOOLEANS = _Booleans({"true": True, "false": False, "1": True, "0": False})
WRITE_BOOLEAN = {True: "true", False: "false"}


def read_hex(text: str) -> bytes:
    """xs:hexBinary."""
    return bytes.fromhex(text)


def write_hex(value: bytes) -> str:
    """Upper case, the canonical form."""
    if not isinstance(value, bytes):
        raise TypeError(f"bytes expected, not {type(value).__name__}")
    return value.hex().upper()


def read_base64(text: str) -> bytes:
    """xs:base64Binary."""
    return base64.b64decode(text)


def write_base64(value: bytes) -> str:
    """Without line breaks, the canonical form."""
    if not isinstance(value, bytes):
        raise TypeError(f"bytes expected, not {type(value).__name__}")
    return base64.b64encode(value).decode("ascii")


def write_int(value: int) -> str:
    """Of any size."""
    if type(value) is not int:
        raise TypeError(f"int expected, not {type(value).__name__}")
    return str(value)


def write_decimal(value: Decimal | int) -> str:
    """Never with an exponent, which xs:decimal does not know; an int will do, too."""
    if type(value) is Decimal:
        text = str(value)
        return text if "E" not in text else format(value, "f")
    return write_int(value)  # type: ignore[arg-type] # which refuses whatever is no int


def write_float(value: float) -> str:
    """The shortest text that reads back as the same double; INF, -INF and NaN by XML Schema's names."""
    if type(value) is not float:
        return write_int(value)  # type: ignore[arg-type] # which refuses whatever is no int
    if math.isfinite(value):
        return repr(value).upper()
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"

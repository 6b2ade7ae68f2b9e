"""White space, booleans, numbers and binaries: text to value and back.

The readers get text that libxml2 has judged; the writers get whatever the user has put into a field, and raise
TypeError or ValueError (KeyError for booleans) when it is of another type.
"""

from __future__ import annotations

import base64
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

__all__ = [
    "BOOLEANS",
    "WRITE_BOOLEAN",
    "Float",
    "Hex",
    "Integer",
    "big",
    "collapse",
    "read_base64",
    "read_float",
    "read_hex",
    "read_int",
    "replace",
    "write_base64",
    "write_decimal",
    "write_float",
    "write_hex",
    "write_int",
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


class _Big(int):
    """An integer beyond 53 bits: msgspec asks how to encode it, and so it becomes a string in JSON."""

    __slots__ = ()


class _Special(float):
    """NaN or an infinity: a string in JSON, too."""

    __slots__ = ()


class _Hex(bytes):
    """Bytes that JSON shows in hexadecimal digits; msgspec shows others in base64."""

    __slots__ = ()


_EXACT = 1 << 53


def big(value: int) -> int:
    """The same integer, marked for JSON if it is beyond 53 bits."""
    return value if -_EXACT <= value <= _EXACT else _Big(value)


def read_int(text: str) -> int:
    """xs:integer and what derives from it. Raises ValueError beyond Python's limit (4300 digits, by default)."""
    value = int(text)
    return value if -_EXACT <= value <= _EXACT else _Big(value)


def read_float(text: str) -> float:
    """xs:float and xs:double."""
    value = float(text)
    return value if value - value == 0 else _Special(value)


def read_hex(text: str) -> bytes:
    """xs:hexBinary."""
    return _Hex.fromhex(text)


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
    if type(value) is not int and type(value) is not _Big:
        raise TypeError(f"int expected, not {type(value).__name__}")
    return int.__repr__(value)


def write_decimal(value: Decimal | int) -> str:
    """Never with an exponent, which xs:decimal does not know; an int will do, too."""
    if type(value) is Decimal:
        text = str(value)
        return text if "E" not in text else format(value, "f")
    return write_int(value)  # type: ignore[arg-type] # which refuses whatever is no int


def write_float(value: float) -> str:
    """The shortest text that reads back as the same double; INF, -INF and NaN by XML Schema's names."""
    if type(value) is not float and type(value) is not _Special:
        return write_int(value)  # type: ignore[arg-type] # which refuses whatever is no int
    if math.isfinite(value):
        return repr(value).upper()
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


if TYPE_CHECKING:
    Integer: TypeAlias = int
    Float: TypeAlias = float
    Hex: TypeAlias = bytes
else:
    # To msgspec, types of their own, so that it asks how to decode them.
    class _Like(type):
        def __instancecheck__(cls, value):
            return isinstance(value, cls.KIND)

    class Integer(metaclass=_Like):
        """``int``; in JSON a number, or a string beyond 53 bits."""

        KIND = int

    class Float(metaclass=_Like):
        """``float``; in JSON a number, or one of the strings NaN, INF, -INF."""

        KIND = float

    class Hex(metaclass=_Like):
        """``bytes``; in JSON hexadecimal digits."""

        KIND = bytes

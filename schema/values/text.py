"""White space, booleans, numbers and binaries: text to value and back.

The readers get text that libxml2 has judged; the writers get whatever the user has put into a field, and raise
TypeError or ValueError (KeyError for booleans) when it is of another type.
"""

from __future__ import annotations

import base64
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias, TypeVar

__all__ = [
    "BIG",
    "BOOLEANS",
    "FINE",
    "HEX",
    "SPECIAL",
    "WRITE_BITS",
    "WRITE_BOOLEAN",
    "Base64",
    "Exact",
    "Float",
    "Hex",
    "Integer",
    "Varied",
    "big",
    "collapse",
    "is_hex",
    "read_base64",
    "read_base64_strictly",
    "read_decimal",
    "read_decimal_strictly",
    "read_float",
    "read_hex",
    "read_hex_strictly",
    "read_int",
    "replace",
    "write_base64",
    "write_decimal",
    "write_float",
    "write_hex",
    "write_int",
]  # fmt: skip

T = TypeVar("T")
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
WRITE_BITS = {True: "1", False: "0"}


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
_DIGITS = 10_000  # before or after the point of a decimal with an exponent


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


def read_decimal_strictly(text: str) -> Decimal:
    """xs:decimal from a text that nobody has judged. Raises ValueError."""
    return read_decimal(_strictly(_DECIMAL, text, "a decimal number such as -1.50"))


def read_hex_strictly(text: str) -> bytes:
    """xs:hexBinary from a text that nobody has judged. Raises ValueError."""
    return read_hex(_strictly(_HEX, text, "pairs of hexadecimal digits"))


def read_base64_strictly(text: str) -> bytes:
    """xs:base64Binary from a text that nobody has judged. Raises ValueError."""
    return read_base64(_strictly(_BASE64, "".join(text.split()) if text.isascii() else text, "base64"))


def _strictly(form: re.Pattern[str], text: str, example: str) -> str:
    text = text.strip(" \t\n\r")
    if not form.fullmatch(text):
        raise ValueError(f"Expected {example}, got {text[:40]!r}")
    return text


_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_HEX = re.compile(r"([0-9A-Fa-f]{2})*")
# The bits that the last character leaves over are zero (part 2, 3.2.16).
_BASE64 = re.compile(r"([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)?")


def is_hex(value: bytes) -> bool:
    """Whether a reader has read these bytes from xs:hexBinary."""
    return isinstance(value, _Hex)


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


def write_int(value: object) -> str:
    """Of any size."""
    if type(value) is not int and (not isinstance(value, int) or isinstance(value, bool)):
        raise TypeError(f"int expected, not {type(value).__name__}")
    return int.__repr__(value)


class _Fine(Decimal):
    """A decimal whose ``str`` has an exponent: msgspec asks how to encode it, and so JSON has the text of XML."""

    __slots__ = ()


def read_decimal(text: str) -> Decimal:
    """xs:decimal."""
    return Decimal(text) if ".000000" not in text else _Fine(text)


def write_decimal(value: object) -> str:
    """Never with an exponent, which xs:decimal does not know; an int will do, too. Raises ValueError for what would
    have more than 10,000 digits.
    """
    if isinstance(value, Decimal):
        text = str(value)
        if "E" not in text:
            return text
        if abs(value.adjusted()) > _DIGITS:
            raise ValueError(f"{text} would have more than {_DIGITS} digits")
        return format(value, "f")
    return write_int(value)  # which refuses whatever is no int


def write_float(value: object) -> str:
    """The shortest text that reads back as the same double; INF, -INF and NaN by XML Schema's names."""
    if not isinstance(value, float):
        return write_int(value)  # which refuses whatever is no int
    if math.isfinite(value):
        return float.__repr__(value).upper()
    return "NaN" if math.isnan(value) else "INF" if value > 0 else "-INF"


# The classes of values that JSON shows in another way than others of their kind.
BIG, FINE, SPECIAL, HEX = _Big, _Fine, _Special, _Hex

if TYPE_CHECKING:
    Integer: TypeAlias = int
    Float: TypeAlias = float
    Hex: TypeAlias = bytes
    Base64: TypeAlias = bytes
    Exact: TypeAlias = Decimal
    Varied: TypeAlias = T  # of what stands in the brackets
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

    class Varied(metaclass=_Like):
        """A value of a union of several kinds; in JSON what it would be alone."""

        KIND = object

        def __class_getitem__(cls, kinds):
            return cls

    class Exact(metaclass=_Like):
        """``Decimal``; in JSON its text, or a number."""

        KIND = Decimal

    class Base64(metaclass=_Like):
        """``bytes``; in JSON in base64."""

        KIND = bytes

    class Hex(metaclass=_Like):
        """``bytes``; in JSON hexadecimal digits."""

        KIND = bytes

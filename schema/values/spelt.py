"""Values that remember how they were spelt, for types with a pattern: the usual form might not be let through.

``007`` is the integer 7, and ``7`` no value of a type whose pattern is ``\\d{3}``. So values of such types that were
spelt otherwise than they would be written are of a class of their own, which is the usual one in every other respect;
whatever is computed from them is spelt as usual again. Dates and times become ``XsdDate`` and its kin, which keep zones
and fractions as they are.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from schema.values.dates import XsdDate, XsdDateTime, XsdTime
from schema.values.duration import Duration
from schema.values.text import BIG, FINE, HEX, SPECIAL

__all__ = ["SPELT", "spelling", "spelt"]


class SpeltInt(int):
    """An integer, such as ``007``."""

    text: str


class SpeltDecimal(Decimal):
    """A decimal, such as ``.50``."""

    __slots__ = ("text",)


class SpeltFloat(float):
    """A float, such as ``1E2``."""

    __slots__ = ("text",)


class SpeltBytes(bytes):
    """Bytes in base64, such as with a space."""

    text: str


class SpeltHex(HEX):  # type: ignore[misc, valid-type]
    """Bytes in hexadecimal digits, such as ``ff``."""

    text: str


class SpeltDuration(Duration):
    """A duration, such as ``P12M``."""

    __slots__ = ("text",)

    def __reduce__(self) -> Any:
        return spelt, (Duration(self.months, self.seconds), spelling(self), "")


class SpeltList(list[Any]):
    """A list, such as ``1 01``."""

    text: str
    items: tuple[Any, ...]


_MAKE: dict[type, Callable[[Any], Any]] = {
    int: SpeltInt,
    BIG: SpeltInt,
    Decimal: SpeltDecimal,
    FINE: SpeltDecimal,
    float: SpeltFloat,
    SPECIAL: SpeltFloat,
    bytes: SpeltBytes,
    HEX: SpeltHex,
    list: SpeltList,
    Duration: lambda v: SpeltDuration(v.months, v.seconds),
}
# The standard library's cannot be told apart from others of their kind in JSON.
_DATES: dict[type, Callable[[str], Any]] = {
    dt.date: XsdDate.parse,
    dt.time: XsdTime.parse,
    dt.datetime: XsdDateTime.parse,
}
SPELT = frozenset({SpeltInt, SpeltDecimal, SpeltFloat, SpeltBytes, SpeltHex, SpeltDuration, SpeltList})


def spelt(value: Any, text: str, usual: str) -> Any:
    """The value, which remembers ``text`` if that is not its usual form."""
    text = " ".join(text.split())
    if text == usual:
        return value
    if type(value) in _DATES:
        return _DATES[type(value)](text)
    make = _MAKE.get(type(value))
    if make is None:
        return value
    made = make(value)
    if isinstance(made, Duration):
        object.__setattr__(made, "text", text)  # it is frozen
    else:
        made.text = text
    if isinstance(made, SpeltList):
        made.items = tuple(made)
    return made


def spelling(value: Any) -> str | None:
    """How the value was spelt, to be escaped; None: as usual."""
    if type(value) not in SPELT or (type(value) is SpeltList and tuple(value) != value.items):
        return None
    return getattr(value, "text", None)

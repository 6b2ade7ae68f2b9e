"""Dates and times beyond the standard library's.

``read_date`` and its kin return ``datetime.date``, ``datetime.datetime`` and ``datetime.time`` where these can hold
the value exactly, else ``XsdDate``, ``XsdDateTime``, ``XsdTime``: dates with a zone, years outside of 1 to 9999 (XML
Schema 1.0 has no year 0: -0001 is the year before 0001), 24:00:00, fractions finer than a microsecond.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, ClassVar, Self, TypeAlias

from schema.values.opaque import opaque

__all__ = [
    "Date", "DateTime", "GDay", "GMonth", "GMonthDay", "GYear", "GYearMonth", "Time", "XsdDate", "XsdDateTime",
    "XsdTime", "read_date", "read_date_strictly", "read_datetime", "read_datetime_strictly", "read_time",
    "read_time_strictly",
]  # fmt: skip

_ZONE = r"(Z|[+-]\d\d:\d\d)?"
_YEAR = r"(-?(?:[1-9]\d{4,}|\d{4}))"
_CLOCK = r"(\d\d):(\d\d):(\d\d(?:\.\d+)?)"
_WHITE = " \t\n\r"


def _zone(text: str | None) -> int | None:
    if text is None:
        return None
    if text == "Z":
        return 0
    minutes = int(text[1:3]) * 60 + int(text[4:6])
    if minutes > 14 * 60 or int(text[4:6]) > 59:
        raise ValueError(f"{text!r} is no time zone: at most 14:00")
    return -minutes if text[0] == "-" else minutes


def _zone_text(zone: int | None) -> str:
    if zone is None:
        return ""
    if zone == 0:
        return "Z"
    return f"{'-' if zone < 0 else '+'}{abs(zone) // 60:02}:{abs(zone) % 60:02}"


def _year_text(year: int) -> str:
    return f"{'-' if year < 0 else ''}{abs(year):04}"


def _check_day(year: int, month: int, day: int) -> None:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    days = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
    if not 1 <= month <= 12 or not 1 <= day <= days[month - 1]:
        raise ValueError(f"month {month} has no day {day}, or there is no such month")


@opaque
@dataclass(frozen=True, slots=True)
class _Value:
    """What all of them share: parsing by a form, a canonical text, a zone in minutes (None: without)."""

    FORM: ClassVar[re.Pattern[str]]
    EXAMPLE: ClassVar[str]

    @classmethod
    def _match(cls, text: str) -> re.Match[str]:
        found = cls.FORM.fullmatch(text.strip(_WHITE))
        if not found:
            raise ValueError(f"{text!r} is not such as {cls.EXAMPLE}")
        return found

    def isoformat(self) -> str:
        """The text in XML."""
        raise NotImplementedError

    def __str__(self) -> str:
        return self.isoformat()


@opaque
@dataclass(frozen=True, slots=True)
class XsdDate(_Value):
    """A date; negative years are before the common era."""

    year: int
    month: int
    day: int
    zone: int | None = None
    FORM = re.compile(rf"{_YEAR}-(\d\d)-(\d\d){_ZONE}", re.ASCII)
    EXAMPLE = "2026-01-31+01:00"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        year, month, day = int(found[1]), int(found[2]), int(found[3])
        _check_day(year, month, day)
        return cls(year, month, day, _zone(found[4]))

    def isoformat(self) -> str:
        """``YYYY-MM-DD`` and the zone."""
        return f"{_year_text(self.year)}-{self.month:02}-{self.day:02}{_zone_text(self.zone)}"


def _clock(hour: str, minute: str, second: str) -> tuple[int, int, Decimal]:
    h, m, s = int(hour), int(minute), Decimal(second)
    if not (h < 24 or (h == 24 and not m and not s)) or m > 59 or s >= 60:
        raise ValueError(f"there is no time {hour}:{minute}:{second}")
    return h, m, s


def _clock_text(hour: int, minute: int, second: Decimal) -> str:
    whole, _, fraction = f"{second:f}".partition(".")
    return f"{hour:02}:{minute:02}:{int(whole):02}" + (f".{fraction}" if fraction else "")


@opaque
@dataclass(frozen=True, slots=True)
class XsdTime(_Value):
    """A time of day; 24:00:00 is kept as it is."""

    hour: int
    minute: int
    second: Decimal
    zone: int | None = None
    FORM = re.compile(_CLOCK + _ZONE, re.ASCII)
    EXAMPLE = "13:30:00.25Z"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        return cls(*_clock(found[1], found[2], found[3]), _zone(found[4]))

    def isoformat(self) -> str:
        """``hh:mm:ss`` with fraction and zone."""
        return _clock_text(self.hour, self.minute, self.second) + _zone_text(self.zone)


@opaque
@dataclass(frozen=True, slots=True)
class XsdDateTime(_Value):
    """A date and a time of day."""

    year: int
    month: int
    day: int
    hour: int
    minute: int
    second: Decimal
    zone: int | None = None
    FORM = re.compile(rf"{_YEAR}-(\d\d)-(\d\d)T{_CLOCK}{_ZONE}", re.ASCII)
    EXAMPLE = "2026-01-31T13:30:00+01:00"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        year, month, day = int(found[1]), int(found[2]), int(found[3])
        _check_day(year, month, day)
        return cls(year, month, day, *_clock(found[4], found[5], found[6]), _zone(found[7]))

    def isoformat(self) -> str:
        """``YYYY-MM-DDThh:mm:ss`` with fraction and zone."""
        date = f"{_year_text(self.year)}-{self.month:02}-{self.day:02}"
        return f"{date}T{_clock_text(self.hour, self.minute, self.second)}{_zone_text(self.zone)}"


@opaque
@dataclass(frozen=True, slots=True)
class GYear(_Value):
    """A year."""

    year: int
    zone: int | None = None
    FORM = re.compile(_YEAR + _ZONE, re.ASCII)
    EXAMPLE = "2026"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        return cls(int(found[1]), _zone(found[2]))

    def isoformat(self) -> str:
        """``YYYY`` and the zone."""
        return _year_text(self.year) + _zone_text(self.zone)


@opaque
@dataclass(frozen=True, slots=True)
class GYearMonth(_Value):
    """A month of a year."""

    year: int
    month: int
    zone: int | None = None
    FORM = re.compile(rf"{_YEAR}-(\d\d){_ZONE}", re.ASCII)
    EXAMPLE = "2026-01"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        _check_day(2000, int(found[2]), 1)
        return cls(int(found[1]), int(found[2]), _zone(found[3]))

    def isoformat(self) -> str:
        """``YYYY-MM`` and the zone."""
        return f"{_year_text(self.year)}-{self.month:02}{_zone_text(self.zone)}"


@opaque
@dataclass(frozen=True, slots=True)
class GMonth(_Value):
    """A month of every year."""

    month: int
    zone: int | None = None
    FORM = re.compile(rf"--(\d\d){_ZONE}", re.ASCII)
    EXAMPLE = "--01"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        _check_day(2000, int(found[1]), 1)
        return cls(int(found[1]), _zone(found[2]))

    def isoformat(self) -> str:
        """``--MM`` and the zone."""
        return f"--{self.month:02}{_zone_text(self.zone)}"


@opaque
@dataclass(frozen=True, slots=True)
class GMonthDay(_Value):
    """A day of every year."""

    month: int
    day: int
    zone: int | None = None
    FORM = re.compile(rf"--(\d\d)-(\d\d){_ZONE}", re.ASCII)
    EXAMPLE = "--01-31"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        _check_day(2000, int(found[1]), int(found[2]))
        return cls(int(found[1]), int(found[2]), _zone(found[3]))

    def isoformat(self) -> str:
        """``--MM-DD`` and the zone."""
        return f"--{self.month:02}-{self.day:02}{_zone_text(self.zone)}"


@opaque
@dataclass(frozen=True, slots=True)
class GDay(_Value):
    """A day of every month."""

    day: int
    zone: int | None = None
    FORM = re.compile(rf"---(\d\d){_ZONE}", re.ASCII)
    EXAMPLE = "---31"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises ValueError."""
        found = cls._match(text)
        _check_day(2000, 1, int(found[1]))
        return cls(int(found[1]), _zone(found[2]))

    def isoformat(self) -> str:
        """``---DD`` and the zone."""
        return f"---{self.day:02}{_zone_text(self.zone)}"


def read_date(text: str) -> dt.date | XsdDate:
    """xs:date."""
    if len(text) == 10:
        try:
            return dt.date.fromisoformat(text)
        except ValueError:
            pass
    return _standard_date(XsdDate.parse(text))


def _standard_date(value: XsdDate) -> dt.date | XsdDate:
    if value.zone is None and 1 <= value.year <= 9999:
        return dt.date(value.year, value.month, value.day)
    return value


def read_datetime(text: str) -> dt.datetime | XsdDateTime:
    """xs:dateTime."""
    if len(text) <= 26:  # more could be a fraction that fromisoformat would cut off
        try:
            return dt.datetime.fromisoformat(text)
        except ValueError:
            pass
    value = XsdDateTime.parse(text)
    if 1 <= value.year <= 9999 and value.hour < 24 and not value.second * 1_000_000 % 1:
        zone = None if value.zone is None else dt.timezone(dt.timedelta(minutes=value.zone))
        second, micro = divmod(int(value.second * 1_000_000), 1_000_000)
        return dt.datetime(value.year, value.month, value.day, value.hour, value.minute, second, micro, zone)
    return value


def read_time(text: str) -> dt.time | XsdTime:
    """xs:time."""
    if len(text) <= 15:
        try:
            return dt.time.fromisoformat(text)
        except ValueError:
            pass
    value = XsdTime.parse(text)
    if value.hour < 24 and not value.second * 1_000_000 % 1:
        zone = None if value.zone is None else dt.timezone(dt.timedelta(minutes=value.zone))
        second, micro = divmod(int(value.second * 1_000_000), 1_000_000)
        return dt.time(value.hour, value.minute, second, micro, zone)
    return value


def read_date_strictly(text: str) -> dt.date | XsdDate:
    """xs:date from a text that nobody has judged. Raises ValueError."""
    return _standard_date(XsdDate.parse(text))


def read_datetime_strictly(text: str) -> dt.datetime | XsdDateTime:
    """xs:dateTime from a text that nobody has judged. Raises ValueError."""
    XsdDateTime.parse(text)
    return read_datetime(text.strip(_WHITE))


def read_time_strictly(text: str) -> dt.time | XsdTime:
    """xs:time from a text that nobody has judged. Raises ValueError."""
    XsdTime.parse(text)
    return read_time(text.strip(_WHITE))


if TYPE_CHECKING:
    Date: TypeAlias = dt.date | XsdDate
    DateTime: TypeAlias = dt.datetime | XsdDateTime
    Time: TypeAlias = dt.time | XsdTime
else:
    # msgspec knows no union of a type of its own and another one; to it, these are single types of which both are
    # instances.
    class _Either(type):
        def __instancecheck__(cls, value):
            return isinstance(value, cls.KINDS)

    class Date(metaclass=_Either):
        """``datetime.date`` or ``XsdDate``."""

        KINDS = (dt.date, XsdDate)

    class DateTime(metaclass=_Either):
        """``datetime.datetime`` or ``XsdDateTime``."""

        KINDS = (dt.datetime, XsdDateTime)

    class Time(metaclass=_Either):
        """``datetime.time`` or ``XsdTime``."""

        KINDS = (dt.time, XsdTime)

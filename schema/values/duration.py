"""xs:duration (part 2, 3.2.6): months and seconds, exact, with one sign."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from schema.values.opaque import opaque

__all__ = ["Duration"]

_FORM = re.compile(
    r"(-)?P(?=.)(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?=.)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?", re.ASCII
)


@opaque
@dataclass(frozen=True, slots=True, eq=False)
class Duration:
    """A span of ``months`` and ``seconds``; both have the same sign. Months and days cannot be converted into each
    other.
    """

    months: int = 0
    seconds: Decimal = Decimal(0)

    def __post_init__(self) -> None:
        if self.months * self.seconds < 0:
            raise ValueError("months and seconds of a duration have the same sign")

    def __eq__(self, other: object) -> bool:
        # Not by the class: one that remembers its spelling is equal to one that does not.
        if not isinstance(other, Duration):
            return NotImplemented
        return (self.months, self.seconds) == (other.months, other.seconds)

    def __hash__(self) -> int:
        return hash((self.months, self.seconds))

    @classmethod
    def parse(cls, text: str) -> Duration:
        """From ``P1Y2M3DT4H5M6.7S``. Raises ValueError."""
        found = _FORM.fullmatch(text.strip(" \t\n\r"))
        if not found:
            raise ValueError(f"{text!r} is no duration such as P1Y2M3DT4H5M6.7S")
        years, months, days, hours, minutes = (int(group or 0) for group in found.groups()[1:6])
        seconds = Decimal(found[7] or 0) + ((days * 24 + hours) * 60 + minutes) * 60
        sign = -1 if found[1] else 1
        return cls(sign * (years * 12 + months), sign * seconds)

    def isoformat(self) -> str:
        """The canonical form: the fewest and largest units."""
        months, seconds = abs(self.months), abs(self.seconds)
        years, months = divmod(months, 12)
        minutes, second = divmod(seconds, 60)
        hours, minute = divmod(int(minutes), 60)
        days, hours = divmod(hours, 24)
        date = "".join(f"{n}{unit}" for n, unit in ((years, "Y"), (months, "M"), (days, "D")) if n)
        time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minute, "M")) if n)
        if second:
            time += f"{second.normalize():f}S"
        sign = "-" if self.months < 0 or self.seconds < 0 else ""
        return f"{sign}P{date}" + (f"T{time}" if time else "" if date else "T0S")

    __str__ = isoformat

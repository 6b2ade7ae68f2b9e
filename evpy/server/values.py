"""Kinds of values: from what an operator writes to what the program uses, with an error that says what was expected.

Every setting has one kind. ``parse`` takes text (a flag, an environment variable) as well as the value that TOML
gives for it, checks the range, and returns the one canonical form; it raises ValueError with a sentence that reads
well behind "evserver.toml line 3: workers: ". Invariants: ``parse(parse(x)) == parse(x)``, and ``parse`` of what
``toml`` writes is the value.
"""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from evpy.server.toml_text import dump_value

__all__ = ["Choice", "FilePath", "Kind", "Octal", "Seconds", "Size", "Switch", "Text", "Texts", "Whole", "quoted"]


def quoted(raw: object) -> str:
    """A raw value for an error message: quoted, control characters escaped, shortened."""
    text = repr(raw)
    return text if len(text) <= 60 else text[:57] + "..."


class Kind(ABC):
    """How one sort of value is written, checked and shown."""

    metavar: str = "VALUE"
    repeatable: bool = False
    expects: str  # completes "expected ..."

    @abstractmethod
    def parse(self, raw: object) -> object:
        """The canonical value; ValueError says what was expected."""

    def toml(self, value: object) -> str:
        """The value as an operator would write it in evserver.toml."""
        return '""' if value is None else dump_value(value)

    def refuse(self, raw: object) -> ValueError:
        return ValueError(f"{quoted(raw)} is not {self.expects}")


class Whole(Kind):
    """A whole number in a range, both ends included."""

    metavar = "N"

    def __init__(self, low: int, high: int) -> None:
        self.low, self.high = low, high
        self.expects = f"a whole number from {low} to {high}"

    def parse(self, raw: object) -> int:
        if isinstance(raw, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", raw.strip()):
            raw = int(raw)
        if not isinstance(raw, int) or isinstance(raw, bool) or not self.low <= raw <= self.high:
            raise self.refuse(raw)
        return raw


class Seconds(Kind):
    """A span of time in seconds, fractions allowed."""

    metavar = "SECONDS"

    def __init__(self, low: float, high: float) -> None:
        self.low, self.high = low, high
        self.expects = f"a number of seconds from {low:g} to {high:g}"

    def parse(self, raw: object) -> float:
        if isinstance(raw, str) and re.fullmatch(
            r"[+-]?([0-9]{1,18}(\.[0-9]*)?|\.[0-9]+)(e[+-]?[0-9]{1,3})?", raw.strip()
        ):
            raw = float(raw)
        if not isinstance(raw, (int, float)) or isinstance(raw, bool) or not self.low <= raw <= self.high:
            raise self.refuse(raw)  # also NaN, which compares false
        return float(raw)

    def toml(self, value: object) -> str:
        assert isinstance(value, float)
        return dump_value(int(value) if value.is_integer() else value)


class Size(Kind):
    """A number of bytes; K, M, G, T (also KB, KiB ...) are powers of 1,024."""

    metavar = "SIZE"
    limit = 1 << 62
    units = ("", "K", "M", "G", "T")

    def __init__(self, low: int = 0) -> None:
        self.low = low
        self.expects = "a size in bytes such as 65536, 512K, 16M or 1GiB"
        if low:
            self.expects += f", at least {low}"

    def parse(self, raw: object) -> int:
        if isinstance(raw, str):
            match = re.fullmatch(r"([0-9]{1,18}) ?(?:([KMGT])(?:i?B)?|B)?", raw.strip(), re.IGNORECASE)
            if match is None:
                raise self.refuse(raw)
            size = int(match[1]) << 10 * self.units.index((match[2] or "").upper())
        elif isinstance(raw, int) and not isinstance(raw, bool):
            size = raw
        else:
            raise self.refuse(raw)
        if (size and size < self.low) or not 0 <= size <= self.limit:
            raise self.refuse(raw)
        return size

    def toml(self, value: object) -> str:
        assert isinstance(value, int)
        power = max((p for p in range(1, 5) if value and value % (1 << 10 * p) == 0), default=0)
        return f'"{value >> 10 * power}{self.units[power]}iB"' if power else str(value)


class Switch(Kind):
    """On or off."""

    metavar = ""
    expects = "true or false"
    words: ClassVar[Mapping[str, bool]] = {
        **dict.fromkeys(("true", "yes", "on", "1"), True),
        **dict.fromkeys(("false", "no", "off", "0"), False),
    }

    def parse(self, raw: object) -> bool:
        value = self.words.get(raw.strip().lower()) if isinstance(raw, str) else raw
        if not isinstance(value, bool):
            raise self.refuse(raw)
        return value


class Choice(Kind):
    """One of a few words."""

    def __init__(self, *words: str) -> None:
        self.words = words
        self.metavar = "|".join(words)
        self.expects = "one of " + ", ".join(words)

    def parse(self, raw: object) -> str:
        word = raw.strip().lower() if isinstance(raw, str) else ""
        if word not in self.words:
            raise self.refuse(raw)
        return word


class Text(Kind):
    """Free text that ``check`` accepts (it raises ValueError); where ``optional``, the empty text means None."""

    def __init__(
        self, metavar: str, expects: str, check: Callable[[str], object] | None = None, *, optional: bool
    ) -> None:
        self.metavar, self.expects, self.check, self.optional = metavar, expects, check, optional

    def parse(self, raw: object) -> str | None:
        if self.optional and (raw is None or raw == ""):
            return None
        if not isinstance(raw, str):
            raise self.refuse(raw)
        if any(ord(char) < 32 or ord(char) == 127 for char in raw):
            raise ValueError(f"{quoted(raw)} contains a control character; expected {self.expects}")
        if self.check is not None:
            self.check(raw)
        return raw


class FilePath(Text):
    """A file or directory; a leading ``~`` is the home directory. Empty: none."""

    def __init__(self, metavar: str, expects: str) -> None:
        super().__init__(metavar, expects, optional=True)

    def parse(self, raw: object) -> str | None:
        text = super().parse(raw)
        return os.path.expanduser(text) if text is not None and text.startswith("~") else text


class Octal(Kind):
    """File permissions as octal text. A TOML number is refused, because ``660`` there would be decimal."""

    metavar = "MODE"
    expects = 'octal permissions such as "660" (in quotes)'

    def parse(self, raw: object) -> str | None:
        if raw is None or raw == "":
            return None
        match = re.fullmatch(r"(?:0o?)?([0-7]{3})", raw) if isinstance(raw, str) else None
        if match is None:
            raise self.refuse(raw)
        return match[1]


class Texts(Kind):
    """Several texts, each of which ``item`` accepts: a TOML array, a repeated flag, or one text with commas."""

    repeatable = True

    def __init__(
        self, item: Kind, *, least: int = 0, most: int = 1000, may_repeat: Callable[[str], bool] = lambda _: False
    ) -> None:
        self.item, self.least, self.most, self.may_repeat = item, least, most, may_repeat
        self.metavar = item.metavar
        self.expects = f"{item.expects}, or several of them"

    def parse(self, raw: object) -> tuple[str, ...]:
        if isinstance(raw, str):
            raw = [part.strip() for part in raw.split(",")] if raw else []
        if not isinstance(raw, Sequence) or isinstance(raw, (bytes, bytearray)):
            raise self.refuse(raw)
        values: list[str] = []
        for part in raw:
            value = self.item.parse(part) if isinstance(part, str) and part else None
            if not isinstance(value, str):
                raise ValueError(f"{quoted(part)} is not {self.item.expects}")
            if value in values and not self.may_repeat(value):
                raise ValueError(f"{quoted(value)} is named twice")
            values.append(value)
        if not self.least <= len(values) <= self.most:
            raise ValueError(f"{len(values)} values: expected {self.least} to {self.most}")
        return tuple(values)

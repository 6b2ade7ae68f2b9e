"""The arithmetic of a benchmark: samples per server and round, ratios within rounds, medians, targets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Ratio", "Samples", "Target", "best", "format_table", "ratio"]

Sense = Literal["at least", "at most"]


class Samples:
    """Values by server and metric, one per round."""

    def __init__(self) -> None:
        self._values: dict[str, dict[str, dict[int, float]]] = {}

    def add(self, server: str, round_: int, metrics: Mapping[str, float]) -> None:
        for metric, value in metrics.items():
            self._values.setdefault(server, {}).setdefault(metric, {})[round_] = value

    def drop(self, server: str) -> None:
        """Forgets a server that failed: half of its rounds would be a figure of nothing."""
        self._values.pop(server, None)

    @property
    def servers(self) -> list[str]:
        return list(self._values)

    def rounds(self, server: str, metric: str) -> dict[int, float]:
        return self._values.get(server, {}).get(metric, {})

    def median(self, server: str, metric: str) -> float:
        """NaN when there is no value."""
        values = [v for v in self.rounds(server, metric).values() if not math.isnan(v)]
        return statistics.median(values) if values else math.nan

    def to_json(self) -> dict[str, dict[str, dict[str, object]]]:
        return {
            server: {
                metric: {"median": self.median(server, metric), "rounds": list(values.values())}
                for metric, values in metrics.items()
            }
            for server, metrics in self._values.items()
        }


@dataclass(frozen=True)
class Ratio:
    """Ours to theirs, within rounds: the median and the range."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return "-" if math.isnan(self.value) else f"{self.value:.2f}x"


def ratio(samples: Samples, metric: str, ours: str, theirs: str) -> Ratio:
    """Of the rounds that both took part in; NaN when there is none."""
    mine, other = samples.rounds(ours, metric), samples.rounds(theirs, metric)
    values = [mine[r] / other[r] for r in mine if other.get(r)]
    values = [v for v in values if not math.isnan(v)]
    if not values:
        return Ratio(math.nan, math.nan, math.nan)
    return Ratio(statistics.median(values), min(values), max(values))


def best(samples: Samples, metric: str, among: Iterable[str], sense: Sense) -> str | None:
    """The server with the best median: the highest if ours shall be "at least" it, else the lowest."""
    known = [(value, name) for name in among if not math.isnan(value := samples.median(name, metric))]
    if not known:
        return None
    return (max(known, key=lambda k: k[0]) if sense == "at least" else min(known, key=lambda k: k[0]))[1]


@dataclass(frozen=True)
class Target:
    """A figure, the limit that it is held against, and where it comes from."""

    what: str
    value: float  # NaN: not measured
    limit: float
    sense: Sense
    unit: str = "x"
    against: str = ""  # the peer, or why there is no value
    aim: float | None = None  # better than the limit, wished for
    spread: tuple[float, float] | None = None

    @property
    def measured(self) -> bool:
        return not math.isnan(self.value)

    @property
    def met(self) -> bool:
        """False, too, when it was not measured."""
        return self.measured and self._reaches(self.limit)

    def _reaches(self, bound: float) -> bool:
        return self.value >= bound if self.sense == "at least" else self.value <= bound

    def verdict(self) -> str:
        """One line for the reader."""
        limit = f"{self.sense} {_number(self.limit)}{self.unit}"
        head = f"{self.what}: "
        if not self.measured:
            return f"  ?       {head}not measured ({self.against or 'no value'}); target {limit}"
        text = f"{_number(self.value)}{self.unit}"
        if self.against:
            text += f" of {self.against}"
        if self.spread and self.spread[0] != self.spread[1]:
            text += f" (rounds {_number(self.spread[0])} to {_number(self.spread[1])})"
        if not self.met:
            return f"  MISSED  {head}{text}; target {limit}, missed by {self.distance:.0%}"
        aim = ""
        if self.aim is not None:
            aim = f", aim of {_number(self.aim)}{self.unit} " + (
                "reached" if self._reaches(self.aim) else "not reached"
            )
        return f"  met     {head}{text}; target {limit}{aim}"

    @property
    def distance(self) -> float:
        """How far the value is from the limit, as a share of the limit."""
        return abs(self.value - self.limit) / abs(self.limit) if self.limit else math.inf

    def to_json(self) -> dict[str, object]:
        return {
            "what": self.what,
            "value": self.value if self.measured else None,
            "limit": self.limit,
            "sense": self.sense,
            "unit": self.unit,
            "against": self.against,
            "aim": self.aim,
            "spread": self.spread,
            "met": self.met if self.measured else None,
        }


def ratio_target(
    what: str,
    samples: Samples,
    metric: str,
    peers: Iterable[str],
    limit: float,
    sense: Sense,
    *,
    ours: str = "evserver",
    aim: float | None = None,
) -> Target:
    """Ours to the best of these peers in a metric."""
    if not samples.rounds(ours, metric):
        return Target(what, math.nan, limit, sense, against=f"{ours} did not run", aim=aim)
    peer = best(samples, metric, (p for p in peers if p != ours), sense)
    if peer is None:
        return Target(what, math.nan, limit, sense, against="no peer ran", aim=aim)
    found = ratio(samples, metric, ours, peer)
    return Target(what, found.value, limit, sense, against=peer, aim=aim, spread=(found.low, found.high))


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value and abs(value) < 0.1:
        return f"{value:.3f}"
    return f"{value:.2f}" if abs(value) < 100 else f"{value:,.0f}"


def format_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Aligned columns: the first to the left, the others to the right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    return "\n".join(
        "  "
        + "  ".join(
            cell.ljust(w) if i == 0 else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )

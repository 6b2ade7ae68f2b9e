"""Latency histograms with buckets as in loadgen_histogram.h: merging and percentiles.

Bucket b below 2 * SUB holds the value b; above, a power of two is divided into SUB equal buckets, so a bucket is at
most 0.8 % wide. A percentile is the upper end of the bucket in which it falls (as HdrHistogram reports it), but never
above the largest value seen: it errs by at most 0.8 %, and upwards.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Histogram", "bucket_range"]

SUB = 128  # HIST_SUB


def bucket_range(index: int) -> tuple[int, int]:
    """The lowest and the highest value (nanoseconds) of a bucket."""
    if index < 2 * SUB:
        return index, index
    shift = index // SUB - 1
    low = (index - shift * SUB) << shift
    return low, low + (1 << shift) - 1


class Histogram:
    """Counts per bucket; values are nanoseconds."""

    def __init__(self) -> None:
        self.count = 0
        self.sum_ns = 0
        self.min_ns = 0
        self.max_ns = 0
        self.buckets: Counter[int] = Counter()

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Histogram:
        """From what loadgen prints. ValueError when its counts do not add up."""
        self = cls()
        self.count, self.sum_ns = int(data["count"]), int(data["sum_ns"])
        self.min_ns, self.max_ns = int(data["min_ns"]), int(data["max_ns"])
        self.buckets.update({int(index): int(count) for index, count in data["buckets"]})
        if self.buckets.total() != self.count:
            raise ValueError(f"a histogram of {self.count} values has {self.buckets.total()} in its buckets")
        return self

    @classmethod
    def merged(cls, parts: Iterable[Histogram]) -> Histogram:
        """All values of all parts."""
        self = cls()
        for part in parts:
            if part.count == 0:
                continue
            self.min_ns = min(self.min_ns, part.min_ns) if self.count else part.min_ns
            self.max_ns = max(self.max_ns, part.max_ns)
            self.count += part.count
            self.sum_ns += part.sum_ns
            self.buckets.update(part.buckets)
        return self

    def percentile(self, percent: float) -> float:
        """The value (seconds) that ``percent`` % of all values do not exceed; NaN when there are none."""
        if not 0 <= percent <= 100:
            raise ValueError(f"{percent} is not a percentage")
        if self.count == 0:
            return math.nan
        # 1e-9: 99.9 % of 1000 values are 999, although 0.999 * 1000 is a little more.
        rank = max(1, math.ceil(percent / 100 * self.count - 1e-9))
        seen = 0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                return min(bucket_range(index)[1], self.max_ns) / 1e9
        raise AssertionError("the buckets hold fewer values than the count says")

    @property
    def mean(self) -> float:
        """Seconds; NaN when there are no values."""
        return self.sum_ns / self.count / 1e9 if self.count else math.nan

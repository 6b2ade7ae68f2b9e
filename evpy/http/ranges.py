"""The Range field (RFC 9110 section 14): from its text to the stretches of bytes that are sent.

::

    Range      = "bytes" "=" 1#( int-range / suffix-range )        section 14.1, 14.2
    int-range  = first-pos "-" [ last-pos ]
    suffix-range = "-" suffix-length

What does not follow the grammar is ignored, as section 14.2 allows: the whole file is a correct answer to any range.
Overlapping, adjacent and nearly adjacent ranges are coalesced (section 15.3.7.2), and a request for very many pieces is
answered with the whole file (section 17.15), so that no request costs more than the file and a bounded number of heads.
"""

from __future__ import annotations

import re

MAX_RANGES = 16
GAP = 80  # bytes between two ranges that cost less than the head of another part

_range = re.compile(r"(\d{1,18})-(\d{1,18})?|-(\d{1,18})", re.ASCII)


def parse_ranges(value: str, size: int) -> list[tuple[int, int]] | None:
    """The ranges of ``value`` within ``size`` bytes as (start, end) with end exclusive, in the order they were asked
    for.

    None: ignore the field and send everything. An empty list: none is satisfiable, answer 416.
    """
    unit, equals, items = value.partition("=")
    if not equals or unit.strip(" \t").lower() != "bytes" or size == 0:
        return None
    if items.count(",") >= 4 * MAX_RANGES:
        return None
    ranges = []
    seen = False
    for item in items.split(","):
        item = item.strip(" \t")
        if not item:  # RFC 9110 section 5.6.1.2: empty list elements are ignored
            continue
        match = _range.fullmatch(item)
        if not match:
            return None
        seen = True
        first, last, suffix = match.groups()
        if suffix is not None:
            start, end = max(0, size - int(suffix)), size
        else:
            start, end = int(first), min(size, int(last) + 1) if last is not None else size
            if last is not None and int(last) < int(first):
                return None
        if start < end:
            ranges.append((start, end))
    if not seen:
        return None
    merged = coalesce(ranges)
    return None if len(merged) > MAX_RANGES else merged


def coalesce(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Joins ranges that overlap or lie at most GAP bytes apart, and keeps the order in which they were asked for."""
    groups: list[tuple[int, int, int]] = []  # start, end, earliest position in the request
    for position, (start, end) in sorted(enumerate(ranges), key=lambda entry: entry[1]):
        if groups and start <= groups[-1][1] + GAP:
            last = groups.pop()
            groups.append((last[0], max(last[1], end), min(last[2], position)))
        else:
            groups.append((start, end, position))
    return [(start, end) for start, end, _ in sorted(groups, key=lambda group: group[2])]

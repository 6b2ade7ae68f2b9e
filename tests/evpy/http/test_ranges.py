from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http.ranges import GAP, MAX_RANGES, coalesce, parse_ranges


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-499", [(0, 500)]),
        ("bytes=500-999", [(500, 1000)]),
        ("bytes=-500", [(9500, 10000)]),
        ("bytes=9500-", [(9500, 10000)]),
        ("bytes=0-0,-1", [(0, 1), (9999, 10000)]),
        ("bytes=9999-20000", [(9999, 10000)]),
        ("bytes=-20000", [(0, 10000)]),
        ("Bytes = 0-1 , 5000-5001", [(0, 2), (5000, 5002)]),
        ("bytes=,0-1,,", [(0, 2)]),
        ("bytes=5000-5999,0-99", [(5000, 6000), (0, 100)]),  # in the order that was asked for
        ("bytes=500-600,601-999", [(500, 1000)]),
        ("bytes=500-700,601-999", [(500, 1000)]),
        ("bytes=0-9,80-99", [(0, 100)]),  # nearer than the head of another part
        # nothing to send
        ("bytes=10000-", []),
        ("bytes=10000-20000,99999-", []),
        ("bytes=-0", []),
        ("bytes=20000-,0-0", [(0, 1)]),  # one is enough
        # no ranges: ignored
        ("", None),
        ("bytes", None),
        ("bytes=", None),
        ("bytes=,", None),
        ("lines=1-2", None),
        ("bytes=a-b", None),
        ("bytes=1-0", None),
        ("bytes=-", None),
        ("bytes=--1", None),
        ("bytes=1-2-3", None),
        ("bytes=1 - 2", None),
        ("bytes=+1-2", None),
        ("bytes=\u0661-2", None),
        ("bytes=0-1,x", None),
        ("bytes=9999999999999999999999-", None),
    ],
)
def test_examples(value: str, expected: list[tuple[int, int]] | None) -> None:
    assert parse_ranges(value, 10000) == expected


def test_an_empty_file_is_sent_whole() -> None:
    assert parse_ranges("bytes=0-", 0) is None
    assert parse_ranges("bytes=-1", 0) is None


def test_too_many_are_ignored() -> None:
    def spread(count: int) -> str:
        return "bytes=" + ",".join(f"{i * 1000}-{i * 1000}" for i in range(count))

    assert len(parse_ranges(spread(MAX_RANGES), 10**9) or ()) == MAX_RANGES
    assert parse_ranges(spread(MAX_RANGES + 1), 10**9) is None
    assert parse_ranges("bytes=" + "0-," * 1000, 100) is None


RANGES = st.lists(st.tuples(st.integers(0, 3000), st.integers(1, 300)).map(lambda t: (t[0], t[0] + t[1])), max_size=12)


@given(RANGES)
def test_coalescing_covers_the_same_without_overlap(ranges: list[tuple[int, int]]) -> None:
    merged = coalesce(ranges)
    for start, end in ranges:
        assert any(a <= start and end <= b for a, b in merged)
    ordered = sorted(merged)
    for (_, end), (start, _) in itertools.pairwise(ordered):
        assert start > end + GAP
    assert sum(end - start for start, end in merged) <= sum(end - start + GAP for start, end in ranges)
    assert {start for start, _ in merged} <= {start for start, _ in ranges}


@given(
    st.lists(st.tuples(st.integers(0, 400), st.none() | st.integers(0, 400)), min_size=1, max_size=5),
    st.integers(1, 300),
)
def test_ranges_stay_within_the_file(asked: list[tuple[int, int | None]], size: int) -> None:
    text = ",".join(f"{first}-{'' if last is None else last}" for first, last in asked)
    ranges = parse_ranges(f"bytes={text}", size)
    if any(last is not None and last < first for first, last in asked):
        assert ranges is None
        return
    assert ranges is not None
    assert all(0 <= start < end <= size for start, end in ranges)
    wanted = {b for first, last in asked for b in range(first, size if last is None else min(last + 1, size))}
    assert wanted <= {b for start, end in ranges for b in range(start, end)}
    assert bool(wanted) == bool(ranges)


@given(st.text("bytes=0123456789-, \tx", max_size=30), st.integers(0, 50))
def test_no_text_fails(value: str, size: int) -> None:
    ranges = parse_ranges(value, size)
    assert ranges is None or all(0 <= start < end <= size for start, end in ranges)

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http.conditional import evaluate, http_date, range_applies

ETAG = '"5-abc"'
MODIFIED = 784111777  # Sun, 06 Nov 1994 08:49:37 GMT
DATE = "Sun, 06 Nov 1994 08:49:37 GMT"
EARLIER = "Sun, 06 Nov 1994 08:49:36 GMT"
LATER = "Sun, 06 Nov 1994 08:49:38 GMT"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 200),
        ({"if-none-match": ETAG}, 304),
        ({"if-none-match": "W/" + ETAG}, 304),  # weak comparison
        ({"if-none-match": '"x", "5-abc"'}, 304),
        ({"if-none-match": '"a,b","5-abc"'}, 304),
        ({"if-none-match": "*"}, 304),
        ({"if-none-match": '"x"'}, 200),
        ({"if-none-match": "5-abc"}, 200),
        ({"if-none-match": '"x"', "if-modified-since": DATE}, 200),  # the entity tag decides
        ({"if-modified-since": DATE}, 304),
        ({"if-modified-since": LATER}, 304),
        ({"if-modified-since": EARLIER}, 200),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, 304),
        ({"if-modified-since": "Sun Nov  6 08:49:37 1994"}, 304),
        ({"if-modified-since": "yesterday"}, 200),
        ({"if-modified-since": "Sun, 99 Nov 1994 99:99:99 GMT"}, 200),
        ({"if-match": ETAG}, 200),
        ({"if-match": '"x", "5-abc"'}, 200),
        ({"if-match": "*"}, 200),
        ({"if-match": '"x"'}, 412),
        ({"if-match": "W/" + ETAG}, 412),  # strong comparison
        ({"if-match": ETAG, "if-unmodified-since": EARLIER}, 200),
        ({"if-match": ETAG, "if-none-match": ETAG}, 304),
        ({"if-match": '"x"', "if-none-match": ETAG}, 412),
        ({"if-unmodified-since": DATE}, 200),
        ({"if-unmodified-since": EARLIER}, 412),
        ({"if-unmodified-since": "never"}, 200),
    ],
)
def test_preconditions(fields: dict[str, str], status: int) -> None:
    assert evaluate(fields.get, ETAG, MODIFIED) == status


def test_a_weak_tag_of_ours_never_matches_strongly() -> None:
    weak = "W/" + ETAG
    assert evaluate({"if-none-match": ETAG}.get, weak, MODIFIED) == 304
    assert evaluate({"if-match": weak}.get, weak, MODIFIED) == 412
    assert not range_applies(weak, weak, MODIFIED)


@pytest.mark.parametrize(
    ("if_range", "applies"),
    [
        (None, True),
        (ETAG, True),
        ("W/" + ETAG, False),
        ('"x"', False),
        (DATE, True),
        (LATER, False),
        (EARLIER, False),
        ("rubbish", False),
    ],
)
def test_if_range(if_range: str | None, applies: bool) -> None:
    assert range_applies(if_range, ETAG, MODIFIED) is applies


@given(st.integers(0, 4_000_000_000))
def test_dates_come_back(seconds: int) -> None:
    assert evaluate({"if-modified-since": http_date(seconds)}.get, ETAG, seconds) == 304
    assert evaluate({"if-modified-since": http_date(seconds)}.get, ETAG, seconds + 1) == 200


@given(st.text())
def test_no_field_fails(value: str) -> None:
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"):
        assert evaluate({name: value}.get, ETAG, MODIFIED) in (200, 304, 412)
    range_applies(value, ETAG, MODIFIED)

"""What is written is read back as it was."""

from __future__ import annotations

import datetime
import math
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.server.toml_text import dump_table, dump_value

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
zones = st.integers(-1439, 1439).map(lambda m: datetime.timezone(datetime.timedelta(minutes=m)))
scalars = st.one_of(
    text,
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False),
    st.datetimes(),
    st.datetimes(timezones=zones),
    st.dates(),
    st.times(),
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(text, values, max_size=6))
def test_round_trip(table: dict[str, object]) -> None:
    written = dump_table(table)
    assert tomllib.loads(written) == table
    assert len(written.split("\n")) == len(table) + 1  # a line a key


def test_huge_numbers_too() -> None:
    for number in (1 << 63, (1 << 63) - 1, 16**5000, -(10**4000)):
        assert tomllib.loads(dump_table({"x": number})) == {"x": number}


def test_nan_is_a_float_too() -> None:
    assert math.isnan(tomllib.loads(dump_table({"x": math.nan}))["x"])


@pytest.mark.parametrize("value", [None, b"x", object(), [1, None]])
def test_what_toml_does_not_have(value: object) -> None:
    with pytest.raises(TypeError, match="TOML has no"):
        dump_value(value)

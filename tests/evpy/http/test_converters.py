from __future__ import annotations

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http.converters import CONVERTERS


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("int", "0", 0),
        ("int", "-12", -12),
        ("int", "007", 7),
        ("float", "1", 1.0),
        ("float", "-1.50", -1.5),
        ("uuid", "12345678-1234-5678-1234-56781234ABCD", UUID("12345678-1234-5678-1234-56781234abcd")),
        ("str", "a/b \xe9", "a/b \xe9"),
        ("path", "a/b", "a/b"),
    ],
)
def test_accepts(name: str, text: str, value: object) -> None:
    parsed = CONVERTERS[name].parse(text)
    assert (type(parsed), parsed) == (type(value), value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("int", text) for text in ("", "a", "1.0", "+1", " 1", "1_0", "\u0661", "--1", "1\n", "9" * 5000)),
        *(("float", text) for text in ("", ".", "1.", ".5", "1e3", "nan", "inf", "+1", " 1", "1_0", "1\n")),
        *(
            ("uuid", text)
            for text in ("", "12345678123456781234567812345678", "{12345678-1234-5678-1234-567812345678}")
        ),
        ("str", ""),
        ("path", ""),
    ],
)
def test_refuses(name: str, text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - any text will do
        CONVERTERS[name].parse(text)


@given(st.integers(-(10**30), 10**30), st.floats(allow_nan=False, allow_infinity=False), st.uuids())
def test_values_come_back(i: int, f: float, u: UUID) -> None:
    for name, value in (("int", i), ("float", f), ("uuid", u)):
        converter = CONVERTERS[name]
        assert converter.parse(converter.format(value)) == value

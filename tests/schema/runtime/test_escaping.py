"""Texts and numbers are written in C as in Python."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schema.runtime import escaping, writing
from schema.values import text as numbers

if writing._compiled is None:
    pytest.skip("not in C here", allow_module_level=True)

PAIRS = [
    (escaping.esc, writing.esc),
    (escaping.esc_attribute, writing.esc_attribute),
    (numbers.write_decimal, writing.write_decimal),
    (numbers.write_int, writing.write_int),
]
TEXT = st.text() | st.text(st.sampled_from("ab <>&\r\n\t\"'\0\x7f\x80é\ud800\U0001f600"))
NUMBER = st.decimals() | st.integers() | st.booleans() | st.floats()


class Text(str):
    __slots__ = ()


class Number(int):
    def __repr__(self) -> str:
        return "a number"


def outcome(function: Any, value: Any) -> Any:
    try:
        return function(value)
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        return type(error)


def test_it_is_in_use() -> None:
    assert all(plain is not fast for plain, fast in PAIRS)


def test_a_number_that_python_does_not_write() -> None:
    for plain, fast in PAIRS:
        assert outcome(plain, 10**5000) == outcome(fast, 10**5000)


@given(TEXT | NUMBER | st.binary() | st.none())
def test_any_value(value: Any) -> None:
    for plain, fast in PAIRS:
        assert outcome(plain, value) == outcome(fast, value)


@pytest.mark.parametrize(
    "value",
    [
        *map(chr, range(256)), Text("a"), Text("<"), b"a", b"<", ["a"], None, True, Number(5), -(10**18),
        Decimal("1E5"), Decimal("1E-7"), Decimal("-0"), Decimal("NaN"), Decimal("1e99999"), numbers.FINE("1E-7"), 1.5,
    ],
)  # fmt: skip
def test_these(value: Any) -> None:
    for plain, fast in PAIRS:
        assert outcome(plain, value) == outcome(fast, value)

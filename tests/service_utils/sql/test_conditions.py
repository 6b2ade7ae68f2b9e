"""Conditional lines of SQL."""

from __future__ import annotations

from typing import Any

import pytest

from service_utils.sql import SQLError, plan

TEXT = """select *
#if a
A :a
  #if b and a > 1
  AB
  #endif
#elif b in ('x', "y")
B :b
#elif c is None
no C
#else
else :c
#endif
end"""


@pytest.mark.parametrize(
    ("given", "lines", "values"),
    [
        ({"a": 1}, ["select *", "A ?1", "end"], (1,)),
        ({"a": 2, "b": 1}, ["select *", "A ?1", "  AB", "end"], (2,)),
        ({"b": "y"}, ["select *", "B ?1", "end"], ("y",)),
        ({"a": 0, "b": "z"}, ["select *", "no C", "end"], ()),
        ({"c": 5}, ["select *", "else ?1", "end"], (5,)),
        (None, ["select *", "no C", "end"], ()),
    ],
)
def test_lines_are_chosen_and_keep_their_numbers(given: Any, lines: list[str], values: tuple[Any, ...]) -> None:
    text, bound = plan(TEXT, "sqlite").bind(given)
    assert bound == values
    assert [line for line in text.splitlines() if line.strip()] == lines
    assert text.count("\n") == TEXT.count("\n")


@pytest.mark.parametrize(
    ("condition", "given", "holds"),
    [
        ("x", {"x": []}, False), ("not x", {}, True), ("x == 1 or y", {"y": 0}, False), ("1 < x <= 3", {"x": 3}, True),
        ("len(x) > 2", {"x": "abc"}, True), ("x not in (1, 2)", {"x": 1}, False), ("x is not None", {"x": 0}, True),
        ("x == -1", {"x": -1}, True), ("x and y and z", {"x": 1, "y": 1, "z": 0}, False), ("True", {}, True),
    ],
)  # fmt: skip
def test_conditions(condition: str, given: Any, holds: bool) -> None:
    text, _ = plan(f"#if {condition}\nyes\n#endif", "postgresql").bind(given)
    assert ("yes" in text) is holds


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("\n#if a\nx", "line 2: #if without #endif"),
        ("#endif", "line 1: #endif without #if"),
        ("x\n#else", "line 2: #else without"),
        ("#if a\n#else\n#else\n#endif", "line 3: #else after #else"),
        ("#if a\n#else\n#elif b\n#endif", "line 3: #elif after #else"),
        ("#if\n#endif", "line 1: #if needs a condition"),
        ("#if a b\n#endif", "line 1: 'a b' is not a condition"),
        ("#if __import__('os')\n#endif", "cannot stand in a condition"),
        ("#if a.b\n#endif", "'a.b' cannot stand"),
        ("#if a[0]\n#endif", "cannot stand"),
        ("#if (lambda: 1)()\n#endif", "cannot stand"),
        ("#if len(a, b)\n#endif", "cannot stand"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(sql: str, says: str) -> None:
    with pytest.raises(SQLError, match=says):
        plan(sql, "sqlite")


def test_parameters_of_such_statements_have_names() -> None:
    with pytest.raises(SQLError, match="by name"):
        plan("#if a\n?\n#endif", "sqlite").bind([1])
    with pytest.raises(SQLError, match="line 1: the condition 'a > 1' cannot be evaluated"):
        plan("#if a > 1\n#endif", "sqlite").bind({})

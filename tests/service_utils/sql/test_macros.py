"""Macros and fragments of SQL."""

from __future__ import annotations

import pytest

from service_utils.sql import Macros, SQLError, plan

MACROS = Macros(
    {
        "active": "not deleted and state = '$active'",
        "like(column, text)": "lower($column) like lower($text)",
        "either(a, b)": "($like($a, :x) or $like($b, :x))",
        "none()": "1 = 0",
    }
)


UNTOUCHED = "'$active' -- $active\n, $$ $active $$, $a$ $b $a$, $1"


@pytest.mark.parametrize(
    ("sql", "text", "values"),
    [
        ("where $active", "where not deleted and state = '$active'", ()),
        ("where $like(name, :n)", "where lower(name) like lower($1)", ("N",)),
        ("where $like(f(a, 'x,)'), :n || ')')", "where lower(f(a, 'x,)')) like lower($1 || ')')", ("N",)),
        ("$either(p, q)", "(lower(p) like lower($1) or lower(q) like lower($1))", ("X",)),
        ("$none() or $none( )", "1 = 0 or 1 = 0", ()),
        (
            "'$active' -- $active\n, $$ $active $$, $a$ $b $a$, $1",
            "'$active' -- $active\n, $$ $active $$, $a$ $b $a$, $1",
            (),
        ),
    ],
)
def test_expanded(sql: str, text: str, values: tuple[object, ...]) -> None:
    got = plan(sql, "postgresql", MACROS).bind({"n": "N", "x": "X"})
    assert got == (text, values)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("\n$nothing", r"line 2: there is no macro \$nothing; there are \$active, \$like"),
        ("$like", r"line 1: \$like needs its arguments: \$like\(column, text\)"),
        ("$like(a)", r"\$like has 2 arguments \(column, text\), 1 are given"),
        ("$like(a, (b)", "no closing bracket"),
        ("$none(a)", "has 0 arguments"),
    ],
)
def test_what_is_wrong_is_named(sql: str, says: str) -> None:
    with pytest.raises(SQLError, match=says):
        plan(sql, "postgresql", MACROS)


def test_macros_that_make_no_sense() -> None:
    for header in ("1a", "a(", "a(b c)", "a(b,)", "", "a()x"):
        with pytest.raises(SQLError, match="is not the name of a macro"):
            Macros({header: ""})
    with pytest.raises(SQLError, match="defined twice"):
        Macros({"a": "", "a(b)": ""})
    with pytest.raises(SQLError, match=r"uses itself: a -> b -> a"):
        plan("$a", "sqlite", Macros({"a": "$b", "b": "$a"}))
    with pytest.raises(SQLError, match="no macro"):
        plan("$a", "sqlite")
    assert plan("$a $b", "sqlite", Macros({"a": "1", "b": "2"}) | Macros({"b": "3"})).text == "1 3"

"""Parameters in SQL: found where they are, bound as each database has them, and never made part of the text."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_utils.sql import SQLError, plan, quote_identifier

P, M, S = "postgresql", "mysql", "sqlite"


@pytest.mark.parametrize(
    ("dialect", "sql", "given", "text", "values"),
    [
        (P, "select :a, :b, :a", {"a": 1, "b": 2}, "select $1, $2, $1", (1, 2)),
        (S, "select :a, :b, :a", {"a": 1, "b": 2}, "select ?1, ?2, ?1", (1, 2)),
        (M, "select :a, :b, :a, 5 % 2", {"a": 1, "b": 2}, "select %s, %s, %s, 5 %% 2", (1, 2, 1)),
        (M, "select 5 % 2", {}, "select 5 % 2", ()),
        (P, "select ?, ?", [1, 2], "select $1, $2", (1, 2)),
        # casts and identifiers
        (P, "select (1)::int, '1'::int, :a::date", {"a": 1}, "select (1)::int, '1'::int, $1::date", (1,)),
        (P, "select x[1]::text, \"y\"::text from ::t", {"t": "T"}, "select x[1]::text, \"y\"::text from \"T\"", ()),
        (P, "select ::c from ::t", {"t": ("s", "t"), "c": 'a"b'}, 'select "a""b" from "s"."t"', ()),
        (M, "select ::c from ::t", {"t": ("s", "t"), "c": "a`b"}, "select `a``b` from `s`.`t`", ()),
        (P, "select ?::int from ??", [1, "t"], 'select $1::int from "t"', (1,)),
        (P, "select a[1:2], a[:n]", {"n": 1}, "select a[1:2], a[$1]", (1,)),
        # not in strings, quoted names and comments
        (P, "select ':a', \"::b\", E'\\':c', '''?'", {}, "select ':a', \"::b\", E'\\':c', '''?'", ()),
        (P, "select $$ :a $$, $x$ :b ' $x$, $1$", {}, "select $$ :a $$, $x$ :b ' $x$, $1$", ()),
        (P, "select 1 -- :a\n, :b /* :c /* :d */ ? */", {"b": 1}, "select 1 -- :a\n, $1 /* :c /* :d */ ? */", (1,)),
        (M, "select 1 # :a\n, '\\':c', \":d\", `:e`, :f", {"f": 1}, "select 1 # :a\n, '\\':c', \":d\", `:e`, %s", (1,)),
        (S, "select '\\', :a", {"a": 1}, "select '\\', ?1", (1,)),
        (M, "select 5--1, '\n:b', :a", {"a": 1}, "select 5--1, '\n:b', %s", (1,)),
        (M, "select 1 --\t:a\n, :b --", {"b": 1}, "select 1 --\t:a\n, %s --", (1,)),
        (P, "select a['x]'], ':b', :c", {"c": 1}, "select a['x]'], ':b', $1", (1,)),
        (S, "select [a:b ?], :c", {"c": 1}, "select [a:b ?], ?1", (1,)),
        (P, "select a#>:p, a #>> :q", {"p": 1, "q": 2}, "select a#>$1, a #>> $2", (1, 2)),
        # lists
        (P, "where a in :l", {"l": [1, 2]}, "where a in ($1, $2)", (1, 2)),
        (P, "where a in ( :l ) and b", {"l": [1, 2]}, "where a in ($1, $2) and b", (1, 2)),
        (P, "where a IN(:l)", {"l": (7,)}, "where a IN($1)", (7,)),
        (P, "where a in (:l, :m)", {"l": 1, "m": 2}, "where a in ($1, $2)", (1, 2)),
        (P, "where a in :l", {"l": 5}, "where a in ($1)", (5,)),
        (P, "where a = any(:l)", {"l": [1, 2]}, "where a = any($1)", ([1, 2],)),
        (S, "where a in :l or :x", {"l": [], "x": 1}, "where a in (null) is true or ?1", (1,)),
        (S, "where a not in :l", {"l": []}, "where a not in (null) is not false", ()),
        (P, "where a in ?", [[1, 2]], "where a in ($1, $2)", (1, 2)),
    ],
)  # fmt: skip
def test_bound(dialect: str, sql: str, given: Any, text: str, values: tuple[Any, ...]) -> None:
    assert plan(sql, dialect).bind(given) == (text, values)


@pytest.mark.parametrize(
    ("sql", "given", "says"),
    [
        ("select :a, :b", {"a": 1}, "no value for the parameter b; given are a"),
        ("select ::a", None, "no value for the parameter a; given are none"),
        ("select ::a", {"a": ""}, "'' is not a name"),
        ("select ::a", {"a": 5}, "5 is not a name"),
        ("select ::a", {"a": "x\0y"}, "is not a name"),
        ("select ?, ??", [1], r"2 parameters \(\?\), given are 1 values"),
        ("select ? in ?", [1, [2], 3], "2 parameters .*, given are 3"),
        ("select ?", "x", "give a list or tuple"),
        ("select\n/* x", {}, "line 2: the comment"),
        ("select\n\n$$x", {}, "line 3: the text"),
        ("select a in :l", {"l": list(range(70_000))}, "65535 at most"),
    ],
)
def test_what_does_not_fit_is_named(sql: str, given: Any, says: str) -> None:
    with pytest.raises(SQLError, match=says):
        plan(sql, P).bind(given)


def test_an_unknown_dialect_is_named() -> None:
    with pytest.raises(SQLError, match="'oracle'; there are sqlite, postgresql, mysql"):
        plan("select 1", "oracle")


@given(st.text(), st.text(min_size=1).filter(lambda t: "\0" not in t))
def test_nothing_that_is_given_becomes_sql(value: str, name: str) -> None:
    """Whatever the value and the name are, SQLite sees one value and one column of that very name."""
    value, name = (t.encode("utf-8", "replace").decode() for t in (value, name))
    connection = sqlite3.connect(":memory:")
    try:
        text, values = plan("select :value as ::name", S).bind({"value": value, "name": name})
        cursor = connection.execute(text, values)
        assert cursor.fetchall() == [(value,)]
        assert cursor.description[0][0] == name
    finally:
        connection.close()


@given(st.sampled_from([P, M, S]), st.text(alphabet=":?'\"`$-/*#\\ax1[]() \n", max_size=30))
def test_any_text_is_read_or_refused(dialect: str, text: str) -> None:
    """Nothing but SQLError; what is not a parameter stays as it was."""
    from service_utils.sql.lexer import parameters

    try:
        pieces = parameters(text, dialect)
    except SQLError:
        return
    rest = text
    for piece in pieces:
        if isinstance(piece, str):
            assert piece in rest
            rest = rest[rest.index(piece) + len(piece) :]


def test_quoted_identifiers() -> None:
    assert quote_identifier("a b", S) == '"a b"'
    assert quote_identifier(("x", "y"), M) == "`x`.`y`"

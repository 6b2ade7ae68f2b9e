"""The log of statements, what is slow, and EXPLAIN."""

from __future__ import annotations

import logging

import pytest

from service_utils.db import Database, connect
from service_utils.db.errors import UndefinedTable


def test_conditions_and_macros_reach_the_database(url: str) -> None:
    with connect(url, macros={"double(x)": "($x) * 2"}) as db:
        sql = "select $double(:n) as n\n#if more\n, :more as m\n#endif"
        assert db.one(sql, n=2, into=tuple) == (4,)
        with db.transaction() as tx:
            assert tx.one(sql, n=2, more="x", into=tuple) == (4, "x")


def test_statements_are_logged_without_their_values(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    db.execute("create table item (id int primary key, name varchar(20))")
    with caplog.at_level(logging.DEBUG, "service_utils.db.queries"):
        db.insert("item", {"id": 1, "name": "secret"})
        with db.transaction():
            db.query("select *\n from item where name = :name", name="secret")
            db.query_many("select id from item where id = :id", [{"id": 1}])
        with pytest.raises(UndefinedTable):
            db.query("select * from missing_table")
    lines = [record.getMessage() for record in caplog.records]
    assert [line.split(", ", 1)[1].split(":")[0] for line in lines] == [
        "1 changed",
        "1 rows",
        "1 results",
        "UndefinedTable",
    ]
    assert all(line.startswith(f"{db.name}: ") and " ms, " in line for line in lines)
    assert "select * from item where name =" in lines[1]
    assert "secret" not in caplog.text


def test_what_is_slow_is_a_warning(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    db.query("select 1")
    assert not caplog.records
    db.query_log.slow, db.query_log.values = 0.0, True
    db.query("select :x", x="shown")
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("service_utils.db.slow", logging.WARNING)
    assert "slow: 0." in record.getMessage()
    assert "1 rows" in record.getMessage()
    assert "['shown']" in record.getMessage()


def test_explain(db: Database) -> None:
    db.execute("create table item (id int primary key, name varchar(20))")
    for analyze in (False, True):
        text = db.explain("select * from item where name = :name", name="x", analyze=analyze)
        assert "item" in text
        assert len(text.splitlines()) >= 1

"""Statements and rows: the same words for every engine."""

from __future__ import annotations

import dataclasses
from typing import Any

import gevent
import msgspec
import pytest

from service_utils.db import Database, connect
from service_utils.db.errors import (
    CheckViolation,
    DatabaseError,
    DataError,
    DuplicateTable,
    ForeignKeyViolation,
    IntegrityError,
    NoRow,
    NotNullViolation,
    RowError,
    RowMismatch,
    SyntaxError,
    TooManyRows,
    UndefinedColumn,
    UndefinedTable,
    UniqueViolation,
)
from service_utils.sql import SQLError


@dataclasses.dataclass
class Item:
    id: int
    name: str
    price: float | None = None


class Goods(msgspec.Struct):
    id: int
    name: str
    price: float | None = None


@pytest.fixture(autouse=True)
def table(db: Database) -> None:
    db.execute("create table item (id integer primary key, name varchar(40) not null unique, price double precision)")
    assert db.execute("insert into item (id, name, price) values (1, 'tea', 2.5)") == 1
    assert db.insert("item", {"id": 2, "name": "it's ?, :x, 100 % \\ \" ` ü", "price": None}) == 1


def test_parameters_by_name_and_by_position(db: Database) -> None:
    for rows in (
        db.query("select id, name from item where id = :id", id=1),
        db.query("select id, name from item where id = :id", {"id": 1, "more": 5}),
        db.query("select id, name from item where id = ?", [1]),
        db.query("select id, name from ?? where ?? = ?", ("item", "id", 1)),
    ):
        assert rows == [{"id": 1, "name": "tea"}]
    assert db.value("select count(*) from item where name = :name", name="it's ?, :x, 100 % \\ \" ` ü") == 1
    assert db.value("select count(*) from item where name like '%e%' and id in :ids", ids=[1, 2, 3]) == 1


def test_lists_and_identifiers(db: Database) -> None:
    assert db.query("select id from item where id in :ids order by id", ids=(2, 1), into=tuple) == [(1,), (2,)]
    assert db.query("select id from item where id in (:ids)", ids=[]) == []
    assert len(db.query("select id from item where id not in :ids", ids=[])) == 2
    assert len(db.query("select id from item where not (id in :ids)", ids=set())) == 2
    assert db.value("select max(::column) from ::table", column="id", table="item") == 2
    evil = 'x" = 1; drop table item; --`'
    with pytest.raises(DatabaseError):
        db.query("select * from item order by ::column", column=(evil, "id"))
    assert db.query("select id from item where name = :name", name=f"' or 1 = 1; {evil}") == []
    assert db.value("select count(*) from item") == 2


def test_rows_become_what_is_asked_for(db: Database) -> None:
    sql = "select id, name, price from item where id = 1"
    assert db.query(sql) == [{"id": 1, "name": "tea", "price": 2.5}]
    assert db.query(sql, into=tuple) == [(1, "tea", 2.5)]
    assert db.query(sql, into=Item) == [Item(1, "tea", 2.5)]
    assert db.query(sql, into=Goods) == [Goods(1, "tea", 2.5)]
    assert db.query("select name, id from item where id = 1", into=Item) == [Item(1, "tea")]
    assert db.query("select name, id from item where id = 1", into=Goods) == [Goods(1, "tea")]
    assert db.query(sql, into=lambda **row: sorted(row)) == [["id", "name", "price"]]


@pytest.mark.parametrize("kind", [Item, Goods])
def test_rows_that_do_not_fit_say_which_column(db: Database, kind: Any) -> None:
    with pytest.raises(RowMismatch, match=f"{kind.__name__} has no field 'other'"):
        db.query("select id, name, 1 as other from item", into=kind)
    with pytest.raises(RowMismatch, match=f"{kind.__name__} needs the column 'name'"):
        db.query("select id from item", into=kind)
    with pytest.raises(RowMismatch, match="'id' is there twice"):
        db.query("select a.id, b.id from item a join item b on a.id = b.id", into=kind)
    with pytest.raises(RowMismatch, match="'id' is there twice"):
        db.query("select a.id, b.id from item a join item b on a.id = b.id")
    assert len(db.query("select a.id, b.id from item a join item b on a.id = b.id", into=tuple)) == 2
    with pytest.raises(RowMismatch, match="Expected `int`, got `str`"):
        db.query("select name as id, name from item", into=Goods)


def test_one_first_and_value(db: Database) -> None:
    assert db.first("select id from item where id = 9") is None
    assert db.first("select id from item order by id desc") == {"id": 2}
    assert db.one("select id from item where id = :id", id=2, into=tuple) == (2,)
    with pytest.raises(NoRow, match="there are none: select id from item where id = 9"):
        db.one("select id\n  from item where id = 9")
    with pytest.raises(TooManyRows, match="there are 2"):
        db.value("select id from item")
    with pytest.raises(RowError, match="there are 2: select id, name"):
        db.value("select id, name from item where id = 1")


def test_what_does_not_fit_the_text_is_refused_before_the_database_is_asked(db: Database) -> None:
    before = db.statistics().acquired
    for call, says in (
        (lambda: db.query("select :a", b=1), "no value for the parameter a; given are b"),
        (lambda: db.query("select :a", [1]), "the parameters have names"),
        (lambda: db.query("select ?", {"a": 1}), "by position"),
        (lambda: db.query("select ?", [1, 2]), "1 parameters .* 2 values"),
        (lambda: db.query("select ?", 5), "by position"),  # type: ignore[call-overload]
        (lambda: db.query("select ?, :a", [1]), "use one kind"),
        (lambda: db.query("select 1", [1]), "without parameters"),
        (lambda: db.query("select ::a", a="x\0"), "not a name"),
        (lambda: db.query("select :a, :b", {"a": 1}, b=2), "given twice: .* b="),
        (lambda: db.query("select 'a"), "line 1: .* has no end"),
        (lambda: db.query(b"select 1"), "text, not bytes"),  # type: ignore[call-overload]
    ):
        with pytest.raises(SQLError, match=says):
            call()
    assert db.statistics().acquired == before


def test_values_that_no_database_knows(db: Database) -> None:
    with pytest.raises(DatabaseError) as caught:
        db.value("select :x", x=object())
    assert isinstance(caught.value, DataError)
    assert "%s" not in str(caught.value)
    assert db.statistics().held == 0


def test_values_that_have_no_place_are_the_fault_of_the_data(db: Database) -> None:
    """JSON from outside may have halves of surrogates and numbers of any size. The connection is as good as before."""
    wrong: list[Any] = ["\ud800"]
    if db.dialect == "sqlite":
        wrong.append(2**64)
    if db.dialect == "mysql":
        wrong += [float("nan"), float("inf")]
    for value in wrong:
        for ask in (lambda: db.query("select :x", x=value), lambda: db.query_many("select :x", [{"x": value}])):  # noqa: B023
            with pytest.raises(DataError):
                ask()
    with pytest.raises(DataError):
        db.query("select 1 as ::name", name="\ud800")
    assert db.statistics().discarded == 0
    assert db.value("select 1") == 1


def test_many_at_once(db: Database) -> None:
    rows = [{"id": n, "name": f"n{n}"} for n in range(10, 15)]
    assert db.execute_many("insert into item (id, name) values (:id, :name)", rows) == 5
    assert db.execute_many("delete from item where id = ?", ((n,) for n in (10, 11, 99))) == 2
    got = db.query_many("select name from item where id = :id", [{"id": 12}, {"id": 99}, {"id": 14}], into=tuple)
    assert got == [[("n12",)], [], [("n14",)]]
    with pytest.raises(RowError, match="values alone"):
        db.execute_many("delete from ::t", [{"t": "item"}])


def test_streams_come_in_pieces(db: Database) -> None:
    db.execute_many("insert into item (id, name) values (?, ?)", [(n, f"n{n}") for n in range(10, 510)])
    names = [row["name"] for row in db.stream("select name from item where id >= :id order by id", id=10, batch=7)]
    assert names == [f"n{n}" for n in range(10, 510)]
    rows = db.stream("select id from item order by id", batch=3, into=tuple)
    assert next(rows) == (1,)
    assert db.statistics().held == 1
    db.execute("insert into item (id, name) values (600, 'meanwhile')")
    rows.close()  # type: ignore[attr-defined]
    assert db.statistics().held == 0


@pytest.mark.parametrize(
    ("sql", "kind"),
    [
        ("insert into item (id, name) values (1, 'x')", UniqueViolation),
        ("insert into item (id, name) values (5, 'tea')", UniqueViolation),
        ("insert into item (id, name) values (5, null)", NotNullViolation),
        ("insert into part (id, item, n) values (1, 77, 1)", ForeignKeyViolation),
        ("insert into part (id, item, n) values (1, 1, -1)", CheckViolation),
        ("selec 1", SyntaxError),
        ("select * from missing_table", UndefinedTable),
        ("select missing_column from item", UndefinedColumn),
        ("create table item (id integer)", DuplicateTable),
    ],
)
def test_errors_are_the_same_for_all_engines(db: Database, sql: str, kind: type[DatabaseError]) -> None:
    db.execute(
        "create table part (id integer primary key, item integer not null, n integer, "
        "constraint n_positive check (n > 0), foreign key (item) references item (id))"
    )
    with pytest.raises(kind) as caught:
        db.execute(sql)
    assert caught.value.sqlstate in kind.codes
    assert caught.value.engine == db.dialect
    assert isinstance(caught.value, IntegrityError) == caught.value.sqlstate.startswith("23")
    assert caught.value.__cause__ is not None
    assert db.value("select count(*) from item") == 2
    assert db.statistics().discarded == 0, "an error of the statement leaves the connection clean"


def test_greenlets_and_threads_share_a_database(db: Database) -> None:
    def work(n: int) -> int:
        return sum(db.value("select id from item where id = :id", id=1 + (n + i) % 2) for i in range(10))

    jobs = [gevent.spawn(work, n) for n in range(20)]
    assert sum(job.get() for job in jobs) == 300
    assert db.statistics().connected <= 4


def test_a_closed_database_says_so(url: str) -> None:
    with connect(url) as db:
        db.query("select 1")
    with pytest.raises(Exception, match="closed"):
        db.query("select 1")

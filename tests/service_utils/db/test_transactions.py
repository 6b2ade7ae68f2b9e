"""Transactions: all or nothing, nested, for one greenlet, and over at the latest with the request."""

from __future__ import annotations

import gc
import logging
import threading
from contextvars import copy_context
from typing import Any

import gevent
import gevent.event
import pytest
from flows import PATIENCE, in_thread, until

from service_utils.db import Database
from service_utils.db.errors import (
    ConcurrentUse,
    DeadlockDetected,
    ReadOnlyViolation,
    SerializationFailure,
    TransactionOver,
    UniqueViolation,
)


@pytest.fixture(autouse=True)
def table(db: Database) -> None:
    db.execute("create table item (id integer primary key, n integer not null)")


def ids(db: Database) -> list[int]:
    return [row[0] for row in db.query("select id from item order by id", into=tuple)]


def add(db: Any, id_: int) -> None:
    db.execute("insert into item (id, n) values (:id, 0)", id=id_)


def test_the_block_commits_and_an_error_rolls_back(db: Database) -> None:
    with db.transaction() as tx:
        add(tx, 1)
    assert tx.over
    with pytest.raises(ValueError, match="x"), db.transaction() as tx:
        add(tx, 2)
        raise ValueError("x")
    with pytest.raises(UniqueViolation), db.transaction() as tx:
        add(tx, 3)
        add(tx, 1)
    assert ids(db) == [1]
    assert db.statistics().discarded == 0
    with pytest.raises(TransactionOver):
        tx.query("select 1")
    with pytest.raises(TransactionOver):
        tx.commit()


def test_within_the_block_the_database_means_the_transaction(db: Database) -> None:
    with pytest.raises(ValueError, match="x"), db.transaction():
        add(db, 1)
        assert ids(db) == [1]
        assert list(db.stream("select id from item", into=tuple)) == [(1,)]
        raise ValueError("x")
    assert ids(db) == []
    with db.transaction() as tx:
        add(tx, 1)
        seen = gevent.spawn(lambda: (ids(db), db._current())).get()
        assert seen == ([], None), "another greenlet is not in it"
        heir = gevent.Greenlet(db._current)
        heir.gr_context = copy_context()  # as evpy does it for what a handler spawns
        heir.start()
        assert heir.get() is None, "not even one that has inherited the context"
        assert in_thread(lambda: ids(db)).result(PATIENCE) == []
    assert ids(db) == [1]


def test_they_nest_by_savepoints(db: Database) -> None:
    with db.transaction() as tx:
        add(tx, 1)
        with pytest.raises(ValueError, match="x"), tx.transaction() as inner:
            add(inner, 2)
            with db.transaction() as innermost:
                add(innermost, 3)
            raise ValueError("x")
        with pytest.raises(UniqueViolation), db.transaction():
            add(db, 1)
        with db.transaction():
            add(db, 4)
        assert ids(db) == [1, 4]
        with pytest.raises(ValueError, match="savepoint"):
            db.transaction(read_only=True)
    assert ids(db) == [1, 4]
    assert db.statistics().connected == 1


def test_a_savepoint_does_not_outlive_its_transaction(db: Database) -> None:
    tx = db.begin()
    inner = tx.transaction().begin()
    tx.rollback()
    with pytest.raises(TransactionOver):
        add(inner, 1)
    with pytest.raises(TransactionOver):
        tx.transaction().begin()
    assert db._current() is None
    add(db, 1)
    assert ids(db) == [1]


def test_without_a_block(db: Database) -> None:
    tx = db.begin()
    add(db, 1)
    tx.commit()
    tx = db.begin()
    add(db, 2)
    tx.rollback()
    assert ids(db) == [1]
    with pytest.raises(TransactionOver, match="begun once"):
        tx.begin()


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_options(db: Database, isolation: Any) -> None:
    with pytest.raises(ReadOnlyViolation), db.transaction(isolation=isolation, read_only=True, lock_timeout=1.5):
        assert ids(db) == []
        add(db, 1)
    with db.transaction(isolation=isolation, statement_timeout=5):
        add(db, 1)
    add(db, 2)
    assert ids(db) == [1, 2]
    with pytest.raises(ValueError, match="isolation='none'"):
        db.transaction(isolation="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="lock_timeout=0"):
        db.transaction(lock_timeout=0)


@pytest.mark.parametrize("interruption", [gevent.Timeout, gevent.GreenletExit, KeyboardInterrupt])
def test_an_interruption_ends_the_connection(db: Database, interruption: type[BaseException]) -> None:
    with pytest.raises(interruption), db.transaction():
        add(db, 1)
        with db.transaction():
            add(db, 2)
            raise interruption
    assert db._current() is None
    assert db.statistics().discarded == 1
    assert ids(db) == []


def test_two_at_the_same_time_are_refused(db: Database) -> None:
    with db.transaction() as tx:
        run, release = tx._session.run, threading.Event()  # type: ignore[union-attr]

        def slow(text: str, values: Any) -> Any:
            gevent.sleep(0.01)
            return run(text, values)

        tx._session.run = slow  # type: ignore[union-attr, method-assign]
        other = gevent.spawn(tx.query, "select 1")
        gevent.sleep(0)
        with pytest.raises(ConcurrentUse):
            tx.query("select 1")
        other.get()
        del tx._session.run  # type: ignore[union-attr]
        release.set()
        tx.query("select 1")


def busy(tx: Any) -> tuple[gevent.Greenlet[..., Any], gevent.event.Event]:
    """A greenlet in the middle of a statement on it, until the event is set."""
    session, end = tx._session, gevent.event.Event()
    run = session.run

    def slow(text: str, values: Any) -> Any:
        end.wait(PATIENCE)
        return run(text, values)

    session.run = slow
    other = gevent.spawn(tx.value, "select 7")
    gevent.sleep(0)
    del session.run
    return other, end


def test_nobody_ends_it_while_another_one_waits_for_a_statement_of_it(db: Database) -> None:
    tx = db.begin()
    add(tx, 1)
    other, end = busy(tx)
    for act in (tx.commit, tx.rollback, tx.transaction().begin):
        with pytest.raises(ConcurrentUse):
            act()
    assert not tx.over
    end.set()
    assert other.get() == 7
    tx.commit()
    assert ids(db) == [1]
    assert db.statistics().discarded == 0


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("error", [None, ValueError, gevent.Timeout])
def test_a_block_that_ends_while_another_one_waits_for_a_statement_of_it(
    db: Database, nested: bool, error: Any
) -> None:
    """That one gets its answer, and then the connection is ended: nothing is committed, and nobody waits for ever."""
    others = []
    with pytest.raises(error or ConcurrentUse), db.transaction() as tx:
        add(tx, 1)
        if nested:
            with tx.transaction() as inner:
                others.append(busy(inner))
                if error:
                    raise error
        others.append(busy(tx))
        if error:
            raise error
    assert tx.over
    assert db._current() is None
    assert db.statistics().held == 1
    ((other, end),) = others
    end.set()
    assert other.get() == 7
    assert db.statistics().held == 0
    assert db.statistics().discarded == 1
    assert ids(db) == []


def test_the_one_that_was_rolled_back_because_of_others_is_run_again(db: Database) -> None:
    attempts: list[int] = []

    @db.retry(attempts=3)
    def work(tx: Any, id_: int) -> str:
        add(tx, id_)
        attempts.append(id_)
        if len(attempts) < 3:
            raise SerializationFailure("others") if len(attempts) == 1 else DeadlockDetected("others")
        return "done"

    assert work(7) == "done"
    assert attempts == [7, 7, 7]
    assert ids(db) == [7]
    attempts.clear()

    def fails(tx: Any) -> None:
        attempts.append(1)
        raise SerializationFailure("again and again")

    with pytest.raises(SerializationFailure, match="again and again"):
        db.run(fails)
    assert len(attempts) == 5
    with db.transaction(), pytest.raises(SerializationFailure):
        db.run(fails)
    assert len(attempts) == 6, "within another one only the outermost can be run again"
    with pytest.raises(ValueError, match="other errors"):
        db.run(lambda tx: (_ for _ in ()).throw(ValueError("other errors")))


def test_concurrent_writers_wait_for_each_other(db: Database) -> None:
    """Read, think, write: with the row locked, or as the only writer, no increment is lost."""
    add(db, 1)
    locked = "" if db.dialect == "sqlite" else " for update"

    def increment() -> None:
        for _ in range(5):
            with db.transaction() as tx:
                n = tx.value("select n from item where id = 1" + locked)
                gevent.sleep(0)
                tx.execute("update item set n = :n where id = 1", n=n + 1)

    gevent.joinall([gevent.spawn(increment) for _ in range(8)], raise_error=True)
    threads = [in_thread(increment, hub=True) for _ in range(3)]
    for thread in threads:
        thread.result(PATIENCE)
    assert db.value("select n from item") == 55


class FakeRequest:
    method, path = "GET", "/forgetful"


def test_what_a_handler_leaves_open_ends_with_its_request(db: Database, caplog: pytest.LogCaptureFixture) -> None:
    from evpy.http import request as request_module

    kept: list[Any] = []

    def handle() -> None:
        request: Any = FakeRequest()
        request_module._current.set(request)
        kept.append(db.begin())
        add(db, 1)
        with db.transaction():
            add(db, 2)
        done = db.begin()
        done.rollback()

    with caplog.at_level(logging.WARNING):
        copy_context().run(handle)
        gc.collect()
        until(lambda: db.statistics().held == 0)
    assert "GET /forgetful left a transaction open on" in caplog.text
    assert kept[0].over
    with pytest.raises(TransactionOver):
        kept[0].commit()
    assert ids(db) == []
    assert db.statistics().lost == 1
    db.pool._lost_count = 0  # seen


LASTING = {
    "sqlite": [
        "pragma foreign_keys = off", "attach database ':memory:' as more", "create temp table t (id int)",
        "pragma foreign_keys(off)", "pragma main.cache_size = 5", "explain pragma case_sensitive_like = 1",
    ],
    "postgresql": [
        "set search_path = pg_catalog", "reset all", "listen x", "create temporary table t (id int)",
        "create local temp table t2 as select 1", "-- why\n  set session statement_timeout = 0",
        "select pg_advisory_lock(7)", "select set_config('search_path', 'x', false)", "select 1; set search_path to x",
        "select set_config('search_path', lower('X'), false), set_config('work_mem', '1MB', true)",
        "with x as (select set_config('search_path', 'x', false)) select * from x", "prepare x as select 1",
        "do $$ begin set search_path to x; end $$", "select 1 as a into temp t",
        "explain analyze select pg_try_advisory_lock(7)", "begin; set role tester; commit",
    ],
    "mysql": [
        "set @who = 'me'", "set session sql_mode = ''", "create temporary table t (id int)", "select get_lock('x', 0)",
        "set names latin1", "select @who := 1", "use information_schema", "select 1 into @who", "do get_lock('x', 0)",
        "/*!40101 set @who = 1 */", "flush tables with read lock", "prepare x from 'select 1'",
        "with x as (select get_lock('x', 0) as y) select y from x",
    ],
}  # fmt: skip
PASSING = {
    "sqlite": [
        "pragma table_info(item)",
        "update item set n = 1",
        "select 'pragma x = 1'",
        "pragma foreign_keys",
        "explain query plan select 'attach'",
    ],
    "postgresql": [
        "select set_config('search_path', 'x', true)",
        "update item set n = 1",
        "select 'set search_path'",
        "select 1; update item set n = 1",
        "insert into item values (9, 9) on conflict do nothing",
    ],
    "mysql": ["update item set n = 1", "select 'set names x'"],
}


def test_what_is_set_for_the_session_does_not_reach_the_next_one(db: Database) -> None:
    for text in LASTING[db.dialect]:
        before = db.statistics().discarded
        db.execute(text)
        assert db.statistics().discarded == before + 1, text
        with db.transaction() as tx:
            tx.execute(text)
            tx.value("select 1")  # in the transaction the connection stays
        assert db.statistics().discarded == before + 2, text
    before = db.statistics().discarded
    for text in PASSING[db.dialect] * 2:
        db.execute(text)
    with db.transaction(isolation=None if db.dialect == "sqlite" else "serializable", lock_timeout=5) as tx:
        tx.execute("update item set n = 2")
    assert db.statistics().discarded == before


BY_OTHER_WAYS = {
    "sqlite": ("pragma foreign_keys = off", ["query_many", "stream"]),
    "postgresql": (
        "select set_config('search_path', 'x', false)",
        ["query_many", "execute_many", "stream", "copy_out"],
    ),
    "mysql": ("select @who := 1", ["query_many", "execute_many", "stream"]),
}


def test_nor_what_is_set_by_another_way_than_a_query(db: Database) -> None:
    text, ways = BY_OTHER_WAYS[db.dialect]
    for number, way in enumerate(ways, 1):
        if way == "stream":
            list(db.stream(text))
        elif way == "copy_out":
            list(db.copy_out(f"copy ({text}) to stdout"))
        else:
            getattr(db, way)(text, [()])
        assert db.statistics().discarded == number, way

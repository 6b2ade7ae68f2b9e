"""What is particular to SQLite: no argument, threads of the pool, one writer, WAL, types."""

from __future__ import annotations

import datetime
import decimal
import enum
import os
import sqlite3
import time
import uuid
from pathlib import Path

import gevent
import pytest
from flows import PATIENCE, in_thread
from forks import ended_well, in_child

from evpy.errors import DeadlineExceeded
from service_utils.db import Database, connect
from service_utils.db.errors import CannotConnect, LockTimeout, ReadOnlyViolation, StatementTimeout

pytestmark = pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"


def test_without_an_argument_there_is_a_file(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with connect() as db:
        db.execute("create table t (x integer)")
        assert db.value("pragma journal_mode") == "wal"
        assert db.value("pragma foreign_keys") == 1
    assert (tmp_path / "database.sqlite").exists()


def test_in_memory(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "sqlite::memory:")
    with connect() as db:
        db.execute("create table t (x integer)")
        db.insert("t", {"x": 1})
        with db.transaction():
            assert db.value("select x from t") == 1


def test_a_long_statement_holds_up_no_other_greenlet(db: Database) -> None:
    turns = []
    with db.transaction(statement_timeout=1) as tx:
        long = gevent.spawn(tx.query, ENDLESS)
        while not long.ready():
            turns.append(time.monotonic())
            gevent.sleep(0.005)
        with pytest.raises(StatementTimeout):
            long.get()
        assert tx.value("select 1") == 1
    assert len(turns) > 5


def test_a_kill_ends_the_statement_and_the_connection(db: Database) -> None:
    assert db.value("select 1") == 1  # there is a connection: the kill does not come while it is made
    long = gevent.spawn(db.query, ENDLESS)
    until_busy = gevent.spawn(lambda: [gevent.sleep(0.001) for _ in iter(lambda: db.statistics().held == 1, True)])
    until_busy.join(timeout=PATIENCE)
    gevent.sleep(0.02)
    long.kill(timeout=PATIENCE)
    assert long.dead
    assert db.statistics().discarded == 1
    assert db.value("select 1") == 1


def test_a_deadline_that_is_an_exception_ends_the_connection_too(db: Database) -> None:
    assert db.value("select 1") == 1  # there is a connection: the deadline does not come while it is made
    with pytest.raises(DeadlineExceeded), gevent.Timeout(0.05, DeadlineExceeded()):
        db.value("with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n")
    assert (db.statistics().discarded, db.statistics().idle) == (1, 0)
    assert db.value("select 1") == 1


def test_a_plain_thread_is_interrupted_by_the_timeout_too(url: str) -> None:
    with connect(url, statement_timeout=0.5) as db:
        with pytest.raises(StatementTimeout):
            db.query(ENDLESS)
        assert db.value("select 1") == 1


def test_writers_of_the_process_queue_without_threads(db: Database) -> None:
    """More writers wait than the default pool has threads, and the one that writes still gets on."""
    db.execute("create table t (x integer)")
    with db.transaction() as tx:
        tx.execute("insert into t values (0)")
        others = [gevent.spawn(connect_and_write, db, n) for n in range(3)]
        gevent.sleep(0.05)
        tx.execute("insert into t values (1)")
    gevent.joinall(others, raise_error=True)
    assert db.value("select count(*) from t") == 5


def connect_and_write(db: Database, n: int) -> None:
    with db.transaction() as tx:
        tx.execute("insert into t values (:n)", n=n)


def test_who_waits_too_long_for_the_writer_gets_an_error(db: Database, url: str) -> None:
    db.execute("create table t (x integer)")
    with db.transaction():
        db.execute("insert into t values (1)")
        with pytest.raises(LockTimeout, match="of this process"):
            in_thread(lambda: db.transaction(lock_timeout=0.02).begin()).result(PATIENCE)
    # Another process: SQLite's own lock.
    other = sqlite3.connect(url.removeprefix("sqlite:"), isolation_level=None)
    other.execute("begin immediate")
    with pytest.raises(LockTimeout, match="locked"):
        db.begin(lock_timeout=0.02)
    other.execute("rollback")
    other.close()
    with db.transaction(lock_timeout=0.02):
        db.execute("insert into t values (2)")
    assert db.value("pragma busy_timeout") == 5000
    assert db.value("select count(*) from t") == 2


def test_readers_do_not_wait_for_the_writer(db: Database) -> None:
    db.execute("create table t (x integer)")
    with db.transaction():
        db.execute("insert into t values (1)")
        assert in_thread(lambda: db.value("select count(*) from t")).result(PATIENCE) == 0
    assert db.value("select count(*) from t") == 1


def test_read_only(db: Database, url: str) -> None:
    db.execute("create table t (x integer)")
    with connect(url + "?mode=ro") as reader:
        assert reader.query("select * from t") == []
        with pytest.raises(ReadOnlyViolation):
            reader.execute("insert into t values (1)")
        with pytest.raises(ReadOnlyViolation), reader.transaction():
            reader.execute("insert into t values (1)")


def test_files_that_cannot_be_opened_are_named(engine: str, tmp_path: Path) -> None:
    with pytest.raises(CannotConnect, match=f"{tmp_path}/no/x.db: unable"):
        connect(f"sqlite:{tmp_path}/no/x.db").query("select 1")
    with pytest.raises(CannotConnect, match=f"{tmp_path}/x.db: there is no such file"):
        connect(f"sqlite:{tmp_path}/x.db?mode=ro").query("select 1")
    assert not (tmp_path / "x.db").exists()


def test_values_of_python_travel_as_text(db: Database) -> None:
    class Colour(enum.Enum):
        RED = "red"

    number = uuid.UUID(int=5)
    values = [
        (datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC), "2026-01-02 03:04:05+00:00"),
        (datetime.date(2026, 1, 2), "2026-01-02"),
        (datetime.time(3, 4), "03:04:00"),
        (datetime.timedelta(seconds=1.5), 1.5),
        (decimal.Decimal("1.10"), "1.10"),
        (number, str(number)),
        (Colour.RED, "red"),
        ({"a": [1, None]}, '{"a":[1,null]}'),
        (b"\0\xff", b"\0\xff"),
        (True, 1),
        (None, None),
        ("\0 ü", "\0 ü"),
    ]
    for given, expected in values:
        assert db.value("select :x", x=given) == expected


def test_the_child_of_a_fork_has_connections_of_its_own(db: Database) -> None:
    db.execute("create table t (x integer)")
    tx = db.begin()
    tx.execute("insert into t values (1)")

    def child() -> None:
        db.pool.timeout = 5.0
        with pytest.raises(Exception, match="parent process"):
            tx.query("select 1")
        assert in_thread(lambda: db.value("select count(*) from t")).result(PATIENCE) == 0

    assert ended_well(in_child(child))
    tx.commit()
    assert db.value("select count(*) from t") == 1


def test_a_million_rows_are_streamed_in_flat_memory(db: Database) -> None:
    numbers = "with recursive n(x) as (select 1 union all select x + 1 from n where x < 1000000)"
    sql = f"{numbers} select x, 'some text' as t from n"
    before = resident()
    most = count = 0
    for count, _ in enumerate(db.stream(sql, into=tuple, batch=5000), 1):
        if not count % 100_000:
            most = max(most, resident() - before)
    assert count == 1_000_000
    assert most < 20 << 20


def resident() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

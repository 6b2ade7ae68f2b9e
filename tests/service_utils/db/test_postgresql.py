"""What is particular to PostgreSQL: types, COPY, LISTEN, pipeline, prepared statements, conflicts, cancelling."""

from __future__ import annotations

import datetime
import decimal
import ipaddress
import itertools
import os
import signal
import uuid
from pathlib import Path
from typing import Any

import gevent
import pytest
from certificates import self_signed
from flows import PATIENCE, freeze, in_thread, until
from gevent.event import Event

from service_utils.db import Database, DatabaseError, Options, connect
from service_utils.db.errors import (
    AuthenticationFailed,
    CannotConnect,
    DataError,
    DeadlockDetected,
    ExclusionViolation,
    LockTimeout,
    SerializationFailure,
    StatementError,
    StatementTimeout,
    TransactionAborted,
)
from service_utils.db.postgresql import PostgresqlSession

pytestmark = pytest.mark.parametrize("engine", ["postgresql"], indirect=True)
UTC = datetime.UTC


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        ("int8", 2**62), ("float8", 1.5), ("numeric", decimal.Decimal("1.10")), ("bool", True), ("text", "\t ü '"),
        ("bytea", b"\0\xff"), ("date", datetime.date(2026, 1, 2)), ("time", datetime.time(3, 4)),
        ("timestamp", datetime.datetime(2026, 1, 2, 3, 4, 5)), # noqa: DTZ001 - that is what it is
        ("timestamptz", datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)),
        ("interval", datetime.timedelta(days=1, seconds=2)), ("uuid", uuid.UUID(int=7)),
        ("int4[]", [1, 2, None]), ("text[]", ["a", "b,\"c"]), ("int4[]", [[1, 2], [3, 4]]),
        ("timestamptz[]", [datetime.datetime(2026, 1, 2, tzinfo=UTC)]),
        ("jsonb", {"a": [1, {"b": None}]}), ("inet", ipaddress.ip_address("10.0.0.1")), ("int4", None),
    ],
    ids=lambda x: x if isinstance(x, str) else None,
)  # fmt: skip
def test_every_type_goes_and_comes_back(db: Database, kind: str, value: Any) -> None:
    got = db.value(f"select :x::{kind}", x=value)
    assert got == value
    assert type(got) is type(value)
    assert db.value("select array_length(:l::int[], 1)", l=[1, 2, 3]) == 3
    assert db.value("select 2 = any(:l)", l=[1, 2, 3]) is True


def test_copy_both_ways(db: Database) -> None:
    db.execute('create table item (id int, "Name" text, at timestamptz)')
    at = datetime.datetime(2026, 1, 2, tzinfo=UTC)
    rows = [(n, None if n % 2 else "tab\t \\ ü", at) for n in range(1000)]
    assert db.copy_in("item", ["id", "Name", "at"], iter(rows)) == 1000
    assert db.query("select * from item order by id", into=tuple) == rows
    text = b"".join(db.copy_out("copy (select id from item where id < 3 order by id) to stdout"))
    assert text == b"0\n1\n2\n"

    def bad() -> Any:
        yield 1, "x", at
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        db.copy_in("item", ["id", "Name", "at"], bad())
    assert db.value("select count(*) from item") == 1000
    pieces = db.copy_out("copy item to stdout")
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert db.value("select 1") == 1


def test_listen_and_notify(db: Database) -> None:
    heard: list[tuple[str, str]] = []

    def hear() -> None:
        for note in db.listen("jobs", 'odd "name"', timeout=PATIENCE):
            heard.append((note.channel, note.payload))
            if len(heard) == 2:
                return

    listener = gevent.spawn(hear)
    while not db.value("select count(*) from pg_stat_activity where query like 'listen%odd%' and state = 'idle'"):
        gevent.sleep(0.005)
    with db.transaction():
        db.notify("jobs", "one")
        assert not heard
    db.notify('odd "name"', "two")
    listener.get(timeout=PATIENCE)
    assert heard == [("jobs", "one"), ('odd "name"', "two")]
    assert list(db.listen("jobs", timeout=0.01)) == []
    assert db.statistics().held == 0


def test_what_is_notified_while_the_next_channel_is_listened_to(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer to the second LISTEN brings it along; and listening begins with the call, not with the first look."""
    command = PostgresqlSession._command

    def listen_and_notify(self: PostgresqlSession, text: str) -> None:
        command(self, text)
        if text == 'listen "one"':
            db.notify("one", "early")

    monkeypatch.setattr(PostgresqlSession, "_command", listen_and_notify)
    notes = db.listen("one", "two", timeout=PATIENCE)
    monkeypatch.undo()
    db.notify("two", "before the first look")
    assert [next(notes).payload, next(notes).payload] == ["early", "before the first look"]
    assert db.statistics().held == 1
    del notes
    assert db.statistics().held == 0


def copy_endlessly(db: Database, begun: list[int]) -> None:
    def rows() -> Any:
        for n in itertools.count():
            if n == 1000:
                begun.append(1)
            yield n, "x" * 1000

    with db.transaction() as tx:
        begun.append(tx.value("select pg_backend_pid()"))
        tx.copy_in("item", ["id", "text"], rows())


def stream_slowly(db: Database, begun: list[int]) -> None:
    with db.transaction() as tx:
        begun.append(tx.value("select pg_backend_pid()"))
        for _ in tx.stream("select * from generate_series(1, 100000)", batch=10):
            begun.append(1)
            gevent.sleep(0.01)


@pytest.mark.parametrize("act", [copy_endlessly, stream_slowly])
def test_who_is_killed_does_not_wait_for_a_server_that_is_stuck(db: Database, act: Any) -> None:
    """In the middle of a COPY, and between two rows of a stream."""
    db.execute("create table item (id int, text text)")
    begun: list[int] = []
    victim = gevent.spawn(act, db, begun)
    with gevent.Timeout(PATIENCE):
        while len(begun) < 2:
            gevent.sleep(0.001)
    freeze(begun[0])
    try:
        if act is copy_endlessly:  # until it cannot send any more
            gevent.sleep(0.2)
        victim.kill(timeout=PATIENCE)
        assert victim.dead
        assert db.statistics().held == 0
    finally:
        os.kill(begun[0], signal.SIGCONT)


def test_leaving_copy_out_early_does_not_block_the_thread(db: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """psycopg's way of cancelling would."""
    monkeypatch.setattr("psycopg.Connection._try_cancel", lambda *_, **__: pytest.fail("blocks"))
    for _ in db.copy_out("copy (select * from generate_series(1, 1000000)) to stdout"):
        break
    assert db.statistics().held == 0


def test_statements_are_prepared_and_many_go_in_one_round_trip(db: Database) -> None:
    for n in range(7):
        assert db.value("select :n::int + 1", n=n) == n + 1
    with db.transaction():
        prepared = [row["statement"] for row in db.query("select statement from pg_prepared_statements")]
        assert any("$1::int + 1" in text for text in prepared)
    got = db.query_many("select :n::int as n", [{"n": n} for n in range(50)])
    assert got == [[{"n": n}] for n in range(50)]
    assert db.query_many("select :n::int", []) == []


def test_prepared_statements_follow_what_changes_and_are_not_too_many(url: str) -> None:
    with connect(url, size=1) as db:
        db.execute("create table item (a int)")
        db.execute("insert into item values (1)")
        for _ in range(3):
            assert db.query("select * from item where a = :a", a=1) == [{"a": 1}]
        db.execute("alter table item add b text")
        assert db.query("select * from item where a = :a", a=1) == [{"a": 1, "b": None}]
        with db.transaction():
            db.execute("deallocate all")
        assert db.query("select * from item where a = :a", a=1) == [{"a": 1, "b": None}]
        assert db.value("select 1; select 2") == 2
        for n in range(320):
            for _ in range(2):
                assert db.value(f"select {n} + :a", a=1) == n + 1
        assert db.value("select count(*) from pg_prepared_statements") <= 300
        assert db.statistics().discarded == 0


def test_lists_of_every_length_do_not_fill_the_memory(db: Database) -> None:
    for length in (3, 3, 3, 2000, 2000, 2000, 2001):
        assert db.value("select 7 in :numbers", numbers=list(range(length))) is (length > 7)
    with db.pool.acquire() as session:
        assert [len(types) for _, types in session._prepared] == [3]  # type: ignore[attr-defined]
        assert max(len(types) for _, types in session._seen) == 3  # type: ignore[attr-defined]


def test_pipelines_of_any_size(db: Database) -> None:
    """More than fits into the buffers of either side, in either direction; all or nothing."""
    db.execute("create table item (a int, b text)")
    assert db.execute_many("insert into item values (:a, :b)", ({"a": n, "b": "x" * 1000} for n in range(3500))) == 3500
    answers = db.query_many("select * from item where a < :a", [{"a": 300}, {"a": 40_000}, {"a": 3}] * 10)
    assert [len(rows) for rows in answers] == [300, 3500, 3] * 10
    with pytest.raises(DataError):
        db.execute_many("insert into item values (:a, '')", [{"a": 2**40 if n == 1500 else n} for n in range(2000)])
    assert db.value("select count(*) from item") == 3500
    with pytest.raises(StatementError, match="copy_out"):
        db.execute("copy item to stdout")
    assert db.value("select 1") == 1


def by_savepoint(tx: Any) -> None:
    with tx.transaction():
        tx.execute("insert into item values (5)")


FIRST = {
    "once": lambda tx: tx.execute("insert into item values (5)"),
    "again": lambda tx: tx.execute("insert into item values (:n)", n=5),
    "together": lambda tx: tx.query_many("insert into item values (:n)", [{"n": 5}, {"n": 6}]),
    "together, new": lambda tx: tx.query_many("insert into item values (:n + 0)", [{"n": 5}, {"n": 6}]),
    "many": lambda tx: tx.execute_many("insert into item values (:n)", [{"n": n} for n in range(2500)]),
    "copy": lambda tx: tx.copy_in("item", ["n"], [(5,)]),
    "copied out": lambda tx: list(tx.copy_out("copy (select set_config('work_mem', '123kB', true)) to stdout")),
    "stream": lambda tx: list(tx.stream("select set_config('work_mem', '123kB', true)")),
    "savepoint": by_savepoint,
    "several": lambda tx: tx.execute("select 1; insert into item values (5)"),
}


@pytest.mark.parametrize("act", FIRST.values(), ids=FIRST.keys())
def test_whatever_comes_first_is_in_the_transaction(db: Database, act: Any) -> None:
    db.execute("create table item (n integer)")
    for _ in range(3):  # prepared by then
        db.execute("insert into item values (:n)", n=1)
        with db.transaction() as tx, tx.transaction():
            pass
    for isolation in ("serializable", "repeatable read"):
        tx = db.begin(isolation=isolation, lock_timeout=7)
        act(tx)
        assert tx.value("show transaction_isolation") == isolation
        assert tx.value("show lock_timeout") == "7s"
        tx.rollback()
        assert db.value("select count(*) from item where n <> 1") == 0
        assert db.value("show work_mem") != "123kB"
    tx = db.begin()
    act(tx)
    tx.commit()
    assert db.statistics().discarded == 0


def test_what_begins_a_transaction_goes_with_its_first_statement(db: Database) -> None:
    for _ in range(3):
        db.value("select :n::int", n=1)
    with db.pool.acquire() as session:
        sent: list[str] = []
        command = session._command  # type: ignore[attr-defined]
        session._command = lambda text: (sent.append(text), command(text))  # type: ignore[attr-defined]
    with db.transaction():
        pass
    tx = db.begin()
    tx.rollback()
    assert sent == [], "nothing was done"
    with db.transaction() as tx:
        assert tx.value("select :n::int", n=2) == 2
    assert sent == ["commit"]
    with db.pool.acquire() as session:
        session.begin(Options())
    assert db.statistics().discarded == 1, "the next one would be in a transaction and not know it"


@pytest.mark.parametrize("sql", ["select 1 / :n::int", "selec :n::int"])
@pytest.mark.parametrize("many", [False, True])
def test_an_error_of_the_first_statement_is_one_of_the_transaction(db: Database, sql: str, many: bool) -> None:
    for again in range(3):
        with pytest.raises(TransactionAborted), db.transaction() as tx, pytest.raises(DatabaseError):
            tx.query_many(sql, [{"n": 0}]) if many else tx.query(sql, n=0)
        assert db.value("select 1 / :n::int", n=1) == 1, again
    assert db.statistics().discarded == 0


def test_an_error_that_was_not_passed_on_does_not_look_like_success(db: Database) -> None:
    db.execute("create table item (id int primary key)")
    with pytest.raises(TransactionAborted, match="nothing was committed"), db.transaction() as tx:
        tx.insert("item", {"id": 1})
        with pytest.raises(Exception, match="duplicate"):
            tx.insert("item", {"id": 1})
    assert db.query("select * from item") == []
    assert db.statistics().discarded == 0


def test_columns_of_prepared_statements_are_those_of_the_answer(db: Database) -> None:
    db.execute("create table item (id int primary key, name text)")
    db.execute("insert into item values (1, 'tea')")
    for _ in range(4):
        assert db.query("select * from item") == [{"id": 1, "name": "tea"}]
    db.execute("alter table item rename name to label")
    assert db.query("select * from item") == [{"id": 1, "label": "tea"}]
    db.execute("alter table item add column price int")
    assert db.query("select * from item") == [{"id": 1, "label": "tea", "price": None}]
    with db.transaction() as tx:  # one command, prepared by its text, with other columns each time
        for what in ("1 as a", "2 as b", "3 as c, 4 as d", "5 as e"):
            tx.execute(f"declare rows cursor for select {what}")
            names = [part.split()[-1] for part in what.split(",")]
            assert list(tx.one("fetch next from rows")) == names
            tx.execute("close rows")


def test_conflicts_are_real_and_run_again(db: Database) -> None:
    db.execute("create table item (id int primary key, n int not null)")
    db.execute("insert into item values (1, 0), (2, 0)")
    attempts = []
    all_have_read = Event()

    @db.retry(attempts=20, isolation="serializable")
    def increment(tx: Any) -> None:
        attempts.append(1)
        n = tx.value("select n from item where id = 1")
        if len(attempts) == 4:
            all_have_read.set()
        assert all_have_read.wait(PATIENCE)
        tx.execute("update item set n = :n where id = 1", n=n + 1)

    gevent.joinall([gevent.spawn(increment) for _ in range(4)], raise_error=True)
    assert db.value("select n from item where id = 1") == 4
    assert len(attempts) > 4

    have_one: list[int] = []

    def both(first: int, second: int) -> None:
        with db.transaction() as tx:
            tx.execute("update item set n = 1 where id = :id", id=first)
            have_one.append(first)
            while len(have_one) < 2:
                gevent.sleep(0.001)
            tx.execute("update item set n = 1 where id = :id", id=second)

    jobs = [gevent.spawn(both, 1, 2), gevent.spawn(both, 2, 1)]
    gevent.joinall(jobs)
    assert [type(job.exception) for job in jobs if job.exception] == [DeadlockDetected]
    assert issubclass(DeadlockDetected, SerializationFailure.__base__ or object)


def test_timeouts_of_statements_and_locks(db: Database) -> None:
    db.execute("create table item (id int primary key)")
    db.execute("insert into item values (1)")
    with pytest.raises(StatementTimeout), db.transaction(statement_timeout=0.02) as tx:
        tx.query("select pg_sleep(60)")
    with db.transaction():
        db.query("select * from item for update")
        other = in_thread(lambda: lock_it(db))
        with pytest.raises(LockTimeout):
            other.result(PATIENCE)
    assert db.statistics().discarded == 0
    assert db.value("show statement_timeout") == "1min"
    assert db.value("show lock_timeout") == "0"


def lock_it(db: Database) -> None:
    with db.transaction(lock_timeout=0.02) as tx:
        tx.query("select * from item for update")


def test_what_nobody_waits_for_any_more_is_cancelled_at_the_server(db: Database) -> None:
    db.query("select 1")  # what is interrupted below is not the connecting
    with gevent.Timeout(0.05, False):
        db.query("select pg_sleep(600)")
    assert db.statistics().discarded == 1
    running = "select count(*) from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'"
    until(lambda: db.value(running) == 0)


def test_exclusion_and_constraint_names(db: Database) -> None:
    db.execute("create table room (during int4range, constraint once exclude using gist (during with &&))")
    db.execute("insert into room values ('[1,5)')")
    with pytest.raises(ExclusionViolation) as caught:
        db.execute("insert into room values ('[4,6)')")
    assert (caught.value.constraint, caught.value.table) == ("once", "room")


def test_who_may_not_enter_and_what_is_not_there(server: Any, url: str) -> None:
    with connect(url.replace("tester:", "tester:wrong")) as db, pytest.raises(AuthenticationFailed) as caught:
        db.query("select 1")
    assert "wrong" not in str(caught.value)
    with connect(url.replace("/postgres", "/nothing")) as db, pytest.raises(CannotConnect, match="nothing"):
        db.query("select 1")
    with connect("postgresql://x@127.0.0.1:1/x") as db, pytest.raises(CannotConnect, match="refused"):
        db.query("select 1")
    with connect("postgresql://x@name.invalid/x") as db, pytest.raises(CannotConnect, match=r"name\.invalid"):
        db.query("select 1")
    with pytest.raises(ValueError, match="nonsense"):
        connect(url + "?nonsense=1")
    folder = str(server.folder).replace("/", "%2F")
    with connect(url.replace("127.0.0.1", folder)) as db:
        assert db.value("select inet_server_addr()") is None, "by the Unix socket"


def test_tls(server: Any, url: str, tmp_path: Path) -> None:
    """As libpq has it: verified when asked for, by authority and by name."""
    used = "select ssl from pg_stat_ssl where pid = pg_backend_pid()"
    with connect(url + "?sslmode=disable") as db:
        assert db.value(used) is False
    theirs, others = server.certificate, self_signed(tmp_path)
    for mode in ("require", f"verify-ca&sslrootcert={theirs}", f"verify-full&sslrootcert={theirs}"):
        with connect(f"{url}?sslmode={mode}") as db:
            assert db.value(used) is True
            big = "x" * 3_000_000
            assert gevent.spawn(db.value, "select :x::text", x=big).get() == big, "in a hub what was made in none"
            assert in_thread(lambda db=db: db.value("select 1"), hub=True).result(PATIENCE) == 1  # type: ignore[misc]
    wrong = [(url, f"verify-ca&sslrootcert={others}"), (url, f"verify-full&sslrootcert={others}")]
    wrong += [(url, f"verify-full&sslrootcert={tmp_path}/nothing.pem")]
    wrong += [(url.replace("127.0.0.1", "localhost"), f"verify-full&sslrootcert={theirs}")]
    for where, mode in wrong:
        with connect(f"{where}?sslmode={mode}") as db:
            with pytest.raises(CannotConnect, match=r"certificate|localhost"):
                db.query("select 1")
            assert db.statistics().held == 0

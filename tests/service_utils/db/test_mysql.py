"""What is particular to MySQL and MariaDB: types, timeouts of its kind, one thing at a time, TLS."""

from __future__ import annotations

import contextlib
import datetime
import decimal
import socket
import threading
import uuid
from collections.abc import Iterator
from typing import Any

import gevent
import gevent.event
import pytest
from flows import PATIENCE, in_thread, until

from evpy.errors import DeadlineExceeded
from service_utils.db import Database, connect
from service_utils.db.errors import (
    AuthenticationFailed,
    CannotConnect,
    ConcurrentUse,
    ConnectionLost,
    DataError,
    DeadlockDetected,
    LockTimeout,
    StatementTimeout,
    SyntaxError,
)

pytestmark = pytest.mark.parametrize("engine", ["mysql"], indirect=True)
NASTY = "\t ü \\ ' \" % %s 😀"
NOON = datetime.datetime(2026, 1, 2, 12, 0, 0, 6, tzinfo=datetime.UTC)
PLUS2 = datetime.timezone(datetime.timedelta(hours=2))


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("bigint", 2**62, 2**62), ("double", 1.5, 1.5), ("boolean", True, 1), ("int", None, None),
        ("decimal(10,2)", decimal.Decimal("1.10"), decimal.Decimal("1.10")),
        ("varchar(50)", NASTY, NASTY), ("blob", b"\0\xff'\\", b"\0\xff'\\"),
        ("date", datetime.date(2026, 1, 2), datetime.date(2026, 1, 2)),
        ("datetime(6)", NOON.astimezone(PLUS2), NOON.replace(tzinfo=None)),
        ("timestamp(6)", NOON, NOON.replace(tzinfo=None)),
        ("time", datetime.timedelta(hours=30), datetime.timedelta(hours=30)),
        ("json", {"a": [1, None]}, '{"a":[1,null]}'), ("char(36)", uuid.UUID(int=7), str(uuid.UUID(int=7))),
    ],
    ids=lambda x: x if isinstance(x, str) and x.isascii() and "{" not in x else None,
)  # fmt: skip
def test_every_type_goes_and_comes_back(db: Database, kind: str, value: Any, expected: Any) -> None:
    db.execute(f"create table item (x {kind} null)")
    assert db.insert("item", {"x": value}) == 1
    assert db.value("select x from item") == expected


def test_a_value_that_does_not_fit_is_refused(db: Database) -> None:
    db.execute("create table item (x varchar(3), n tinyint)")
    for row in ({"x": "four"}, {"n": 1000}):
        with pytest.raises(DataError):
            db.insert("item", row)
    assert db.value("select count(*) from item") == 0


def test_many_rows_where_values_stand_behind_the_values(db: Database) -> None:
    db.execute("create table `a%b` (id int primary key, `n%s` varchar(20))")
    upsert = "insert into `a%b` (id, `n%s`) values (:id, :n) on duplicate key update `n%s` = concat(:n, '%')"
    db.execute_many(upsert, [{"id": 1, "n": "a"}, {"id": 2, "n": "%s"}])
    db.execute_many(upsert, [{"id": 1, "n": "b"}, {"id": 2, "n": "%d"}])
    assert db.query("select * from `a%b` order by id", into=tuple) == [(1, "b%"), (2, "%d%")]
    assert db.copy_in("a%b", ["id", "n%s"], [(3, "c"), (4, "%")]) == 2
    db.execute_many("update `a%b` set `n%s` = '5%' where id > 3", [()])
    assert db.query("select `n%s` from `a%b` where id > 2 order by id", into=tuple) == [("c",), ("5%",)]


def test_an_error_that_is_being_handled_is_not_told_again(db: Database) -> None:
    """It stands in the chain of contexts of every error that comes after it."""
    for handled in (TimeoutError(), DeadlineExceeded()):
        try:
            raise handled
        except TimeoutError:
            with pytest.raises(SyntaxError):
                db.query("selec")
            with (
                saying_nothing() as port,
                connect(f"mysql://tester@127.0.0.1:{port}/x") as other,
                pytest.raises(CannotConnect),
            ):
                other.query("select 1")


@contextlib.contextmanager
def saying_nothing() -> Iterator[int]:
    """A server that hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        hanging_up = in_thread(lambda: [listener.accept()[0].close() for _ in range(2)])
        yield listener.getsockname()[1]
        socket.create_connection(listener.getsockname()).close()
        hanging_up.result(PATIENCE)


def test_found_rows_are_counted_as_elsewhere(db: Database) -> None:
    db.execute("create table item (id int, n int)")
    db.execute("insert into item values (1, 5), (2, 5)")
    assert db.execute("update item set n = 5") == 2


def test_backslashes_are_harmless_in_every_mode(db: Database) -> None:
    evil = "\\' or 1=1; -- \\"
    with db.transaction() as tx:
        for mode in ("", "NO_BACKSLASH_ESCAPES", "ANSI_QUOTES"):
            tx.execute("set sql_mode = :mode", mode=mode)
            assert tx.value("select :x", x=evil) == evil


def test_timeouts_of_statements_and_locks(db: Database) -> None:
    db.execute("create table item (id int primary key) engine = innodb")
    db.execute("insert into item values (1)")
    with pytest.raises(StatementTimeout), db.transaction(statement_timeout=0.05) as tx:
        tx.query("select sleep(60)")
    with db.transaction():
        db.query("select * from item for update")
        other = in_thread(lambda: lock_it(db))
        with pytest.raises(LockTimeout):
            other.result(PATIENCE)
    assert db.statistics().discarded == 0
    for _ in range(3):
        assert db.value("select @@max_statement_time") == 60
        assert db.value("select @@innodb_lock_wait_timeout") == 50


def lock_it(db: Database) -> None:
    with db.transaction(lock_timeout=0.1) as tx:
        tx.query("select * from item for update")


def test_deadlocks(db: Database) -> None:
    db.execute("create table item (id int primary key, n int) engine = innodb")
    db.execute("insert into item values (1, 0), (2, 0)")

    have_one: list[int] = []

    def both(first: int, second: int) -> None:
        with db.transaction() as tx:
            tx.execute("update item set n = n + 1 where id = :id", id=first)
            have_one.append(first)
            while len(have_one) < 2:
                gevent.sleep(0.001)
            with tx.transaction():
                tx.execute("update item set n = n + 1 where id = :id", id=second)

    jobs = [gevent.spawn(both, 1, 2), gevent.spawn(both, 2, 1)]
    gevent.joinall(jobs)
    assert [type(job.exception) for job in jobs if job.exception] == [DeadlockDetected]
    assert db.query("select n from item", into=tuple) == [(1,), (1,)]


def test_what_nobody_waits_for_any_more_is_ended_at_the_server(db: Database) -> None:
    db.query("select 1")  # what is interrupted below is not the connecting
    with gevent.Timeout(0.05, False):
        db.query("select sleep(600)")
    assert db.statistics().discarded == 1
    until(lambda: db.value("select count(*) from information_schema.processlist where info = 'select sleep(600)'") == 0)


def test_nothing_else_can_be_done_while_a_stream_is_open(db: Database) -> None:
    with db.transaction() as tx:
        rows = tx.stream("select seq from seq_1_to_5000", batch=10)
        next(rows)
        with pytest.raises(ConcurrentUse, match="a stream is open"):
            tx.query("select 1")
        rows.close()  # type: ignore[attr-defined]
        assert tx.value("select 1") == 1
    assert db.statistics().discarded == 0


ENDLESS = "select a.seq from seq_1_to_100000 a, seq_1_to_100000 b"


def leave_early(db: Any, how: Any, begun: gevent.event.Event) -> None:
    for _ in db.stream(ENDLESS):
        begun.set()
        if how is None:
            break
        if how is gevent.sleep:
            gevent.sleep(PATIENCE)
        raise how


@pytest.mark.parametrize("how", [None, ValueError, DeadlineExceeded, gevent.Timeout, gevent.sleep])
@pytest.mark.parametrize("in_transaction", [False, True])
def test_who_leaves_a_stream_early_does_not_wait_for_its_end(db: Database, how: Any, in_transaction: bool) -> None:
    """MySQL sends all of it, for hours: only the end of the connection stops it."""

    begun = gevent.event.Event()

    def read() -> None:
        with contextlib.suppress(ValueError, DeadlineExceeded, gevent.Timeout):
            if not in_transaction:
                leave_early(db, how, begun)
                return
            with db.transaction() as tx:
                leave_early(tx, how, begun)
                with pytest.raises(ConnectionLost, match="a stream was left early"):
                    tx.query("select 1")
                raise ValueError

    reading = gevent.spawn(read)
    assert begun.wait(PATIENCE)
    if how is not gevent.sleep:
        reading.join(PATIENCE)
        assert reading.dead
    reading.kill(timeout=PATIENCE)
    assert reading.dead
    assert db.statistics().held == 0
    assert db.statistics().discarded == 1
    where = "info like 'select a.seq%'"
    until(lambda: db.value(f"select count(*) from information_schema.processlist where {where}") == 0)


def test_who_may_not_enter_and_what_is_not_there(server: Any, url: str) -> None:
    with connect(url.replace("tester:", "tester:wrong")) as db, pytest.raises(AuthenticationFailed) as caught:
        db.query("select 1")
    assert "wrong" not in str(caught.value)
    with connect(url.removesuffix("test") + "nothing") as db, pytest.raises(CannotConnect, match="nothing"):
        db.query("select 1")
    with connect("mysql://x@127.0.0.1:1/x") as db, pytest.raises(CannotConnect, match="refused"):
        db.query("select 1")
    with connect("mysql://x@name.invalid/x") as db, pytest.raises(CannotConnect, match=r"name\.invalid"):
        db.query("select 1")
    for option in ("nonsense=1", "sslmode=maybe"):
        with pytest.raises(ValueError, match=option.partition("=")[0]):
            connect(url + "?" + option)
    folder = f"{server.folder}/socket".replace("/", "%2F")
    with connect(url.replace("127.0.0.1", folder)) as db:
        assert db.value("select 1") == 1


def test_tls(server: Any, url: str) -> None:
    cipher = "select variable_value from information_schema.session_status where variable_name = 'ssl_cipher'"
    with connect(url + "?sslmode=disable") as db:
        assert not db.value(cipher)
    for mode in ("prefer", "require", f"verify-full&sslrootcert={server.folder}/cert.pem"):
        with connect(f"{url}?sslmode={mode}") as db:
            assert db.value(cipher)
            big = "x" * 3_000_000
            assert gevent.spawn(db.value, "select :x", x=big).get() == big, "in a hub what was made in none"
            assert in_thread(lambda db=db: db.value("select 1"), hub=True).result(PATIENCE) == 1  # type: ignore[misc]
    with connect(f"{url}?sslmode=verify-full") as db, pytest.raises(CannotConnect, match="certificate verify failed"):
        db.query("select 1")


def test_no_password_in_clear_text(engine: str) -> None:
    """A server, or whoever is on the way and says that there is no TLS, asks for it."""
    heard: list[bytes] = []

    def packet(number: int, data: bytes) -> bytes:
        return len(data).to_bytes(3, "little") + bytes([number]) + data

    def ask(listener: socket.socket) -> None:
        with listener.accept()[0] as connection:
            low, high = 0xF7FF & ~0x0800, 0x000F  # all but TLS
            greeting = b"\x0a8.0.0\0" + bytes(4) + b"saltsalt\0" + low.to_bytes(2, "little") + b"\x21\x02\0"
            greeting += high.to_bytes(2, "little") + b"\x15" + bytes(10) + b"saltsaltsalt\0mysql_native_password\0"
            connection.sendall(packet(0, greeting))
            heard.append(connection.recv(10_000))
            connection.sendall(packet(2, b"\xfemysql_clear_password\0"))
            heard.append(connection.recv(10_000))

    with socket.create_server(("127.0.0.2", 0)) as listener:
        thread = threading.Thread(target=ask, args=(listener,))
        thread.start()
        refused = pytest.raises(AuthenticationFailed, match="clear text")
        with connect(f"mysql://ann:s3cret@127.0.0.2:{listener.getsockname()[1]}/x") as db, refused:
            db.query("select 1")
        thread.join(PATIENCE)
    assert b"ann" in heard[0]
    assert b"s3cret" not in b"".join(heard)

"""Servers that die, keep silent, or are asked for too much; requests that are killed. Nobody gets another one's answer.

EVPY_KILLS says how many queries are killed (default: 200).
"""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import signal
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest
from flows import PATIENCE, freeze, in_thread, until
from forks import ended_well, in_child

from evpy.errors import DeadlineExceeded
from service_utils.db import Database, connect
from service_utils.db.errors import CannotConnect, ConnectionLost, StatementTimeout
from service_utils.pool import LeaseOver, PoolExhausted

SERVERS = ["postgresql", "mysql"]
pytestmark = pytest.mark.parametrize("engine", SERVERS, indirect=True)
KILLS = int(os.environ.get("EVPY_KILLS", "200"))


def slow(dialect: str) -> str:
    """A query that takes its time and says who asked."""
    return (
        "select :n + 0 as n, sleep(:s) as s" if dialect == "mysql" else "select :n::int as n, pg_sleep(:s)::text as s"
    )


def test_killed_in_the_middle_of_a_query(db: Database) -> None:
    """By timeouts and kills, in two hubs: the connection is discarded; each answer is that to one's own question."""
    sql = slow(db.dialect)
    killed: list[int] = []

    def ask(rng: random.Random) -> None:
        n = rng.randrange(10**9)
        try:
            # Half of them by an Exception, as evpy's deadlines are.
            with gevent.Timeout(rng.random() * 0.004, DeadlineExceeded() if rng.random() < 0.5 else False):
                row = db.first(sql, n=n, s=rng.random() * 0.004)
                assert row["n"] == n, "somebody else's answer"
                return
        except PoolExhausted:
            return
        except DeadlineExceeded:
            pass
        killed.append(1)

    def ask_and_be_killed(rng: random.Random) -> None:
        asking = gevent.spawn(ask, rng)
        gevent.sleep(rng.random() * 0.004)
        asking.kill()
        if asking.exception is not None:
            raise asking.exception

    def flow(seed: int) -> None:
        rng = random.Random(seed)
        while len(killed) < KILLS:
            (ask if rng.random() < 0.7 else ask_and_be_killed)(rng)
            n = rng.randrange(10**9)
            assert db.value("select :n + 0" if db.dialect == "mysql" else "select :n::int", n=n) == n

    def hub(seed: int) -> None:
        gevent.joinall([gevent.spawn(flow, seed * 10 + i) for i in range(4)], raise_error=True)

    hubs = [in_thread(lambda seed=seed: hub(seed), hub=True) for seed in range(2)]  # type: ignore[misc]
    for future in hubs:
        future.result(PATIENCE + KILLS / 20)
    seen = db.statistics()
    assert seen.held == seen.waiting == 0
    assert seen.discarded >= KILLS / 10, "others were killed while they connected or waited"


@pytest.mark.leaves_behind("a server that the session ends")
def test_idle_connections_that_were_cut_are_noticed(server: Any, url: str) -> None:
    """The server has ended all of them; one statement at most meets an error, since the others are suspected then."""
    with connect(url, size=4, glance_after=1000) as db:
        leases = [db.pool.acquire() for _ in range(4)]
        for lease in leases:
            lease.release()
        server.stop(server.crash)
        server.start()
        failed = 0
        for _ in range(8):
            try:
                db.value("select 1")
            except ConnectionLost:
                failed += 1
        leases = [db.pool.acquire() for _ in range(4)]
        for lease in leases:
            assert lease.connection.run("select 1", ()).rows == [(1,)]
            lease.release()
        assert failed <= 1
        assert db.statistics().checked == 3


def test_idle_connections_that_were_ended_are_seen_before_they_are_used(db: Database, url: str) -> None:
    """The server ends one (idle for too long, perhaps): nobody notices."""
    db.pool.glance_after = db.pool._second_look_after = 0.0
    if db.dialect == "mysql":
        number = db.value("select connection_id()")
        with connect(url) as other:
            other.execute(f"kill {number}")
    else:
        number = db.value("select pg_backend_pid()")
        with connect(url) as other:
            other.query("select pg_terminate_backend(:n)", n=number)
    until(lambda: not db.connector.glance(db.pool._idle[0].connection))
    assert db.value("select 1") == 1
    assert db.statistics().discarded == 1


def test_a_server_that_falls_silent(server: Any, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of a statement, for longer than it should take: it is given up, by greenlets and threads."""
    name = "mysql" if urlsplit(url).scheme == "mysql" else "postgresql_link"
    module = importlib.import_module(f"service_utils.db.{name}")
    monkeypatch.setattr(module, "GRACE", 0.5)
    with connect(url, statement_timeout=1.0) as db:
        if db.dialect == "mysql":
            db.value("select 1")
            frozen = server.process.pid
        else:
            frozen = db.value("select pg_backend_pid()")
        freeze(frozen)
        try:
            with pytest.raises(StatementTimeout, match="said nothing"):
                gevent.spawn(db.value, "select 2").get()
        finally:
            os.kill(frozen, signal.SIGCONT)
        assert db.statistics().discarded == 1
        assert db.value("select 3") == 3


def test_the_child_of_a_fork_has_connections_of_its_own(db: Database) -> None:
    name = "connection_id()" if db.dialect == "mysql" else "pg_backend_pid()"
    with db.transaction() as tx:
        mine = tx.value(f"select {name}")

        def child() -> None:
            with pytest.raises(LeaseOver):
                tx.query("select 1")
            assert in_thread(lambda: db.value(f"select {name}")).result(PATIENCE) != mine
            db.close()

        assert ended_well(in_child(child))
        assert tx.value(f"select {name}") == mine
    assert db.value(f"select {name}") == mine


def test_two_users_of_one_server_never_share(server: Any, db: Database, url: str) -> None:
    """Each sees their own name, whoever has used the server before."""
    name = "current_user()" if db.dialect == "mysql" else "current_user"
    if db.dialect == "mysql":
        db.execute("create user if not exists other@'%' identified by 'pw'")
    else:
        db.execute("do $$ begin create user other password 'pw'; exception when duplicate_object then null; end $$")
    parts = urlsplit(url)
    database = parts.path if db.dialect == "postgresql" else ""
    theirs = f"{parts.scheme}://other:pw@127.0.0.1:{parts.port}{database}"
    with connect(url) as mine, connect(theirs) as other:
        for _ in range(3):
            assert str(mine.value(f"select {name}")).startswith("tester")
            assert str(other.value(f"select {name}")).startswith("other")
            assert str(in_thread(lambda: other.value(f"select {name}")).result(PATIENCE)).startswith("other")


@contextlib.contextmanager
def silent_server() -> Iterator[int]:
    """Accepts (or rather the kernel does), and never says a word."""
    with socket.create_server(("127.0.0.1", 0), backlog=50) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("flow", ["thread", "greenlet"])
def test_a_server_that_accepts_and_never_answers(url: str, flow: str) -> None:
    with silent_server() as port:
        url = url.replace(str(urlsplit(url).port), str(port))
        with connect(url, connect_timeout=0.05) as db:
            ask = lambda: db.value("select 1")  # noqa: E731
            with pytest.raises(CannotConnect):
                ask() if flow == "thread" else gevent.spawn(ask).get()
            assert db.statistics().held == 0
        with connect(url, connect_timeout=60) as db:
            asking = gevent.spawn(db.value, "select 1")
            gevent.sleep(0.01)
            asking.kill(timeout=PATIENCE)
            assert asking.dead
            with gevent.Timeout(0.02, False):
                db.value("select 1")
            assert db.statistics().held == 0


def test_an_exhausted_pool_keeps_order_and_deadlines(url: str) -> None:
    with connect(url, size=2, timeout=0.05) as db:
        for lease in [db.pool.acquire(PATIENCE) for _ in range(2)]:  # connecting may take longer than this timeout
            lease.release()
        full = pytest.raises(PoolExhausted, match="none of its 2 connections")
        with db.transaction(), db.pool.acquire(), full:
            gevent.spawn(db.query, "select 1").get()
        db.query("select 1")


def test_a_million_rows_are_streamed_in_flat_memory(db: Database) -> None:
    if db.dialect == "mysql":
        sql = "select seq as n, 'some text' as t from seq_1_to_1000000"
    else:
        sql = "select n, 'some text' as t from generate_series(1, 1000000) n"
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

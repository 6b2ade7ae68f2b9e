"""Several hosts in one URL, on two real servers of each kind: PostgreSQL with a streaming standby, two MariaDBs of
which one is read-only."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import gevent
import pytest
import servers
from flows import PATIENCE, in_thread, until
from serving import free_port

from service_utils.db import Database, connect
from service_utils.db.errors import AuthenticationFailed, CannotConnect, ConnectionLost, ReadOnlyViolation

PORT = {"postgresql": "inet_server_port()", "mysql": "@@port"}
pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)


class Standby(servers.Postgresql):
    """Of another one, by streaming replication."""

    def __init__(self, primary: servers.Postgresql) -> None:
        self._primary = primary
        super().__init__()

    def install(self) -> None:
        self.call(
            self.need("pg_basebackup"), "-d", self._primary.url, "-R", "-D", str(self.folder / "data"),
            "--checkpoint=fast", "--no-sync",
        )  # fmt: skip
        self.secure()


class Pair:
    """A server that may be written and one that may not."""

    user, password, database = "tester", servers.PASSWORD, "postgres"

    def __init__(self, engine: str) -> None:
        self.engine = engine
        make: Any = servers.KINDS[engine]
        self.primary: Any = make()
        try:
            self.replica: Any = Standby(self.primary) if engine == "postgresql" else make()
        except BaseException:
            self.primary.remove()
            raise
        if engine == "mysql":
            self.user, self.password, self.database = "plain", "pw", "test"  # one whom read_only stops
            for server in (self.primary, self.replica):
                self._do(server, "create user plain@'%' identified by 'pw'", "grant all on test.* to plain@'%'")
            self._do(self.replica, "set global read_only = 1")

    def _do(self, server: Any, *texts: str) -> None:
        with server.admin() as admin:
            for text in texts:
                admin.execute(text) if self.engine == "postgresql" else admin.query(text)

    def replicate(self) -> None:
        """Returns when the standby has what was written."""
        if self.engine == "postgresql":
            with self.primary.admin() as one, self.replica.admin() as other:
                (written,) = one.execute("select pg_current_wal_lsn()").fetchone()
                until(lambda: other.execute("select pg_last_wal_replay_lsn() >= %s", [written]).fetchone()[0])

    def demote(self) -> None:
        """The primary goes on, but nothing may be written to it."""
        if self.engine == "postgresql":
            self._do(self.primary, "alter system set default_transaction_read_only = on", "select pg_reload_conf()")
        else:
            self._do(self.primary, "set global read_only = 1")

    def promote(self) -> None:
        if self.engine == "postgresql":
            self._do(self.replica, "select pg_promote()")
        else:
            self._do(self.replica, "set global read_only = 0")

    def url(self, *ports: int, wanted: str = "", user: str = "", more: str = "") -> str:
        places = ",".join(f"127.0.0.1:{port}" for port in ports or (self.replica.port, self.primary.port))
        query = "?" + "&".join(filter(None, (wanted and f"target_session_attrs={wanted}", more)))
        login = f"{user or self.user}:{quote(self.password, safe='')}"
        return f"{self.engine}://{login}@{places}/{self.database}{query.rstrip('?')}"

    def connect(self, *ports: int, wanted: str = "", more: str = "", **options: Any) -> Database:
        return connect(self.url(*ports, wanted=wanted, more=more), **options)

    def remove(self) -> None:
        self.replica.remove()
        self.primary.remove()


def made(engine: str) -> Iterator[Pair]:
    servers.get(engine)  # skips
    pair = Pair(engine)
    try:
        yield pair
    finally:
        pair.remove()


@pytest.fixture(scope="module")
def _pairs() -> Iterator[dict[str, Any]]:
    pairs: dict[str, Any] = {}
    yield pairs
    for pair, rest in pairs.values():
        del pair
        next(rest, None)


@pytest.fixture
def pair(engine: str, _pairs: dict[str, Any]) -> Pair:
    """One for all tests, which leave it as it is."""
    if engine not in _pairs:
        making = made(engine)
        _pairs[engine] = next(making), making
    found: Pair = _pairs[engine][0]
    return found


@pytest.fixture
def fresh_pair(engine: str) -> Iterator[Pair]:
    yield from made(engine)


def port_of(db: Database) -> int:
    return int(db.value(f"select {PORT[db.dialect]}"))


@pytest.mark.leaves_behind("servers that the module ends")
def test_parts(pair: Pair) -> None:
    """Whatever the order in the URL."""
    primary, replica = pair.primary.port, pair.replica.port
    for ports in ((primary, replica), (replica, primary)):
        for wanted, port in {
            "": ports[0], "any": ports[0], "primary": primary, "read-write": primary, "standby": replica,
            "read-only": replica, "prefer-standby": replica,
        }.items():  # fmt: skip
            with pair.connect(*ports, wanted=wanted) as db:
                assert port_of(db) == port, (ports, wanted)
                assert gevent.spawn(port_of, db).get() == port
    with pair.connect(primary, wanted="prefer-standby") as db:
        assert port_of(db) == primary
    with pair.connect(replica, wanted="primary") as db, pytest.raises(CannotConnect, match=r"read-only|standby"):
        db.value("select 1")


@pytest.mark.leaves_behind("servers that the module ends")
def test_hosts_that_are_away(pair: Pair) -> None:
    """The next one is taken; with none left the error names all of them."""
    nobody, nobody_either = free_port(), free_port()
    with pair.connect(nobody, pair.primary.port) as db:
        assert port_of(db) == pair.primary.port
        assert in_thread(lambda: port_of(db)).result(PATIENCE) == pair.primary.port
    with pair.connect(nobody, nobody_either) as db, pytest.raises(CannotConnect) as caught:
        db.value("select 1")
    assert all(f":{port}:" in str(caught.value) for port in (nobody, nobody_either))
    assert pair.password not in str(caught.value)


@pytest.mark.leaves_behind("servers that the module ends")
def test_one_that_never_answers_is_tried_last_for_a_while(pair: Pair) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=10) as silent:
        silent.setblocking(False)
        with pair.connect(silent.getsockname()[1], pair.primary.port, connect_timeout=1, size=3) as db:
            leases = [db.pool.acquire() for _ in range(3)]
            for lease in leases:
                lease.release()
            assert port_of(db) == pair.primary.port
            assert db.statistics().connected == 3
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):  # it was asked once
            silent.accept()


@pytest.mark.leaves_behind("servers that the module ends")
def test_a_wrong_password_is_wrong_everywhere(pair: Pair) -> None:
    url = re.sub(":[^:]*@", ":wrong@", pair.url(pair.primary.port, free_port()))
    with connect(url) as db, pytest.raises(AuthenticationFailed):
        db.value("select 1")


@pytest.mark.leaves_behind("servers that the module ends")
def test_any_order(pair: Pair) -> None:
    with pair.connect(more="load_balance_hosts=random", size=30, max_age=1e9) as db:
        leases = [db.pool.acquire() for _ in range(30)]
        ports = {lease.connection.run(f"select {PORT[db.dialect]}", ()).rows[0][0] for lease in leases}
        for lease in leases:
            lease.release()
    assert ports == {pair.primary.port, pair.replica.port}


def test_failover_after_a_crash(fresh_pair: Pair) -> None:
    """The primary is gone, its replica is promoted: greenlets that write go on there."""
    pair = fresh_pair
    good: dict[int, int] = {pair.primary.port: 0, pair.replica.port: 0}
    errors: list[Exception] = []
    with pair.connect(pair.primary.port, pair.replica.port, wanted="primary", size=4, keep=1, timeout=PATIENCE) as db:
        db.execute("create table kept (n bigint)")
        if pair.engine == "mysql":  # it does not replicate
            with pair.replica.admin() as admin:
                admin.query("create table test.kept (n bigint)")
        end = False

        def flow() -> None:
            while not end:
                try:
                    with db.transaction() as tx:
                        tx.execute("insert into kept (n) values (1)")
                        port = int(tx.value(f"select {PORT[db.dialect]}"))
                    good[port] += 1
                except ConnectionLost as error:
                    errors.append(error)
                    gevent.sleep(0.01)

        load = in_thread(lambda: gevent.joinall([gevent.spawn(flow) for _ in range(8)], raise_error=True), hub=True)
        try:
            until(lambda: good[pair.primary.port] > 50)
            pair.primary.stop(pair.primary.crash)
            until(lambda: any(isinstance(error, CannotConnect) for error in errors))
            assert good[pair.replica.port] == 0
            pair.promote()
            until(lambda: good[pair.replica.port] > 50)
        finally:
            end = True
            load.result(PATIENCE)
        seen = db.statistics()
        assert seen.held == seen.waiting == seen.lost == 0


@pytest.mark.parametrize("in_block", [False, True])
def test_a_primary_that_is_one_no_more(fresh_pair: Pair, in_block: bool) -> None:
    """It still answers those who are connected: the first error has all connections made anew."""
    pair = fresh_pair
    with pair.connect(pair.primary.port, pair.replica.port, wanted="read-write", size=3) as db:
        db.execute("create table kept (n bigint)")
        if pair.engine == "mysql":
            with pair.replica.admin() as admin:
                admin.query("create table test.kept (n bigint)")

        def write() -> int:
            if in_block:
                with db.transaction() as tx:
                    tx.execute("insert into kept (n) values (1)")
            else:
                db.execute("insert into kept (n) values (1)")
            return port_of(db)

        assert write() == pair.primary.port
        pair.replicate()
        leases = [db.pool.acquire() for _ in range(3)]
        for lease in leases:
            lease.release()
        pair.demote()
        refused(write)
        pair.promote()
        for _ in range(3):
            assert write() == pair.replica.port
        assert db.statistics().connected == 4
        with pytest.raises(ReadOnlyViolation), db.transaction(read_only=True) as tx:
            tx.execute("insert into kept (n) values (1)")
        assert port_of(db) == pair.replica.port
        assert db.statistics().connected == 4, "the block was read-only, not the server"


def refused(write: Any) -> None:
    """PostgreSQL's sessions learn of the new setting a moment later."""

    def try_it() -> bool:
        try:
            write()
        except ReadOnlyViolation:
            return True
        return False

    until(try_it)

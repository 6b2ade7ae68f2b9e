"""Tarantool: what one can ask, what goes wrong, what is interrupted. On a real server."""

from __future__ import annotations

import random
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import urlsplit

import gevent
import msgspec
import pytest
from flows import PATIENCE, in_thread, until
from forks import ended_well, in_child

from evpy.errors import DeadlineExceeded
from service_utils.db.errors import (
    AuthenticationFailed,
    CannotConnect,
    ConnectionLost,
    DatabaseError,
    DataError,
    InsufficientPrivilege,
    ReadOnlyViolation,
    RowMismatch,
    StatementError,
    StatementTimeout,
    UndefinedTable,
    UniqueViolation,
)
from service_utils.pool import PoolExhausted
from service_utils.tarantool import Tarantool, connect

Make = Callable[..., Tarantool]


@dataclass
class Item:
    id: int
    name: str
    price: float | None


class Checked(msgspec.Struct):
    id: int
    name: str
    price: int | None = None


def test_spaces(client: Tarantool) -> None:
    assert client.insert("item", (1, "tea", 3)) == (1, "tea", 3)
    assert client.replace("item", [2, "coffee"], into=dict) == {"id": 2, "name": "coffee", "price": None}
    assert client.replace("item", [2, "cocoa", 5]) == (2, "cocoa", 5)
    assert client.select("item") == [(1, "tea", 3), (2, "cocoa", 5)]
    assert client.select("item", 1, into=Item) == [Item(1, "tea", 3)]
    assert client.select("item", "cocoa", index="name", into=Checked) == [Checked(2, "cocoa", 5)]
    assert client.select("item", 1, iterator="gt") == [(2, "cocoa", 5)]
    assert client.select("item", iterator="ALL", limit=1, offset=1) == [(2, "cocoa", 5)]
    assert client.first("item", [2], into=lambda id, name, price: f"{id} {name} {price}") == "2 cocoa 5"
    assert client.first("item", 7) is None
    assert client.update("item", 1, [("=", "name", "mint"), ("+", 2, 4)]) == (1, "mint", 7)
    assert client.update("item", 7, [("=", "name", "mint")]) is None
    client.upsert("item", (3, "water"), [("=", "name", "ice")])
    client.upsert("item", (3, "water"), [("=", "name", "ice")])
    assert client.delete("item", 3) == (3, "ice")
    assert client.delete("item", 3) is None
    assert client.select("item", [], into=dict)[0] == {"id": 1, "name": "mint", "price": 7}
    for bad in (lambda: client.select("item", 1, iterator="x"), lambda: connect("redis://h")):
        with pytest.raises(ValueError, match=r"there are|begins with"):
            bad()


def test_values(client: Tarantool) -> None:
    """What goes there and back, and nothing of it becomes Lua."""
    values = [None, True, -1, 2**63, 1.5, "grüße' .. os.exit() .. '\0%s", [1, [2]], {"a": {"b": 1}}, Decimal("1.50")]
    assert client.eval("return ...", *values) == values
    assert client.eval("return 1, 2") == [1, 2]
    assert client.eval("return") == []
    client.eval("function test_sum(a, b) return a + b end")
    assert client.call("test_sum", 2, 3) == [5]
    client.ping()


def test_schema_that_changes(client: Tarantool, make: Make) -> None:
    """Another client has changed it: names are looked up anew."""
    other = make()
    assert other.select("item", into=dict) == []
    client.eval("box.space.item:drop()")
    with pytest.raises(UndefinedTable):
        other.select("item")
    client.eval(
        "box.schema.space.create('item', {format = {{'key', 'string'}}}) "
        "box.space.item:create_index('p', {parts = {'key'}})"
    )
    assert other.insert("item", ["a"], into=dict) == {"key": "a"}
    with pytest.raises(RowMismatch, match="more fields"):
        other.insert("item", ["b", 1], into=dict)
    assert other.select("item") == [("a",), ("b", 1)]


def test_errors_are_those_of_databases(client: Tarantool) -> None:
    client.insert("item", (1, "tea"))
    cases: dict[str, tuple[type[DatabaseError], Callable[[], Any]]] = {
        "23505": (UniqueViolation, lambda: client.insert("item", (1, "x"))),
        "22000": (DataError, lambda: client.insert("item", ("one", "x"))),
        "42P01": (UndefinedTable, lambda: client.select("nothing")),
        "42704": (StatementError, lambda: client.select("item", 1, index="nothing")),
        "42703": (StatementError, lambda: client.update("item", 1, [("=", "nothing", 1)])),
        "42883": (StatementError, lambda: client.call("nothing")),
        "": (DatabaseError, lambda: client.eval("error('so what')")),
    }
    for state, (kind, ask) in cases.items():
        with pytest.raises(kind) as caught:
            ask()
        assert (caught.value.sqlstate, caught.value.engine) == (state, "tarantool"), state
        assert caught.value.__cause__ is not None
    with pytest.raises(DatabaseError, match="so what"):
        client.eval("error('so what')")
    with pytest.raises(TypeError):
        client.insert("item", (2, object()))
    assert client.statistics().connected == 1, "none of them has cost a connection"


def test_a_server_that_may_only_be_read(client: Tarantool) -> None:
    client.eval("box.cfg{read_only = true}")
    try:
        with pytest.raises(ReadOnlyViolation):
            client.insert("item", (1, "tea"))
    finally:
        client.eval("box.cfg{read_only = false}")


def test_users(client: Tarantool, make: Make) -> None:
    """Each has connections and rights of their own."""
    client.eval("box.schema.user.create('other', {password = 'pw', if_not_exists = true})")
    port = urlsplit(client.pool.name).port
    other, guest = make(f"tarantool://other:pw@127.0.0.1:{port}"), make(f"tarantool://127.0.0.1:{port}")
    for _ in range(3):
        assert client.eval("return box.session.effective_user()") == ["tester"]
        for one in (other, guest):
            with pytest.raises(InsufficientPrivilege):
                one.eval("return 1")
            with pytest.raises(UndefinedTable):  # what one may not see is not there
                one.select("item")
    for wrong in ("other:wrong", "nobody:pw"):
        with pytest.raises(AuthenticationFailed) as caught:
            make(f"tarantool://{wrong}@127.0.0.1:{port}").ping()
        assert "pw" not in str(caught.value)


def test_hubs_and_threads_share_connections(client: Tarantool) -> None:
    """Nobody gets another one's answer, and nobody blocks a hub."""
    ticks = []

    def flow(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(50):
            n = rng.randrange(10**9)
            assert client.eval("require('fiber').yield() return ...", n) == [n]

    def hub(seed: int) -> None:
        flows = [gevent.spawn(flow, seed * 10 + i) for i in range(6)]
        while not all(flow.ready() for flow in flows):
            gevent.sleep(0.001)
            ticks.append(1)
        gevent.joinall(flows, raise_error=True)

    work = [in_thread(lambda seed=seed: hub(seed), hub=True) for seed in range(2)]  # type: ignore[misc]
    work += [in_thread(lambda: flow(99))]
    for future in work:
        future.result(PATIENCE)
    assert ticks
    assert client.statistics().connected <= 4


def test_killed_in_the_middle(client: Tarantool) -> None:
    """By timeouts and kills: the connection is ended, and each answer is that to one's own question."""
    killed = []

    def ask(rng: random.Random) -> None:
        n = rng.randrange(10**9)
        try:
            with gevent.Timeout(rng.random() * 0.003, DeadlineExceeded() if rng.random() < 0.5 else False):
                assert client.eval("require('fiber').sleep((...)) return select(2, ...)", rng.random() * 0.003, n) == [
                    n
                ]
                return
        except (DeadlineExceeded, PoolExhausted):
            pass
        killed.append(n)

    def flow(seed: int) -> None:
        rng = random.Random(seed)
        while len(killed) < 100:
            if rng.random() < 0.7:
                ask(rng)
            else:
                asking = gevent.spawn(ask, rng)
                gevent.sleep(rng.random() * 0.003)
                asking.kill()
                assert asking.exception is None, asking.exception
            n = rng.randrange(10**9)
            assert client.eval("return ...", n) == [n]

    def hub(seed: int) -> None:
        gevent.joinall([gevent.spawn(flow, seed * 10 + i) for i in range(4)], raise_error=True)

    for future in [in_thread(lambda seed=seed: hub(seed), hub=True) for seed in range(2)]:  # type: ignore[misc]
        future.result(PATIENCE)
    seen = client.statistics()
    assert seen.held == seen.waiting == 0
    assert seen.discarded > 10


def test_deadlines(client: Tarantool, make: Make) -> None:
    for ask in (client.eval, lambda *a, **more: gevent.spawn(client.eval, *a, **more).get()):
        with pytest.raises(StatementTimeout, match=r"has not answered within 0\.02 s"):
            ask("require('fiber').sleep(30)", timeout=0.02)
    assert client.statistics().discarded == 2
    with pytest.raises(StatementTimeout):
        make(timeout=0.02).eval("require('fiber').sleep(30)")
    assert client.eval("return 1") == [1]


def test_answers_that_come_drop_by_drop_do_not_extend_the_deadline() -> None:
    greeting = b"Tarantool 2.6.0 (Binary) 3b151c25-4c4a-4b5d-8042-0f1b3a6f61c3".ljust(63) + b"\n"
    greeting += b"QK2HoFZGXTXBq2vFj7soCsHqTo6PGTF575ssUBAJLAI=".ljust(63) + b"\n"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        end = threading.Event()

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                for at in range(len(greeting)):
                    if end.wait(0.005):
                        return
                    peer.sendall(greeting[at : at + 1])

        serving = in_thread(serve)
        url = f"tarantool://127.0.0.1:{listener.getsockname()[1]}"
        with connect(url, connect_timeout=0.2) as client, pytest.raises(CannotConnect, match="nothing happened"):
            client.ping()
        end.set()
        serving.result(PATIENCE)


@pytest.mark.parametrize(
    "says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"x" * 300, b"Tarantool 2.6.0 (Lua console)".ljust(128)]
)
def test_what_is_no_tarantool(says: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            peer.sendall(says)
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1000):
                pass
            peer.close()

        serving = in_thread(serve)
        with connect(f"tarantool://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=5) as client:
            with pytest.raises(CannotConnect, match=r"no Tarantool|has closed"):
                client.ping()
            assert client.statistics().held == 0
        serving.result(PATIENCE)


@pytest.mark.leaves_behind("a server that the session ends")
def test_restarted_under_load(server: Any, make: Make) -> None:
    client = make(size=4, pool_timeout=PATIENCE)
    errors: list[Exception] = []
    good = 0
    turns = [0] * 6  # of each flow
    end = False

    def flow(seed: int) -> None:
        nonlocal good
        rng = random.Random(seed)
        while not end:
            n = rng.randrange(10**9)
            try:
                assert client.eval("return ...", n) == [n]
            except ConnectionLost as error:
                errors.append(error)
                gevent.sleep(0.005)
            else:
                good += 1
            turns[seed] += 1

    def some() -> None:
        """Waits until many more have worked, and everybody has come to the end of what was under way."""
        target, ends = good + 200, [n + 2 for n in turns]
        until(lambda: good > target and all(n >= least for n, least in zip(turns, ends, strict=True)))

    load = in_thread(lambda: gevent.joinall([gevent.spawn(flow, i) for i in range(6)], raise_error=True), hub=True)
    try:
        until(lambda: good > 100)
        server.stop(server.crash)
        until(lambda: any(isinstance(error, CannotConnect) for error in errors))
        server.start()
        some()
        failed = len(errors)
        some()
        assert len(errors) == failed
    finally:
        end = True
        load.result(PATIENCE)
    assert {type(error) for error in errors} <= {CannotConnect, ConnectionLost}


def test_idle_connections_that_were_ended_are_seen(client: Tarantool) -> None:
    client.pool.glance_after = client.pool._second_look_after = 0.0
    client.ping()
    wire = client.pool._idle[0].connection
    wire.stream._raw.shutdown(socket.SHUT_RDWR)
    assert client.eval("return 1") == [1]
    assert client.statistics().discarded == 1


def test_the_child_of_a_fork_has_connections_of_its_own(client: Tarantool) -> None:
    mine = client.eval("return box.session.id()")

    def child() -> None:
        assert in_thread(lambda: client.eval("return box.session.id()")).result(PATIENCE) != mine
        client.close()

    assert ended_well(in_child(child))
    assert client.eval("return box.session.id()") == mine

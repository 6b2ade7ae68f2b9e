"""Between us and the database is a wire that breaks: anywhere in an answer, by an end, a reset, one direction alone, or
by somebody else's bytes. It is an error of the right kind each time, the connection is ended, and the next statement
gets its own answer over another one."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import struct
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from service_utils.db import connect
from service_utils.db.errors import ConnectionLost, DatabaseError, StatementTimeout

pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
ROWS = 300
WAYS = ("end", "reset", "half", "noise", "silence")


class Wire:
    """Forwards each connection to the server; ``breaks`` says how, and after how many bytes from the server, the next
    one breaks that carries anything."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self._listener.getsockname()[1]
        self.breaks: tuple[str, int] | None = None
        self.broken = 0
        self.deaf = False  #: further connections are accepted, and nothing more
        self.ignored: list[socket.socket] = []
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        servers: set[socket.socket] = set()
        stopped: set[socket.socket] = set()  # nothing is forwarded any more

        def drop(sock: socket.socket) -> None:
            peer = other.pop(sock)
            del other[peer]
            for one in (sock, peer):
                servers.discard(one)
                stopped.discard(one)
                one.close()

        while True:
            ready, _, _ = select.select([self._listener, self._ended, *(other.keys() - stopped)], [], [])
            if self._ended in ready:
                break
            for sock in ready:
                if sock is self._listener:
                    client = self._listener.accept()[0]
                    if self.deaf:
                        self.ignored.append(client)
                        continue
                    server = socket.create_connection(self._to)
                    other[client], other[server] = server, client
                    servers.add(server)
                    continue
                if sock not in other:
                    continue
                try:
                    data = sock.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    drop(sock)
                elif sock in servers and self.breaks is not None:
                    self._break(sock, other[sock], data, stopped, drop)
                else:
                    with contextlib.suppress(OSError):
                        other[sock].sendall(data)
        for sock in (*other, *self.ignored):
            sock.close()

    def _break(self, server: socket.socket, client: socket.socket, data: bytes, stopped: Any, drop: Any) -> None:
        assert self.breaks is not None
        how, after = self.breaks
        if len(data) <= after:
            self.breaks = how, after - len(data)
            client.sendall(data)
            return
        self.breaks = None
        client.sendall(data[:after])
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            drop(server)
        elif how == "end":
            drop(server)
        elif how == "half":  # what the client says still arrives
            client.shutdown(socket.SHUT_WR)
            stopped.add(server)
        elif how == "silence":
            stopped.add(server)
        else:
            client.sendall(b"\xff\x00HTTP/1.1 200 OK\r\n\r\n" * 20)
            client.shutdown(socket.SHUT_WR)
            stopped.add(server)
        self.broken += 1

    def stop(self) -> None:
        self._end.close()
        self._thread.join(PATIENCE)
        self._listener.close()
        self._ended.close()


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    wire = Wire(urlsplit(url).port or 0)
    yield wire
    wire.stop()


@pytest.mark.parametrize("hub", [True, False])
def test_it_breaks_anywhere(url: str, wire: Wire, hub: bool) -> None:
    sequence = f"seq_1_to_{ROWS}" if url.startswith("mysql") else f"generate_series(1, {ROWS})"
    column = "seq" if url.startswith("mysql") else "n"
    number = "" if url.startswith("mysql") else "::int"
    sql = f"select :n{number} + {column} as v from {sequence} {'' if url.startswith('mysql') else 'n'}"

    def work() -> None:
        rng = random.Random(7)
        with connect(url.replace(f":{urlsplit(url).port}/", f":{wire.port}/"), size=2, statement_timeout=None) as db:
            db.query(sql, n=0)
            broken = 0
            for how in WAYS * 8:
                if how == "silence" and not hub:
                    continue  # a plain thread waits as long as it is told to
                wire.breaks = how, rng.choice([0, 1, 5, rng.randrange(1500)])
                n = rng.randrange(10**6)
                with gevent.Timeout(0.05, False) if how == "silence" else contextlib.nullcontext():
                    try:
                        rows = db.query(sql, n=n, into=tuple)
                    except (ConnectionLost, StatementTimeout):
                        broken += 1
                    except DatabaseError:
                        assert how == "noise", how
                        broken += 1
                    else:  # it was cut behind the answer
                        assert rows == [(n + i,) for i in range(1, ROWS + 1)]
                wire.breaks = None
                n = rng.randrange(10**6)
                for _ in range(2):
                    with contextlib.suppress(ConnectionLost):  # of a connection that was cut while it was idle
                        assert db.value(f"select :n{number} + 0", n=n) == n
                assert db.value(f"select :n{number} + 0", n=n) == n
            assert broken >= 16
            assert db.statistics().held == 0

    in_thread(work, hub=hub).result(PATIENCE * 3)
    assert wire.broken >= 20


def test_who_is_killed_while_nobody_can_be_reached(url: str, wire: Wire) -> None:
    """The server shall be told to stop, over another connection, which it accepts and does not answer: nobody waits for
    that, neither who was killed nor anybody else in this process."""
    sleep = "select sleep(:s)" if url.startswith("mysql") else "select pg_sleep(:s)::text"
    with connect(url.replace(f":{urlsplit(url).port}/", f":{wire.port}/"), size=2) as db:
        db.query(sleep, s=0.0)
        wire.deaf = True
        asking = gevent.spawn(db.query, sleep, s=5.0)
        gevent.sleep(0.05)
        asking.kill(timeout=PATIENCE)
        assert asking.dead
        until(lambda: wire.ignored)
        for _ in range(20):
            gevent.sleep(0.005)
        assert db.statistics().held == 0

"""What one caller does on a connection reaches nobody else: answers that were not read, settings of the session. And no
answer takes longer than it may, however it comes. The server is a script: so the rest of an answer comes when the test
says so."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import pytest
import redis
from flows import PATIENCE, in_thread, until

from service_utils.redis import Cache, Lock, RateLimiter, Redis, Sessions, connect

Make = Callable[..., Redis]


class Script:
    """Understands commands; ``answers`` says what comes, and may be told to wait for ``go``."""

    def __init__(self, answers: Callable[[Script, Any, list[bytes]], None]) -> None:
        self.go = threading.Event()
        self.over = threading.Event()
        self.heard: list[list[bytes]] = []
        self._answers = answers
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock = self._listener.accept()[0]
                thread = threading.Thread(target=self._serve, args=(sock,))
                self._threads.append(thread)
                thread.start()

    def _serve(self, sock: Any) -> None:
        with sock, sock.makefile("rb") as file, contextlib.suppress(OSError, EOFError):
            while True:
                command = _read(file)
                self.heard.append(command)
                if command[0] == b"HELLO":
                    sock.sendall(b"%1\r\n$5\r\nproto\r\n:3\r\n")
                elif command[0] == b"CLIENT":
                    sock.sendall(b"+OK\r\n")
                else:
                    self._answers(self, sock, command)

    def drip(self, sock: Any, start: bytes) -> None:
        """A byte now and then, until the test is over."""
        sock.sendall(start)
        while not self.over.wait(0.02):
            sock.sendall(b"x")

    def stop(self) -> None:
        self.go.set()
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE)


def _read(file: BinaryIO) -> list[bytes]:
    count = file.readline()
    if not count:
        raise EOFError
    words = []
    for _ in range(int(count[1:])):
        words.append(file.read(int(file.readline()[1:])))
        file.readline()
    return words


@pytest.fixture
def script() -> Iterator[Callable[..., Script]]:
    made: list[Script] = []

    def start(answers: Callable[[Script, Any, list[bytes]], None]) -> Script:
        made.append(Script(answers))
        return made[-1]

    yield start
    for one in made:
        one.stop()


def test_answers_of_a_pipeline_that_nobody_reads_reach_nobody(script: Callable[..., Script]) -> None:
    """What makes something of an answer fails in the middle of a pipeline, and the rest comes later."""

    def answers(server: Script, sock: Any, command: list[bytes]) -> None:
        if command[1] == b"late":
            server.go.wait(PATIENCE)
        sock.sendall(b"$%d\r\n%b\r\n" % (len(command[1]), command[1]))

    server = script(answers)
    client = connect(f"redis://127.0.0.1:{server.port}", size=1, timeout=PATIENCE)
    try:

        def refuse(found: bytes, **_: Any) -> bytes:
            if found == b"bad":
                raise ArithmeticError("this one")
            return found

        client.set_response_callback("GET", refuse)
        with pytest.raises(ArithmeticError):
            client.pipeline(transaction=False).get("bad").get("late").execute()
        assert client.get("mine") == b"mine"
        server.go.set()
        assert client.get("other") == b"other"
    finally:
        client.close()


LEFT_BEHIND: list[tuple[Any, ...]] = [
    ("SELECT", 3),
    ("select", "3"),
    (b"MULTI",),
    ("CLIENT SETNAME", "me"),
    ("CLIENT", "NO-EVICT", "on"),
    ("WATCH", "a"),
    ("HELLO", 2),
    ("MONITOR",),
]


@pytest.mark.parametrize("command", LEFT_BEHIND, ids=str)
@pytest.mark.parametrize("packed", [False, True])
def test_what_a_command_leaves_on_its_connection_is_nobody_elses(make: Make, command: Any, packed: bool) -> None:
    client = make(size=1)
    before = client.client_id()
    if packed and command[0] != "WATCH":  # of which redis-py keeps none for later
        client.pipeline(transaction=False).execute_command(*command).execute()
    else:
        client.execute_command(*command)
    assert client.client_id() != before
    found = client.client_info()
    assert [str(found[name]) for name in ("db", "name", "multi", "resp")] == ["0", "", "-1", "3"]


def test_what_leaves_nothing_costs_no_connection(make: Make) -> None:
    client = make(size=1)
    before = client.client_id()
    client.pipeline().set("a", 1).get("a").execute()
    client.client_list()
    client.transaction(lambda pipe: pipe.multi() or pipe.incr("a"), "a")
    with client.pipeline() as pipe:
        pipe.watch("a")  # and nothing more
    with contextlib.suppress(redis.ResponseError):
        client.pipeline().incr("a").lpush("a", "x").execute()
    client.blpop(["nothing"], timeout=0.01)
    assert client.client_id() == before


FOR_LONG: list[tuple[Any, ...]] = [
    ("BLPOP", "list", 3600),
    ("BRPOP", "list", "0"),  # for ever
    ("blmpop", 3600, 1, "list", "LEFT"),
    ("BLMOVE", "list", "other", "LEFT", "LEFT", 3600.5),
    ("XREAD", b"COUNT", 1, b"BLOCK", b"0", b"STREAMS", "stream", "$"),
    ("XREADGROUP", "GROUP", "group", "me", "BLOCK", 3_600_000, "STREAMS", "stream", ">"),
    ("WAIT", 1, 3_600_000),
]


@pytest.mark.parametrize("command", FOR_LONG, ids=str)
def test_blocking_commands_may_take_longer_than_other_answers(script: Callable[..., Script], command: Any) -> None:
    def answers(server: Script, sock: Any, heard: list[bytes]) -> None:
        if heard[0].upper() == b"GET":
            server.over.wait()
        server.go.wait(0.5)  # longer than the client's timeout
        sock.sendall(b":1\r\n")

    server = script(answers)
    client = connect(f"redis://127.0.0.1:{server.port}", size=1, timeout=0.2, socket_connect_timeout=PATIENCE)
    try:
        client.set_response_callback(command[0].upper(), lambda found, **_: found)
        assert client.execute_command(*command) == 1
        with pytest.raises(redis.TimeoutError):
            client.get("a")
    finally:
        client.close()


def test_listeners_wait_for_as_long_as_nothing_is_said(make: Make) -> None:
    client, other = make(size=1, timeout=0.2, socket_connect_timeout=PATIENCE), make(timeout=PATIENCE)
    pubsub = client.pubsub()
    pubsub.subscribe("news")
    heard = pubsub.listen()
    assert next(heard)["type"] == "subscribe"
    timer = threading.Timer(0.5, other.publish, ("news", "x"))
    timer.start()
    assert next(heard)["data"] == b"x"
    timer.join()
    pubsub.close()


def test_a_large_value_after_a_pause(make: Make) -> None:
    """The deadline of the answer before has nothing to do with it."""
    client = make(size=1, timeout=PATIENCE)
    before = client.client_id()
    with client.connection_pool.pool.acquire() as connection:
        connection._sock.until = 0.0  # of the answer before: as if it were long ago
    value = b"x" * 20_000_000
    client.set("large", value)
    assert client.get("large") == value
    assert client.client_id() == before


@pytest.mark.parametrize("where", ["tls", "hello", "answer"])
@pytest.mark.parametrize("hub", [True, False])
def test_a_byte_now_and_then_outlives_no_deadline(script: Callable[..., Script], where: str, hub: bool) -> None:
    def answers(server: Script, sock: Any, command: list[bytes]) -> None:
        server.drip(sock, b"$4000\r\n")

    server = script(answers)
    if where == "hello":
        server._serve = lambda sock: _drip(server, sock, b"$4000\r\n")  # type: ignore[method-assign]
    elif where == "tls":
        server._serve = lambda sock: _drip(server, sock, b"\x16\x03\x03\x40\x00\x02")  # type: ignore[method-assign]
    client = connect(f"redis{'s' if where == 'tls' else ''}://127.0.0.1:{server.port}", size=1, timeout=0.5)
    try:
        with pytest.raises(redis.TimeoutError):
            in_thread(lambda: client.get("a"), hub=hub).result(PATIENCE)
    finally:
        client.close()


def _drip(server: Script, sock: Any, start: bytes) -> None:
    with sock, contextlib.suppress(OSError):
        server.drip(sock, start)


def test_a_master_that_is_none_any_more(script: Callable[..., Script]) -> None:
    """All connections to it are given up with the first refusal, and made anew to whom the sentinel names."""

    def master(name: bytes) -> Script:
        def answers(server: Script, sock: Any, command: list[bytes]) -> None:
            if command[0] == b"SET" and server.go.is_set():
                sock.sendall(b"-READONLY You can't write against a read only replica.\r\n")
            else:
                sock.sendall(b"$%d\r\n%b\r\n" % (len(name), name))

        return script(answers)

    old, new = master(b"old"), master(b"new")
    current = [old]

    def sentinel(server: Script, sock: Any, command: list[bytes]) -> None:
        fields = {b"name": b"mymaster", b"ip": b"127.0.0.1", b"port": b"%d" % current[0].port, b"flags": b"master",
                  b"num-other-sentinels": b"0"}  # fmt: skip
        flat = [word for pair in fields.items() for word in pair]
        sock.sendall(b"*1\r\n*%d\r\n" % len(flat) + b"".join(b"$%d\r\n%b\r\n" % (len(w), w) for w in flat))

    guide = script(sentinel)
    client = connect(sentinels=[("127.0.0.1", guide.port)], size=3, timeout=PATIENCE)
    try:
        pool = client.connection_pool.pool
        leases = [pool.acquire() for _ in range(3)]
        for lease in leases:
            lease.release()
        assert client.get("name") == b"old"
        old.go.set()
        current[0] = new
        with pytest.raises(redis.ReadOnlyError):
            client.set("a", 1)
        for _ in range(5):
            assert client.get("name") == b"new"
        until(lambda: pool.statistics().idle == 1)
    finally:
        client.close()


def test_tools_over_a_client_that_answers_text(make: Make) -> None:
    client = make(text=True)
    cache = Cache(client, local=0)
    calls: list[int] = []

    @cache.cached(ttl=PATIENCE)
    def squared(n: int) -> list[Any]:
        calls.append(n)
        return [n * n, b"\xff\0", "ü"]

    assert squared(300) == squared(300) == [90000, b"\xff\0", "ü"]
    assert calls == [300]
    cache.set("name", {"n": 300}, ttl=PATIENCE)
    assert cache.get("name") == {"n": 300}
    sessions = Sessions(client)
    session = sessions.create({"n": 300})
    assert sessions.load(session) == {"n": 300}
    with Lock(client, "lock") as token:
        assert token == 1
    limiter = RateLimiter(client, 2, PATIENCE)
    assert limiter.take("key", 2)
    with pytest.raises(ValueError, match="never allowed at once"):
        limiter.take("key", 3)


def test_settings_that_nobody_knows() -> None:
    for url, what in (("redis://127.0.0.1/name", "number of a database"), ("redis://127.0.0.1/0?colour=red", "colour")):
        with pytest.raises(ValueError, match=what):
            connect(url)
    with pytest.raises(ValueError, match="colour"):
        connect(colour="red")

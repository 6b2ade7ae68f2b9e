"""Clients that do not read, and handlers that do not: memory stays bounded, the producer stops, others are served (I4).

What bounds it: the windows of each request (1 MiB in, 256 KiB out), and the kernel's socket buffers, which belong
to no process. Sizes in bytes.
"""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hammer import APP, LONG, Hammer
from serving import Client, Server
from serving.inside import Inside, pss

CLIENTS = 100 if LONG else 12
WINDOW = 1 << 20
# What the socket buffers of one connection may take, both ends together (tcp(7)): the last of "min default max".
KERNEL = sum(int(Path(f"/proc/sys/net/ipv4/tcp_{end}mem").read_text().split()[2]) for end in "rw")
SEND_TIMEOUT = 2.0  # seconds
PAUSES, LIMIT = (2.0,) * 3, 5.0  # seconds: of a slow reader who takes longer than the limit, and a bit all the while
PRODUCER = """
import json
import os

import gevent.event

produced = {"generators": 0, "pieces": 0, "ended": 0, "read": 0}
enough = gevent.event.Event()
handle_others = handle

def endless():
    produced["generators"] += 1
    try:
        while True:
            produced["pieces"] += 1
            yield b"x" * 16384
    finally:
        produced["ended"] += 1

def handle(request):
    path = request.raw_path
    if path == "/produced":
        return produced
    if path == "/endless":
        return endless()
    if path == "/bytes":
        return bytes(64 << 20)
    if path == "/file":
        return Response.file(os.environ["EVPY_TEST_FILE"])
    if path == "/unread":
        enough.wait()
        return "not looked at"
    if path == "/enough":
        enough.set()
    if path == "/slowly":
        for piece in request.stream:
            produced["read"] += len(piece)
            gevent.sleep(0.01)
        return "read"
    return handle_others(request)
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    file = tmp_path / "sparse"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 30)
    options = ("-w", "1", "--send-timeout", str(SEND_TIMEOUT), "--max-body", "0", "--timeout", "60")
    with Server(APP + PRODUCER, *options, env={"EVPY_TEST_FILE": str(file)}) as server:
        server.get("/hello/00000000")
        yield server


def produced(server: Server) -> dict[str, int]:
    found: dict[str, int] = server.get("/produced").json()
    return found


def memory(server: Server, inside: Inside) -> int:
    """Everything that the server has: its processes, and the segment beyond what they have mapped."""
    return pss([server.pid, *server.children()]) + inside.segment_bytes()


def stopped(server: Server, what: str) -> int:
    """Waits until a number does not change for half a second, in which everybody had many turns; returns it."""
    last = [-1, 0]
    since, turns = time.monotonic(), 0

    def is_still() -> bool:
        nonlocal since, turns
        last[1] = produced(server)[what]
        turns += 1
        if last[0] != last[1]:
            last[0], since, turns = last[1], time.monotonic(), 0
        return time.monotonic() - since > 0.5 and turns > 20

    server.wait_until(is_still, f"{what} stand still")
    return last[1]


@contextlib.contextmanager
def silent_clients(server: Server, path: str, count: int) -> Iterator[list[Client]]:
    with contextlib.ExitStack() as stack:
        clients = []
        for _ in range(count):
            client = stack.enter_context(server.client())
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            clients.append(client)
        yield clients


def test_a_generator_stops_when_nobody_reads(server: Server) -> None:
    with Inside(server.pid) as inside:
        before = memory(server, inside)
        others = Hammer(server.port, {"hello": 1}, connections=4, rate=200)
        with silent_clients(server, "/endless", CLIENTS), others as hammer:
            pieces = stopped(server, "pieces")
            grown = memory(server, inside) - before
            assert produced(server)["generators"] == CLIENTS
            assert pieces * 16384 < CLIENTS * (WINDOW + KERNEL)
            # the segment is counted twice: as itself, and where it is mapped
            assert grown < CLIENTS * 2 * (WINDOW + 65536) + (16 << 20), f"{grown >> 20} MiB"
            server.wait_until(lambda: produced(server)["ended"] == CLIENTS, "every generator was closed")
            assert hammer.stop().failures() == []
        inside.wait_at_rest()
        assert inside.count("send_timeouts") == inside.count("aborted") == CLIENTS
        assert produced(server)["pieces"] == pieces, "it never went on"
        print(f"{grown >> 20} MiB for {CLIENTS} silent clients")


def test_a_generator_ends_with_its_client(server: Server) -> None:
    with Inside(server.pid) as inside:
        with silent_clients(server, "/endless", 4):
            stopped(server, "pieces")
        server.wait_until(lambda: produced(server)["ended"] == 4, "every generator was closed")
        inside.wait_at_rest()


@pytest.mark.parametrize("path", ["/bytes", "/file"])
def test_a_client_that_never_reads(server: Server, path: str) -> None:
    with Inside(server.pid) as inside:
        before = memory(server, inside)
        with silent_clients(server, path, 2), Hammer(server.port, {"hello": 1}, connections=4, rate=200) as hammer:
            server.wait_until(lambda: inside.count("slabs_used") >= 2, "both under way")
            server.wait_until(lambda: inside.count("send_timeouts") == 2, "both given up")
            assert hammer.stop().failures() == []
        inside.wait_at_rest()
        assert memory(server, inside) - before < 24 << 20, "what the handler made is gone with it"


@pytest.mark.slow
def test_a_slow_reader_gets_everything() -> None:
    """It reads little, now and then, with pauses shorter than the limit: no reason to give it up.

    What it takes is less than what makes a full socket writable again (a third of the kernel's buffer).
    """
    with Server(APP, "-w", "1", "--send-timeout", str(LIMIT)) as server, server.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"GET /stream/0000000a?n=600000 HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        begun = b""
        for pause in PAUSES:
            time.sleep(pause)  # the window is full by now
            begun += client._exactly(150_000)
        client.buffer = begun + client.buffer
        assert client.body(answer) == b"".join(b"0000000a%08x\n" % k for k in range(600000))


def send_until_blocked(client: Client, total: int, seconds: float = 0.5) -> int:
    """Sends until nothing has been taken for so long; returns how many bytes were."""
    client.socket.settimeout(seconds)
    sent, piece = 0, b"x" * 65536
    with contextlib.suppress(TimeoutError):
        while sent < total:
            sent += client.socket.send(piece[: total - sent])
    client.socket.settimeout(20.0)
    return sent


def test_an_upload_that_nobody_reads(server: Server) -> None:
    total = 1 << 30
    with Inside(server.pid) as inside, contextlib.ExitStack() as stack:
        before = memory(server, inside)
        clients = [stack.enter_context(server.client()) for _ in range(3)]
        for client in clients:
            client.send(f"POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n".encode())
        sent = [send_until_blocked(client, total) for client in clients]
        assert max(sent) < WINDOW + KERNEL, "the client must be stopped"
        grown = memory(server, inside) - before
        assert grown < 3 * 2 * (WINDOW + 65536) + (16 << 20), f"{grown >> 20} MiB for uploads that nobody reads"
        assert server.get("/hello/0000000b").body == b"hello 0000000b"
        server.get("/enough")
        for client in clients:
            answer = client.answer()
            assert answer.body == b"not looked at"
            assert answer.header("connection") == "close", "the rest of the body is in the way"
        for client in clients:
            client.close()
        inside.wait_at_rest()


def test_an_upload_that_is_read_slowly_stops_the_client(server: Server) -> None:
    total = 4 << 20
    with Inside(server.pid) as inside, server.client() as client:
        client.send(f"POST /slowly HTTP/1.1\r\nHost: a\r\nContent-Length: {total}\r\n\r\n".encode())
        client.send(b"x" * total)
        assert client.answer().body == b"read"
        assert produced(server)["read"] == total
        assert inside.segment_bytes() < 16 << 20


def test_the_log_is_quiet_about_clients(server: Server) -> None:
    with silent_clients(server, "/endless", 2):
        stopped(server, "pieces")
    server.wait_until(lambda: produced(server)["ended"] == 2, "every generator was closed")
    assert not re.search(r"Traceback| (WARNING|ERROR) ", server.log), server.log

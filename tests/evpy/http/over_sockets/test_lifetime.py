"""Time and people who leave: deadlines, disconnects, slow readers, work that outlives its request."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Client, Server

from evpy.server import status

APP = """
import json, threading, time, urllib.request, weakref
import gevent
import evpy
from evpy import ClientDisconnected, DeadlineExceeded, Response, Router, current_request

handle = Router()
seen = []          # what handlers have noted, in order
release = {}       # events by name

def flag(name):
    return release.setdefault(name, gevent.event.Event())

@handle.get("/seen")
def show(request):
    return seen

@handle.get("/release/{name}")
def let_go(request, name):
    flag(name).set()
    return "released"

@handle.get("/ok")
def ok(request):
    return "fine"

# --- deadlines

@handle.get("/too-slow")
def too_slow(request):
    try:
        evpy.sleep(60)
    except DeadlineExceeded as error:
        seen.append(f"{type(error).__name__}, disconnected {request.disconnected}")
        raise

@handle.get("/too-slow-below")
def too_slow_below(request):
    try:
        evpy.gather(lambda: evpy.sleep(60), nap)
    except TimeoutError as error:
        seen.append(type(error).__name__)
        raise

def nap():
    try:
        evpy.sleep(60)
    finally:
        seen.append("cancelled")

@handle.get("/stubborn")
def stubborn(request):
    try:
        evpy.sleep(60)
    except DeadlineExceeded:
        return "what nobody gets"

@handle.get("/own-limit")
def own_limit(request):
    with evpy.timeout(0.01):
        evpy.sleep(60)

@handle.get("/slow-stream")
def slow_stream(request):
    def pieces():
        for n in range(6):
            yield str(n)
            evpy.sleep(0.1)
    return pieces()

# --- clients who leave

@handle.get("/wait")
def wait(request):
    seen.append("waiting")
    while not request.disconnected:
        evpy.sleep(0.01)
    seen.append("disconnected")
    return "what nobody gets"

@handle.get("/endless")
def endless(request):
    piece = b"x" * 65536
    def pieces():
        n = 0
        try:
            while True:
                n += 1
                counts["produced"] = n
                yield piece
        except GeneratorExit:
            seen.append("closed")
            raise
        finally:
            seen.append("finally")
    kept["generator"] = pieces()  # so that it is not closed merely because nobody knows it any more
    return kept["generator"]

@handle.get("/silent-events")
def silent_events(request):
    def events():
        try:
            yield "first"
            flag("never").wait()
        finally:
            seen.append("closed while it waited")
    kept["events"] = events()
    return Response.events(kept["events"], heartbeat=0.05)

counts, kept = {}, {}

@handle.get("/counts")
def show_counts(request):
    return counts

@handle.post("/read")
def read(request):
    total = 0
    try:
        while piece := request.stream.read(65536):
            total += len(piece)
            counts["read"] = total
    except ClientDisconnected as error:
        seen.append(f"{type(error).__name__} after some: {total > 0}")
        raise
    return str(total)

@handle.post("/stuck")
def stuck(request):
    request.stream.read(1)
    flag("stuck").wait()
    return str(1 + len(request.stream.read()))

@handle.get("/numbers/{count:int}")
def numbers(request, count):
    return Response.stream(b"%0100000d" % n for n in range(count))

# --- what outlives a request

@handle.get("/background/{name}")
def start(request, name):
    def task():
        flag(name).wait()
        seen.append(f"done {name}")
    one = evpy.background(task, name=name)
    return {"same": evpy.background(task, name=name) is one}

@handle.get("/spawned")
def spawned(request):
    ident = request.id
    def later():
        flag("spawned").wait()
        try:
            request.method
        except RuntimeError as error:
            seen.append(str(error))
    evpy.spawn(later)
    return ident

# --- the greenlet, which serves another request afterwards

former = []        # (request, its greenlet)

@handle.get("/remembered")
def remembered(request):
    alive = sum(reference() is not None for reference, _ in former)
    former.append((weakref.ref(request), gevent.getcurrent()))
    return {"alive": alive, "greenlets": len({id(greenlet) for _, greenlet in former})}

@handle.get("/disturb/{how}")
def disturb(request, how):
    mine = gevent.getcurrent()
    for greenlet in {id(greenlet): greenlet for _, greenlet in former}.values():
        if greenlet is not mine:
            call = greenlet.switch if how == "switch" else greenlet.throw
            gevent.get_hub().loop.run_callback(call)
    evpy.sleep(0)
    return [greenlet.dead for _, greenlet in former]

@handle.get("/together/{port:int}")
def together(request, port):
    url = f"http://127.0.0.1:{port}/remembered"
    others = [evpy.spawn(urllib.request.urlopen, url) for _ in range(2)]
    return [json.load(other.get()) for other in others]

def on_stop():
    print("on_stop", flush=True)
"""


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(APP, "--grace", "5")


@pytest.fixture(scope="module")
def hasty(serve: Callable[..., Server]) -> Server:
    """A server that gives its handlers 0.3 seconds."""
    return serve(APP, "--timeout", "0.3", "--grace", "5")


_known: dict[int, int] = {}  # by the server's port: how many notes have been looked at


def notes(server: Server) -> list[str]:
    """What handlers have noted since this was asked for the last time. The question may come too late itself."""
    found: list[str] = []

    def look() -> bool:
        answer = server.get("/seen")
        if answer.status == 200:
            found.extend(answer.json()[_known.get(server.port, 0) :])
        return answer.status == 200

    server.wait_until(look, "an answer in time")
    _known[server.port] = _known.get(server.port, 0) + len(found)
    return found


@pytest.fixture(autouse=True)
def _nothing_seen(server: Server, hasty: Server) -> None:
    for each in (server, hasty):
        notes(each)


def wait_seen(server: Server, *expected: str) -> None:
    """Waits until handlers have noted exactly this."""
    seen: list[str] = []

    def look() -> bool:
        seen.extend(notes(server))
        return len(seen) >= len(expected)

    server.wait_until(look, f"{expected} was noted")
    assert tuple(seen) == expected


def goes_on(server: Server, client: Client) -> None:
    """Waits until the connection has brought an answer of a handler; each may come too late by itself."""
    server.wait_until(lambda: client.get("/ok").body == b"fine", "the connection goes on")


def begin(server: Server, target: str, client: Client | None = None) -> Client:
    client = client or server.client()
    client.send(f"GET {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    return client


def wait_stalled(server: Server, name: str) -> int:
    """The value of a counter that does not change any more."""
    last = [-1, 0]

    def stands() -> bool:
        now = server.get("/counts").json().get(name, 0)
        last[1] = last[1] + 1 if now == last[0] and now else 0
        last[0] = now
        return last[1] >= 20

    server.wait_until(stands, f"{name} stands still")
    return last[0]


# --- deadlines


def test_a_handler_beyond_its_deadline_is_interrupted(hasty: Server) -> None:
    with hasty.client() as client:
        answer = client.get("/too-slow")
        assert answer.status == 504
        wait_seen(hasty, "DeadlineExceeded, disconnected True")
        goes_on(hasty, client)
    hasty.wait_log(r"GET /too-slow: the deadline of the request is over")


def test_what_it_waits_for_is_cancelled(hasty: Server) -> None:
    assert hasty.get("/too-slow-below").status == 504
    wait_seen(hasty, "cancelled", "DeadlineExceeded")


def test_what_it_returns_then_reaches_nobody(hasty: Server) -> None:
    with hasty.client() as client:
        assert client.get("/stubborn").status == 504
        for _ in range(3):
            goes_on(hasty, client)


def test_a_limit_of_the_handlers_own_is_504_too(server: Server) -> None:
    answer = server.get("/own-limit")
    assert answer.status == 504
    assert answer.body.startswith(b"504 Gateway Timeout")


def test_a_response_that_has_begun_has_all_the_time(hasty: Server) -> None:
    """The deadline is for the answer to begin; how long it may take is up to the reader's speed."""
    # Its beginning, too, is late when the machine is.
    hasty.wait_until(lambda: hasty.get("/slow-stream").body == b"012345", "the whole of it")


# --- clients who leave


def test_a_handler_can_ask_whether_anybody_waits(server: Server) -> None:
    client = begin(server, "/wait")
    wait_seen(server, "waiting")
    client.close()
    wait_seen(server, "disconnected")


def test_a_generator_is_closed_when_its_reader_leaves(server: Server) -> None:
    client = begin(server, "/endless")
    assert client.head().status == 200
    client.close()
    wait_seen(server, "closed", "finally")


def test_a_generator_is_closed_when_its_reader_only_stops_reading_and_leaves(server: Server) -> None:
    client = begin(server, "/endless")
    assert client.head().status == 200
    wait_stalled(server, "produced")
    assert notes(server) == [], "it waits"
    client.close()
    wait_seen(server, "closed", "finally")


def test_events_that_do_not_come_are_not_waited_for_when_the_browser_leaves(server: Server) -> None:
    """It is the heart-beat that notices."""
    client = begin(server, "/silent-events")
    client.head()
    assert client._until(b"data: first\n\n")
    assert client._until(b":\n\n"), "a heart-beat"
    client.close()
    wait_seen(server, "closed while it waited")


def test_an_upload_that_breaks_off_is_noticed(server: Server) -> None:
    client = server.client()
    client.send(b"POST /read HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 100_000)
    server.wait_until(lambda: server.get("/counts").json().get("read", 0) == 100_000, "the handler reads")
    client.close()
    wait_seen(server, "ClientDisconnected after some: True")


def test_a_client_that_leaves_before_its_turn_costs_no_python() -> None:
    """Its request is taken back; counted, and never run. (Not inline: that mode's counters are its own affair.)"""
    with Server(APP, "-w", "1", "--concurrency", "1", "--grace", "5") as server:

        def counted(name: str) -> int:
            found: int = status.of_process(server.pid)["counters"][name]
            return found

        first = begin(server, "/wait")
        server.wait_until(lambda: counted("slabs_used") == 1 and counted("queue_len") == 0, "the worker is busy")
        second = begin(server, "/background/never")
        server.wait_until(lambda: counted("queue_len") == 1, "another request waits")
        second.close()
        server.wait_until(lambda: counted("recalled") == 1, "it is taken back")
        first.close()
        wait_seen(server, "waiting", "disconnected")
        server.get("/release/never")
        assert notes(server) == []
        server.wait_until(lambda: counted("slabs_used") == 0, "everything is at rest")
        assert counted("queue_len") == counted("buffered") == 0


# --- slow readers and slow handlers


def test_a_reader_who_does_not_read_stops_the_handler(server: Server) -> None:
    client = begin(server, "/endless")
    assert client.head().status == 200
    produced = wait_stalled(server, "produced") * 65536
    assert produced < 64 << 20, "no more than what the window and the kernel's buffers hold"
    assert server.get("/ok").body == b"fine", "and nobody else"
    client.close()
    wait_seen(server, "closed", "finally")


def test_a_slow_reader_gets_every_byte(server: Server) -> None:
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.settimeout(20)
    sock.connect(server.address)
    with sock:
        sock.sendall(b"GET /numbers/100 HTTP/1.0\r\n\r\n")
        data = bytearray()
        while piece := sock.recv(2000):
            data += piece
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert body == b"".join(b"%0100000d" % n for n in range(100))


def test_a_handler_that_does_not_read_stops_the_client(server: Server) -> None:
    size = 16 << 20
    with server.client() as client:
        client.send(f"POST /stuck HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode())
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        client.socket.setblocking(False)
        sent, stalled = 0, 0
        while stalled < 20:
            try:
                sent += client.socket.send(b"x" * min(65536, size - sent))
                stalled = 0
            except BlockingIOError:
                stalled += 1
                server.get("/ok")  # a turn of everybody
        assert sent < size, "it may not send more than what window and kernel hold"
        server.get("/release/stuck")
        client.socket.settimeout(20)
        client.send(b"x" * (size - sent))
        assert client.answer().body == str(size).encode()


# --- what outlives a request


def test_a_background_task_outlives_its_request(server: Server) -> None:
    with server.client() as client:
        assert client.get("/background/a").json() == {"same": True}
        assert client.get("/background/a").json() == {"same": True}, "one task of a name"
    assert notes(server) == []
    server.get("/release/a")
    wait_seen(server, "done a")


def test_a_spawned_greenlet_outlives_its_request_but_not_the_request_itself(server: Server) -> None:
    server.get("/spawned")
    server.get("/release/spawned")
    wait_seen(server, "the request is over: read what you need of it before its response is complete")


def test_a_stop_waits_for_who_is_being_answered(mode: str) -> None:
    with Server(APP, "-w", mode, "--grace", "20") as server:
        client = begin(server, "/slow-stream")
        assert client.head().status == 200
        server.signal(signal.SIGTERM)
        answer = client.rest()
        client.close()
        assert answer.endswith(b"1\r\n5\r\n0\r\n\r\n")


def test_a_file_that_becomes_shorter_while_it_is_sent(mode: str, tmp_path: Path) -> None:
    """What was announced cannot be kept: only the end of the connection tells the client, and it does so at once."""
    path = tmp_path / "shrinks"
    with path.open("wb") as file:
        file.truncate(64 << 20)
    app = f"from evpy import Response\ndef handle(request): return Response.file({str(path)!r})\n"
    with Server(app, "-w", mode, "--send-timeout", "120") as server, server.client() as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = client.head()
        os.truncate(path, 20 << 20)  # the socket buffers hold a few MiB at most
        assert answer.header("content-length") == str(64 << 20)
        client.buffer = b""
        left = 0
        while piece := client.socket.recv(1 << 20):
            left += len(piece)
        assert (19 << 20) < left <= (20 << 20)
        assert server.get("/").status == 200


# --- the greenlet, which serves another request afterwards


def test_a_request_does_not_outlive_itself(mode: str) -> None:
    with Server(APP, "-w", mode, "--grace", "5") as server, server.client() as client:
        assert [client.get("/remembered").json()["alive"] for _ in range(5)] == [0] * 5
        for _ in range(3):  # also with several greenlets, each of which has served before
            found = client.get(f"/together/{server.port}").json()
            assert [each["alive"] for each in found] in ([0, 0], [0, 1], [1, 0])
        assert client.get("/remembered").json()["alive"] == 0


@pytest.mark.parametrize("how", ["switch", "throw"])
def test_who_disturbs_a_greenlet_that_waits_for_its_next_request_disturbs_no_request(mode: str, how: str) -> None:
    with Server(APP, "-w", mode, "--grace", "5") as server, server.client() as client:
        for _ in range(3):
            assert client.get(f"/together/{server.port}").status == 200
        dead = client.get(f"/disturb/{how}").json()
        assert any(dead) == (how == "throw"), "nobody was disturbed"
        for _ in range(20):
            assert len(client.get(f"/together/{server.port}").json()) == 2
            assert client.get("/ok").body == b"fine"

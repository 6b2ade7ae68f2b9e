"""Servers that are slow, dead, broken or hostile; requests that are killed. Nobody gets another one's answer.

EVPY_KILLS says how many requests are killed (default: 300).
"""

from __future__ import annotations

import gzip
import os
import random
import socket
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until
from forks import ended_well, in_child
from peers import Peer, Seen, Visit, answer, redirect

from service_utils import http
from service_utils.names import SystemLookup
from service_utils.pool import PoolClosed, PoolExhausted

Serve = Callable[..., Peer]
Make = Callable[..., http.Client]
KILLS = int(os.environ.get("EVPY_KILLS", "300"))
SOON = 0.5  # seconds; for deadlines that must pass


def only(client: http.Client) -> Any:
    """The statistics of its only origin."""
    (found,) = client.statistics().values()
    return found


def test_killed_in_the_middle_of_an_answer(serve: Serve, make: Make) -> None:
    """By timeouts and kills, in two hubs: the connection is discarded; each answer is that to one's own question."""

    def talk(visit: Visit) -> None:
        rng = random.Random(visit.number)
        while (seen := visit.request()) is not None:
            whole = answer(seen.target * 20)
            for piece in (whole[:10], whole[10:60], whole[60:]):
                visit.send(piece)
                threading.Event().wait(rng.random() * 0.001)

    peer = serve(talk=talk)
    client = make(peer.url, limit=4)
    killed: list[int] = []

    def ask(rng: random.Random) -> None:
        path = f"/{rng.randrange(10**9)}"
        with gevent.Timeout(rng.random() * 0.006, False):
            try:
                if rng.random() < 0.5:
                    assert client.get(path).text == path * 20, "somebody else's answer"
                else:
                    with client.stream("GET", path) as response:
                        assert b"".join(response.iter_bytes()).decode() == path * 20, "somebody else's answer"
            except PoolExhausted:
                pass
            return
        killed.append(1)

    def ask_and_be_killed(rng: random.Random) -> None:
        asking = gevent.spawn(ask, rng)
        gevent.sleep(rng.random() * 0.006)
        asking.kill()
        if asking.exception is not None:
            raise asking.exception

    def flow(seed: int) -> None:
        rng = random.Random(seed)
        for n in range(KILLS // 8):
            (ask if n % 2 else ask_and_be_killed)(rng)

    def hub(first: int) -> None:
        gevent.joinall([gevent.spawn(flow, seed) for seed in range(first, first + 4)], raise_error=True)

    for running in [in_thread(lambda f=first: hub(f), hub=True) for first in (0, 4)]:  # type: ignore[misc]
        running.result(120)
    until(lambda: not only(client).held)
    assert killed
    assert only(client).discarded > 0
    assert client.get("/last").text == "/last" * 20


def test_never_answers(serve: Serve, make: Make) -> None:
    """Deadlines for the first byte, between bytes and in all; the connection is not used again."""

    def talk(visit: Visit) -> None:
        seen = visit.request()
        if seen is not None and seen.target == "/half":
            visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        visit.gone()

    client = make(serve(talk=talk).url, retries=None)
    with pytest.raises(http.TimedOut, match=rf"GET http://.*/: no answer within {SOON} s"):
        client.get("/", timeout=http.Timeouts(first_byte=SOON))
    with pytest.raises(http.TimedOut, match=f"not done within {SOON} s"):
        client.post("/", timeout=SOON)
    with pytest.raises(http.TimedOut, match=f"nothing more of the body within {SOON} s"):
        client.get("/half", timeout=http.Timeouts(read=SOON))
    with client.stream("GET", "/half", timeout=http.Timeouts(read=SOON)) as response:
        pieces = response.iter_bytes()
        assert next(pieces) == b"half"
        with pytest.raises(TimeoutError):
            next(pieces)
    assert (only(client).discarded, only(client).idle) == (4, 0)


def test_a_byte_now_and_then_does_not_outlive_the_total(serve: Serve, make: Make) -> None:
    def talk(visit: Visit) -> None:
        visit.request()
        visit.send(b"HTTP/1.1 200 OK\r\nX: ")
        while True:
            visit.send(b"x")
            threading.Event().wait(SOON / 10)

    client = make(serve(talk=talk).url, retries=None)
    with pytest.raises(http.TimedOut):
        gevent.spawn(client.get, "/", timeout=http.Timeouts(read=5, total=SOON)).get()


def test_accepts_no_connection(make: Make) -> None:
    """The queue of the listener is full: SYNs are dropped."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = []
        for _ in range(3):
            waiting.append(socket.socket())
            waiting[-1].setblocking(False)
            waiting[-1].connect_ex(full.getsockname())
        client = make(f"http://127.0.0.1:{full.getsockname()[1]}", retries=None)
        with pytest.raises(http.ConnectTimedOut, match="no connection within"):
            client.get("/", timeout=http.Timeouts(connect=SOON))
        for one in waiting:
            one.close()


def test_refused_and_unknown(make: Make) -> None:
    with pytest.raises(http.ConnectFailed, match=r"127.0.0.1:1: cannot connect: Connection refused"):
        make().get("http://127.0.0.1:1/")
    with pytest.raises(http.ConnectFailed, match="cannot connect"):
        make(resolver=http.Resolver(lambda host, port: [])).post("http://nowhere.invalid/")


@pytest.mark.parametrize("how", ["closed", "half-closed", "reset"])
@pytest.mark.parametrize("when", ["unanswered", "in the head", "in the body", "in a chunk"])
def test_lost_connections(serve: Serve, make: Make, how: str, when: str) -> None:
    begun = {
        "unanswered": b"", "in the head": b"HTTP/1.1 200 OK\r\nX: y", "in the body": answer(b"body")[:-1],
        "in a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
    }[when]  # fmt: skip

    def talk(visit: Visit) -> None:
        visit.request()
        visit.send(begun)
        if how == "half-closed":
            visit.sock.shutdown(socket.SHUT_WR)
            visit.gone()
        elif how == "reset":
            visit.reset()

    peer = serve(talk=talk)
    client = make(peer.url, retries=http.Retries(attempts=2, base=0.001))
    with pytest.raises(http.ConnectionLost):
        client.post("/", json=1)
    assert len(peer.seen) == 1, "what is not idempotent is sent once"
    with pytest.raises(http.ConnectionLost):
        client.get("/")
    assert len(peer.seen) == 3
    with pytest.raises(http.ConnectionLost):
        client.post("/", json=1, idempotent=True)
    assert len(peer.seen) == 5


def test_stale_connection(serve: Serve, make: Make) -> None:
    """The server closed it while it was idle: also a POST goes out once, on a new one. So with unasked-for answers."""

    def talk(visit: Visit) -> None:
        seen = visit.request()
        assert seen is not None
        visit.send(answer(seen.target))
        if visit.number % 2:
            return
        visit.send(answer("evil"))
        visit.gone()

    peer = serve(talk=talk)
    client = make(peer.url, retries=None)
    for n in range(6):
        assert client.post(f"/{n}").text == f"/{n}"
        (origin,) = client._origins
        for slot in origin.pool._idle:
            until(slot.connection.is_stale)
    assert (peer.connections, len(peer.seen)) == (6, 6)


def test_closed_just_when_the_request_came(serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It did not look stale: what is idempotent is sent again, without counting as a retry."""
    monkeypatch.setattr("service_utils.http.connection.Connection.is_stale", lambda self: False)

    def talk(visit: Visit) -> None:
        seen = visit.request()
        assert seen is not None
        visit.send(answer(seen.target))

    peer = serve(talk=talk)
    client = make(peer.url, retries=None)
    assert [client.get(f"/{n}").text for n in range(3)] == ["/0", "/1", "/2"]
    with pytest.raises(http.ConnectionLost):
        client.post("/3")
    assert client.post("/4").text == "/4"


@pytest.mark.parametrize(
    "wrong",
    [
        b"SSH-2.0-OpenSSH_9\r\n\r\n",
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 40_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: " + b"y" * 150_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + b"y" * 150_000,
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        b"HTTP/1.1 200 OK\r\n" + b"X: yyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 5000,
    ],
    ids=map(str, range(20)),
)
def test_not_http(serve: Serve, make: Make, wrong: bytes) -> None:
    peer = serve(talk=lambda visit: (visit.request(), visit.send(wrong), visit.gone()))
    client = make(peer.url)
    with pytest.raises(http.ProtocolError, match="GET http"):
        client.get("/")
    assert (only(client).idle, peer.connections) == (0, 1)


@pytest.mark.parametrize("more", ["Content-Type: text/x; charset=undefined", "Content-Type: text/x; charset=idna",
                                  "Retry-After: Mon, 01 Jan 0001 00:00:00 -0000", "Retry-After: \xb2"])  # fmt: skip
def test_fields_that_make_no_sense(serve: Serve, make: Make, more: str) -> None:
    """They neither end the program nor lose the answer."""
    head = f"HTTP/1.1 503 Busy\r\n{more}\r\nContent-Length: 3\r\n\r\n"
    client = make(serve(lambda seen: head.encode("latin-1") + b"a\xffb").url, retries=http.Retries(attempts=1))
    response = client.get("/")
    assert (response.status, response.text) == (503, "a\ufffdb")


def test_json_as_deep_as_the_sea(serve: Serve, make: Make) -> None:
    client = make(serve(lambda seen: answer(b"[" * 200_000)).url)
    with pytest.raises(http.ProtocolError, match="not the JSON"):
        client.get("/").json()


def test_lines_of_any_length(serve: Serve, make: Make) -> None:
    body = b"x" * 200_000 + b"\r\n\nb\r\n" + b"y" * 70_000
    client = make(serve(lambda seen: answer(body)).url)
    with client.stream("GET", "/") as response:
        assert list(response.iter_lines()) == ["x" * 200_000, "", "b", "y" * 70_000]


def test_more_than_was_asked_for(serve: Serve, make: Make) -> None:
    """A second answer, sent along with the first, is never given to the next request; nor the body of a HEAD's."""

    def talk(visit: Visit) -> None:
        seen = visit.request()
        assert seen is not None
        visit.send(answer(seen.target) + (b"" if seen.method == "HEAD" else answer("evil")))
        visit.gone()

    peer = serve(talk=talk)
    client = make(peer.url)
    for n in range(3):
        assert client.get(f"/{n}").text == f"/{n}"
        assert client.head(f"/{n}").content == b""
    assert peer.connections == 6


def test_bombs(serve: Serve, make: Make) -> None:
    """A gigabyte in a megabyte, and a gigabyte in a kilobyte, twice compressed."""
    import tracemalloc

    once = gzip.compress(bytes(1 << 26)) * 16
    bombs = {
        "/gzip": answer(once, content_encoding="gzip"),
        "/many": answer(b"x", content_encoding="gzip, " * 9 + "gzip"),
        "/twice": answer(gzip.compress(once), content_encoding="gzip, gzip"),
    }
    client = make(serve(lambda seen: bombs[seen.target]).url, max_size=1 << 22)
    tracemalloc.start()
    try:
        for path in ("/gzip", "/twice"):
            with pytest.raises(http.BodyTooLarge, match="max_size=4194304 bytes"):
                client.get(path)
        with client.stream("GET", "/gzip") as response:
            total = sum(1 for _, piece in zip(range(500), response.iter_bytes(), strict=False) if piece)
        assert total == 500
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
    with client.stream("GET", "/gzip") as response, pytest.raises(http.BodyTooLarge):
        response.read()
    with client.stream("GET", "/gzip", max_size=1 << 23) as response, pytest.raises(http.BodyTooLarge):
        list(response.iter_bytes())
    with pytest.raises(http.ProtocolError, match="encoded 10 times"):
        client.get("/many")
    assert only(client).idle <= 1


def test_retries(serve: Serve, make: Make) -> None:
    """By status and Retry-After; not what is not idempotent, not beyond the budget, not when asked to wait long."""
    left = {"n": 0}

    def respond(seen: Seen) -> bytes:
        left["n"] -= 1
        more = {"retry_after": seen.target[1:]} if seen.target != "/" else {}
        return answer(seen.body, **more) if left["n"] < 0 else answer(b"", "503 No", **more)

    peer = serve(respond)
    retries = http.Retries(attempts=3, base=0.001, reserve=3)
    client = make(peer.url, retries=retries, breaker=None)

    def tries(fail: int, method: str = "GET", path: str = "/", **more: Any) -> tuple[int, int]:
        left["n"] = fail
        before = len(peer.seen)
        response = client.request(method, path, **more)
        assert not response.ok or response.content == more.get("content", b"")
        return response.status, len(peer.seen) - before

    assert tries(1) == (200, 2)
    assert tries(1, "POST", content=b"x") == (503, 1)
    assert tries(1, retries=False) == (503, 1)
    assert tries(1, path="/100") == (503, 1)
    assert tries(1, path="/Fri,%2001%20Jan%202100%2000:00:00%20GMT") == (200, 2)
    assert tries(9, "PUT", content=b"x") == (503, 2), "the budget is used up"
    assert tries(1) == (503, 1)
    for _ in range(10):
        tries(0)
    assert tries(1, "PUT", content=b"x") == (200, 2), "ten requests bring one retry"
    for _ in range(10):
        tries(0)
    assert tries(1, "PUT", content=iter([b"x"])) == (503, 1), "the body is gone"


def test_circuit_breaker(serve: Serve, make: Make) -> None:
    """Opens when half of the requests fail, lets one try after a while, closes when that succeeds; by origin."""
    bad = serve(lambda seen: answer(b"", "503 No") if trouble else answer(b"fine"))
    good = serve(lambda seen: answer(b"fine"))
    trouble = [1]
    client = make(retries=None, breaker=http.BreakerPolicy(failures=3, pause=1000))
    for _ in range(3):
        assert client.get(bad.url).status == 503
    with pytest.raises(http.CircuitOpen, match="has failed too often; nothing is sent to it for"):
        client.get(bad.url)
    assert client.get(good.url).ok
    assert (len(bad.seen), client.circuits()) == (3, {bad.url: "open", good.url: "closed"})
    breaker = next(iter(client._origins)).breaker
    breaker._open_until = 0.0
    assert client.get(bad.url).status == 503
    assert client.circuits()[bad.url] == "open", "the trial failed"
    breaker._open_until = 0.0
    assert breaker.enter(), "somebody tries"
    with pytest.raises(http.CircuitOpen, match="until the request that tries it is done"):
        client.get(bad.url)
    breaker.cancelled(True)
    trouble.clear()
    assert client.get(bad.url).content == b"fine"
    assert client.circuits()[bad.url] == "closed"
    for _ in range(3):
        with pytest.raises(http.ConnectFailed):
            client.get("http://127.0.0.1:1/")
    with pytest.raises(http.CircuitOpen):
        client.get("http://127.0.0.1:1/")


def test_a_child_does_not_wait_for_who_tries_in_the_parent(serve: Serve, make: Make) -> None:
    """Neither for the request that tries whether an origin is well again, nor for a thread that holds a lock."""
    peer = serve(lambda seen: answer(b"fine"))
    client = make(peer.url, breaker=http.BreakerPolicy(failures=3, pause=1000))
    assert client.get("/").ok
    breaker = next(iter(client._origins)).breaker
    for _ in range(3):
        breaker.failure(False)
    breaker._open_until = 0.0
    assert breaker.enter(), "a request of the parent tries"

    def child() -> None:
        assert client.get("/child").ok
        assert client.circuits() == {peer.url: "closed"}

    with breaker._lock:
        assert ended_well(in_child(child))
    breaker.cancelled(True)


def test_a_closed_client_makes_no_connection(serve: Serve, make: Make) -> None:
    one, other = serve(lambda seen: answer(b"fine")), serve(lambda seen: answer(b"fine"))
    client = make()
    assert client.get(one.url).ok
    client.close()
    for url in (one.url, other.url):
        with pytest.raises(PoolClosed):
            client.get(url)
    assert (one.connections, other.connections) == (1, 0)


def test_the_pool_is_exhausted(serve: Serve, make: Make) -> None:
    release = threading.Event()
    peer = serve(lambda seen: (release.wait(PATIENCE), answer(seen.target))[1])
    client = make(peer.url, limit=1)
    first = in_thread(lambda: client.get("/1").text)
    until(lambda: peer.seen)
    with pytest.raises(PoolExhausted, match="Held longest by"):
        client.get("/2", timeout=http.Timeouts(connect=SOON))
    waiting = in_thread(lambda: client.get("/3").text, hub=True)
    until(lambda: only(client).waiting)
    release.set()
    assert (first.result(PATIENCE), waiting.result(PATIENCE)) == ("/1", "/3")
    assert client.circuits() == {peer.url: "closed"}


def test_a_response_that_was_not_read(serve: Serve, make: Make) -> None:
    """Closed early, or dropped: its connection serves nobody else; its pieces are nobody else's."""

    def talk(visit: Visit) -> None:
        while (seen := visit.request()) is not None:
            visit.send(answer(seen.target * 100_000))

    peer = serve(talk=talk)
    client = make(peer.url, limit=1)
    with client.stream("GET", "/1") as response:
        pieces = response.iter_bytes()
        assert next(pieces).startswith(b"/1")
    assert client.get("/2").text == "/2" * 100_000
    with pytest.raises(http.ConnectionLost):
        next(pieces)
    with pytest.raises(ValueError, match="read already"):
        response.read()
    with client.stream("GET", "/3") as response:
        whole = b"".join(response.iter_bytes())
    assert whole == b"/3" * 100_000
    assert peer.connections == 2


def test_pieces_of_a_response_that_was_closed(serve: Serve, make: Make) -> None:
    """Its connection serves the next one, since the whole answer had come; what is left of it is not read any more."""
    peer = serve(
        lambda seen: (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n%b\r\n2\r\n%b\r\n0\r\n\r\n"
            % ((seen.target.encode(),) * 2)
        )
    )
    client = make(peer.url)
    with client.stream("GET", "/1") as first:
        pieces = first.iter_bytes()
        assert next(pieces) == b"/1"
    with client.stream("GET", "/2") as second:
        with pytest.raises(http.ConnectionLost, match="closed while"):
            next(pieces)
        assert second.read() == b"/2/2"
    assert peer.connections == 1


def test_fork(serve: Serve, make: Make) -> None:
    """The child has connections of its own."""
    peer = serve(lambda seen: answer(seen.target))
    client = make(peer.url)
    assert client.get("/parent").text == "/parent"

    def child() -> None:
        assert client.get("/child").text == "/child"

    assert ended_well(in_child(child))
    assert client.get("/parent").text == "/parent"
    assert [seen.connection for seen in peer.seen] == [1, 2, 1]


def test_happy_eyeballs(serve: Serve, make: Make) -> None:
    """Addresses that refuse or say nothing are passed over; names are looked up once, failures are remembered."""
    peer = serve(lambda seen: answer(seen.fields["host"]))
    lookups: list[str] = []
    silent = socket.socket()
    silent.bind(("127.0.0.1", 0))
    silent.listen(0)
    fillers = [socket.socket() for _ in range(3)]
    for one in fillers:
        one.setblocking(False)
        one.connect_ex(silent.getsockname())

    def lookup(host: str, port: int) -> list[Any]:
        lookups.append(host)
        if host == "none.invalid":
            raise OSError(-2, "Name or service not known")
        good = (socket.AF_INET, ("127.0.0.1", port))
        return [
            (socket.AF_INET6, ("::1", 1)),
            (socket.AF_INET, ("127.0.0.1", 1)),
            (socket.AF_INET, silent.getsockname()),
            good,
        ]

    try:
        client = make(resolver=http.Resolver(lookup), retries=None)
        for host in ("one.invalid", "one.invalid", "two.invalid"):
            assert client.get(f"http://{host}:{peer.port}/").text == f"{host}:{peer.port}"
        answers = [gevent.spawn(client.get, f"http://three.invalid:{peer.port}/") for _ in range(5)]
        assert [a.get().status for a in answers] == [200] * 5
        for _ in range(2):
            with pytest.raises(http.ConnectFailed, match="Name or service not known"):
                client.get("http://none.invalid/")
    finally:
        for one in (silent, *fillers):
            one.close()
    assert lookups == ["one.invalid", "two.invalid", "three.invalid", "none.invalid"]


def test_lookups_of_names(serve: Serve, make: Make) -> None:
    """By the system, from /etc/hosts, in greenlets and threads; and names that are none."""
    peer = serve(lambda seen: answer(seen.fields["host"]))
    client = make(resolver=http.Resolver(SystemLookup()), retries=None)
    ask = lambda: client.get(f"http://localhost:{peer.port}/").text  # noqa: E731
    assert ask() == in_thread(ask, hub=True).result(PATIENCE) == f"localhost:{peer.port}"
    with pytest.raises(http.ConnectFailed):
        client.get(f"http://{'x' * 64}.invalid/")


def test_old_addresses_are_better_than_none() -> None:
    now = [0.0]
    results: list[Any] = [[(2, ("127.0.0.1", 1))], OSError("down"), OSError("down"), [(2, ("127.0.0.2", 1))]]

    def lookup(host: str, port: int) -> Any:
        result = results.pop(0)
        if isinstance(result, OSError):
            raise result
        return result

    resolver = http.Resolver(lookup, ttl=30, stale=100, clock=lambda: now[0])
    for at, expected in ((0, "127.0.0.1"), (29, "127.0.0.1"), (60, "127.0.0.1"), (200, None), (202, "127.0.0.2")):
        now[0] = at
        try:
            found = resolver.resolve("x.invalid", 1, PATIENCE)[0][1][0]
        except OSError:
            found = None
        assert found == expected, at
    assert results == []


def test_redirect_to_a_dead_host_closes_everything(serve: Serve, make: Make) -> None:
    peer = serve(lambda seen: redirect("http://127.0.0.1:1/"))
    client = make(peer.url, retries=None)
    with pytest.raises(http.ConnectFailed, match=r"http://127.0.0.1:1/: "):
        client.stream("GET", "/")

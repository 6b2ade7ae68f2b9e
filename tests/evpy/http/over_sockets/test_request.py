"""What a handler gets to know of a request, wherever it asks."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from serving import Answer, Client, Server

APP = """
import contextvars, threading, time
import gevent
import evpy
from evpy import ClientDisconnected, HTTPError, Router, current_request

handle = Router()
mine = contextvars.ContextVar("mine", default="fresh")
kept = {}

@handle.route("/all/{rest:path}", methods=["GET", "POST", "BREW"])
def everything(request, rest):
    return {
        "method": request.method, "path": request.path, "raw_path": request.raw_path, "rest": rest,
        "target": request.target, "query": request.query.pairs(), "first": request.query.get("a"),
        "cookies": request.cookies, "headers": request.headers.pairs(), "accepts": request.headers.get_all("ACCEPT"),
        "host": request.host, "scheme": request.scheme, "server": request.server, "client": request.client,
        "version": request.http_version, "id": request.id, "left": request.deadline - time.monotonic(),
        "length": request.content_length, "has_body": request.has_body, "type": request.content_type,
        "disconnected": request.disconnected, "body": request.body.decode(),
    }

@handle.post("/json")
def json(request):
    return {"got": request.json}

@handle.post("/form")
def form(request):
    return request.form.pairs()

@handle.post("/text")
def text(request):
    return request.text

@handle.post("/stream")
def stream(request):
    sizes = [len(piece) for piece in request.stream]
    return {"sum": sum(sizes), "most": max(sizes, default=0)}

@handle.post("/twice")
def twice(request):
    next(iter(request.stream))
    return request.body

@handle.post("/again")
def again(request):
    return [request.body.decode(), request.text, request.stream.read().decode()]

def ident():
    return current_request().id

@handle.get("/current")
def current(request):
    below = [evpy.spawn(ident).get(), gevent.spawn(ident).get(), *evpy.gather(ident, lambda: evpy.spawn(ident).get())]
    thread = threading.Thread(target=lambda: below.append(ident()))
    thread.start()
    thread.join()
    return {"id": request.id, "same": current_request() is request, "below": below}

meeting = threading.Barrier(5, timeout=15)

@handle.get("/meet")
def meet(request):
    before = ident()
    meeting.wait()  # all five are in their handlers now
    return [before, ident(), evpy.spawn(ident).get(), request.query["n"]]

@handle.get("/context")
def context(request):
    found = mine.get()
    mine.set(request.query["n"])
    below = evpy.spawn(lambda: (mine.get(), mine.set("below"))[0]).get()
    return [found, below, mine.get()]

@handle.get("/keep")
def keep(request):
    kept["request"] = request
    return "kept"

@handle.get("/kept")
def what_was_kept(request):
    old, found = kept["request"], []
    for name in ("method", "headers", "body", "deadline"):
        try:
            found.append(repr(getattr(old, name)))
        except RuntimeError as error:
            found.append(str(error))
    return [old.disconnected, repr(old), *found]

@handle.get("/outside")
def outside(request):
    found = []
    done = gevent.event.Event()
    def task():
        try:
            found.append(current_request().id)
        except RuntimeError as error:
            found.append(str(error))
        done.set()
    evpy.background(task)
    done.wait()
    return found
"""
FORM = "Content-Type: application/x-www-form-urlencoded"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(APP, "--timeout", "20", "--max-body", "1M")


def post(server: Server, target: str, body: bytes, *fields: str) -> Answer:
    with server.client() as client:
        return client.post(target, body, *fields)


def test_everything_about_a_request(server: Server) -> None:
    with server.client() as client:
        answer = client.post(
            "/all/a%20b/%C3%BC%2Fx?a=1&a=2&b=%26&c",
            b"body",
            "Accept: text/html",
            "accept: */*",
            "Cookie: one=1; two=zwei; bad",
            "Content-Type: Text/Plain; charset=utf-8",
        ).json()
        port = client.socket.getsockname()[1]
    left, request_id, headers = answer.pop("left"), answer.pop("id"), answer.pop("headers")
    assert answer == {
        "method": "POST",
        "path": "/all/a b/ü/x",
        "raw_path": "/all/a%20b/%C3%BC%2Fx",
        "rest": "a b/ü/x",
        "target": "/all/a%20b/%C3%BC%2Fx?a=1&a=2&b=%26&c",
        "query": [["a", "1"], ["a", "2"], ["b", "&"], ["c", ""]],
        "first": "1",
        "cookies": {"one": "1", "two": "zwei"},
        "accepts": ["text/html", "*/*"],
        "host": "test",
        "scheme": "http",
        "server": f"127.0.0.1:{server.port}",
        "client": ["127.0.0.1", port],
        "version": "1.1",
        "length": 4,
        "has_body": True,
        "type": "text/plain",
        "disconnected": False,
        "body": "body",
    }
    assert 0 < left <= 20
    assert re.fullmatch("[0-9a-f]{16}", request_id)
    assert [name for name, _ in headers] == ["Host", "Content-Length", "Accept", "accept", "Cookie", "Content-Type"]


def test_ids_are_unique(server: Server) -> None:
    with server.client() as client:
        ids = {client.get("/all/x").json()["id"] for _ in range(100)}
    assert len(ids) == 100


def test_a_path_or_query_that_is_no_utf_8_is_the_clients_mistake(server: Server) -> None:
    assert server.get("/all/%FF").status == 400
    assert b"query string" in server.get("/all/x?a=%FF").body


@pytest.mark.parametrize("size", [0, 10, 65536, 65537, 900_000])
@pytest.mark.parametrize("chunked", [False, True])
def test_bodies_of_every_size(server: Server, size: int, chunked: bool) -> None:
    with server.client() as client:
        if chunked:
            client.send(b"POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
            for start in range(0, size, 50_000):
                n = min(50_000, size - start)
                client.send(b"%x\r\n%b\r\n" % (n, b"x" * n))
            client.send(b"0\r\n\r\n")
            answer = client.answer()
        else:
            answer = client.post("/stream", b"x" * size)
        assert answer.json()["sum"] == size
        assert answer.json()["most"] <= 65536
        assert client.get("/all/after").status == 200


def test_a_body_of_undeclared_length_beyond_the_limit(server: Server) -> None:
    with server.client() as client:
        client.send(b"POST /stream HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(20):
            client.send_leniently(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        assert client.answer().status == 413
        assert client.is_closed()


def test_json(server: Server) -> None:
    assert post(server, "/json", b'{"a": [1, "\xc3\xbc"]}').json() == {"got": {"a": [1, "ü"]}}
    answer = post(server, "/json", b'{"a": 1,\n"b" 2}')
    assert answer.status == 400
    assert b"line 2 column 5" in answer.body
    assert b"the body is empty" in post(server, "/json", b"").body


def test_forms(server: Server) -> None:
    assert post(server, "/form", b"a=1&b=%C3%BC+%26&a=2", FORM).json() == [["a", "1"], ["b", "ü &"], ["a", "2"]]
    multipart = (
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n'
        b'--x\r\nContent-Disposition: form-data; name="b"\r\n\r\n\xc3\xbc\r\n--x--\r\n'
    )
    answer = post(server, "/form", multipart, "Content-Type: multipart/form-data; boundary=x")
    assert answer.json() == [["a", "1"], ["b", "ü"]]
    assert post(server, "/form", b"a=1", "Content-Type: application/json").status == 415


def test_text_in_its_charset(server: Server) -> None:
    assert post(server, "/text", b"\xfc", "Content-Type: text/plain; charset=latin-1").body == "ü".encode()
    assert post(server, "/text", b"\xfc").status == 400
    assert post(server, "/text", b"x", "Content-Type: text/plain; charset=klingon").status == 415


def test_a_body_is_consumed_once(server: Server) -> None:
    assert post(server, "/again", b"abc").json() == ["abc", "abc", "abc"]
    assert post(server, "/twice", b"abc").status == 500
    server.wait_log("the body was already consumed by request.stream or request.form")


def test_the_current_request_is_known_everywhere_below(server: Server) -> None:
    with server.client() as client:
        for _ in range(3):
            found = client.get("/current").json()
            assert found["same"] is True
            assert found["below"] == [found["id"]] * 5


def test_requests_at_the_same_time_do_not_mix(server: Server) -> None:
    clients = [Client(server.address) for _ in range(5)]
    for n, client in enumerate(clients):
        client.send(f"GET /meet?n={n} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    found: list[list[str]] = [client.answer().json() for client in clients]
    for client in clients:
        client.close()
    assert [n for *_, n in found] == list("01234")
    assert all(len(set(ids)) == 1 for *ids, _ in found)
    assert len({ids[0] for ids in found}) == 5


def test_each_request_has_fresh_context_variables(server: Server) -> None:
    """Greenlets are used again; what one request has left in its context is not there for the next."""
    with server.client() as client:
        for n in range(5):
            assert client.get(f"/context?n={n}").json() == ["fresh", str(n), str(n)]


def test_a_background_task_has_no_request(server: Server) -> None:
    (found,) = server.get("/outside").json()
    assert "outside of a request" in found


def test_a_request_that_is_over_says_so(server: Server) -> None:
    """Its slab belongs to another request by then: no field of that one may be shown."""
    with server.client() as client:
        client.get("/keep")
        disconnected, shown, *fields = client.get("/kept").json()
    assert disconnected is True
    assert shown == "<Request that is over>"
    assert len(fields) == 4
    assert all("the request is over" in field for field in fields)


def test_many_requests_on_many_connections(server: Server) -> None:
    """Each connection gets its own answers, in order."""
    failures: list[Any] = []

    def talk(name: int) -> None:
        with server.client() as client:
            for n in range(50):
                answer = client.post(f"/all/{name}/{n}", str(n).encode()).json()
                if (answer["path"], answer["body"]) != (f"/all/{name}/{n}", str(n)):
                    failures.append((name, n, answer))

    threads = [threading.Thread(target=talk, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []

"""What a client sees when a handler fails, and what the log says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from serving import Server

APP = """
import sys
import gevent
from evpy import ClientDisconnected, HTTPError, Response, Router, current_request

router = Router()
EVIL = "a\\r\\nSet-Cookie: evil=1\\r\\n\\r\\nevil body"

@router.get("/ok")
def ok(request):
    return "fine"

@router.get("/http-error/{status:int}")
def http_error(request, status):
    raise HTTPError(status, "because", {"X-Why": "so", "Content-Length": "7"})

@router.get("/cause")
def cause(request):
    try:
        {}["inner secret"]
    except KeyError as error:
        raise HTTPError(503, "later", {"Retry-After": "9"}) from error

@router.get("/boom")
def boom(request):
    password = "hunter2"
    visible = "<i>" + "value of a local"
    raise ValueError("secret <b>inside</b>")

@router.get("/exit")
def leave(request):
    sys.exit("good-bye")

@router.get("/interrupt")
def interrupt(request):
    raise KeyboardInterrupt

@router.get("/killed")
def killed(request):
    raise gevent.GreenletExit

class Unprintable(Exception):
    def __str__(self):
        raise RuntimeError("no")

@router.get("/unprintable")
def unprintable(request):
    raise Unprintable

@router.get("/evil/response")
def evil_response(request):
    return Response("x", headers={"X-A": EVIL})

@router.get("/evil/set")
def evil_set(request):
    response = Response("x")
    response.headers["X-A"] = EVIL
    return response

@router.get("/evil/tuple")
def evil_tuple(request):
    return "x", 200, {"X-A": EVIL}

@router.get("/evil/name")
def evil_name(request):
    return "x", 200, {"X-A: b\\r\\nEvil": "1"}

@router.get("/evil/cookie")
def evil_cookie(request):
    response = Response("x")
    response.set_cookie("a", EVIL)
    return response

@router.get("/evil/redirect")
def evil_redirect(request):
    return Response.redirect("/" + EVIL)

@router.get("/evil/error")
def evil_error(request):
    raise HTTPError(400, "x", {"X-A": EVIL})

@router.get("/evil/core")
def evil_core(request):
    request.respond(200, [("X-A", EVIL)], b"x")

@router.get("/evil/core-stream")
def evil_core_stream(request):
    request.start_response(200, [("X-Good", "1"), ("X-A", EVIL)], None)

@router.get("/evil/framing")
def evil_framing(request):
    return "x", 200, {"Transfer-Encoding": "chunked"}

handle = router
"""


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(APP)


@pytest.fixture(scope="module")
def debugging(serve: Callable[..., Server]) -> Server:
    return serve(APP, "--debug")


def raw(server: Server, path: str) -> bytes:
    with server.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode())
        return client.rest()


@pytest.mark.parametrize("status", [400, 404, 418, 451, 500, 599])
def test_an_http_error_is_the_answer(server: Server, status: int) -> None:
    answer = server.get(f"/http-error/{status}")
    assert answer.status == status
    assert answer.header("x-why") == "so"
    assert answer.header("content-type") == "text/plain; charset=utf-8"
    assert answer.body.startswith(f"{status} ".encode())
    assert b": because\n" in answer.body
    assert (b"request id" in answer.body) == (status >= 500)
    problem = server.get(f"/http-error/{status}", "Accept: application/json")
    assert problem.header("content-type") == "application/problem+json"
    found = problem.json()
    assert (found["status"], found["detail"]) == (status, "because")
    assert re.fullmatch("[0-9a-f]{16}", found["request_id"])


def test_the_cause_of_an_http_error_is_for_the_log(server: Server) -> None:
    answer = server.get("/cause")
    assert (answer.status, answer.header("retry-after")) == (503, "9")
    assert b"inner secret" not in answer.body
    server.wait_log("KeyError: 'inner secret'")


@pytest.mark.parametrize("accept", ["*/*", "application/json", "text/html"])
def test_an_exception_shows_nothing_of_the_inside(server: Server, accept: str) -> None:
    with server.client() as client:
        answer = client.get("/boom", f"Accept: {accept}")
        assert answer.status == 500
        for inside in (b"secret", b"ValueError", b"Traceback", b"main.py", b"hunter2"):
            assert inside not in answer.body
        request_id = (re.search(rb"[0-9a-f]{16}", answer.body) or [b""])[0].decode()
        assert client.get("/ok").status == 200
    server.wait_log(rf"request {request_id} GET /boom: ValueError: secret <b>inside</b>\n  Traceback .*\n.*main\.py")


def test_the_traceback_begins_with_the_application(server: Server) -> None:
    server.get("/boom")
    lines = server.wait_log(r"Traceback .*\n( +[^ \n].*\n)*? +ValueError: secret", 1)[0].splitlines()
    assert "main.py" in lines[1]
    assert not any("site-packages/evpy" in line for line in lines)


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/exit", r"the handler called sys\.exit\('good-bye'\)"),
        ("/interrupt", "KeyboardInterrupt"),
        ("/killed", "GreenletExit"),
        ("/unprintable", "Unprintable"),
    ],
)
def test_whatever_a_handler_raises_ends_its_request_only(server: Server, path: str, says: str) -> None:
    with server.client() as client:
        assert client.get(path).status == 500
        assert client.get("/ok").body == b"fine"
    server.wait_log(rf"GET {path}: .*{says}")


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/evil/response", r"ValueError: response header X-A: '\\r' at position 1 is not allowed"),
        ("/evil/set", "ValueError: response header X-A: "),
        ("/evil/tuple", "evil_tuple.* response header X-A: "),
        ("/evil/name", "a name is made of ASCII letters"),
        ("/evil/cookie", "ValueError: cookie a: "),
        ("/evil/redirect", "ValueError: redirect: "),
        ("/evil/error", "response header X-A: "),
        ("/evil/core", "ValueError: response header 'X-A': the value .* has CR, LF, NUL"),
        ("/evil/core-stream", "ValueError: response header 'X-A': the value .* has CR, LF, NUL"),
        ("/evil/framing", "the server alone decides how messages are framed"),
    ],
)
def test_nothing_of_a_bad_field_reaches_the_wire(server: Server, path: str, says: str) -> None:
    data = raw(server, path)
    assert data.startswith(b"HTTP/1.1 500 ")
    assert b"evil" not in data.lower().replace(path.encode(), b"")
    assert b"x-good" not in data.lower(), "nor of the fields before it"
    assert data.count(b"HTTP/1.1") == 1
    server.wait_log(says)


def test_debug_shows_a_page(debugging: Server) -> None:
    answer = debugging.get("/boom", "Accept: text/html", "Cookie: session=1234567")
    assert answer.status == 500
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert answer.header("cache-control") == "no-store"
    page = answer.body.decode()
    assert "ValueError: secret &lt;b&gt;inside&lt;/b&gt;" in page
    assert 'raise ValueError("secret' in page.replace("&quot;", '"').replace("&#x27;", "'"), "the line of the source"
    assert "&lt;i&gt;value of a local" in page
    assert "hunter2" not in page.split("<h2>Traceback</h2>")[0].replace("password = &quot;hunter2&quot;", "")
    assert "1234567" not in page
    assert "<b>inside" not in page


def test_debug_tells_programs_the_traceback(debugging: Server) -> None:
    problem = json.loads(debugging.get("/boom", "Accept: application/json").body)
    assert problem["status"] == 500
    assert "ValueError: secret" in problem["detail"]
    assert "main.py" in problem["detail"]


def test_debug_leaves_http_errors_as_they_are(debugging: Server) -> None:
    assert debugging.get("/http-error/404", "Accept: text/html").body == b"404 Not Found: because\n"

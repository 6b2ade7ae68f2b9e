"""What handlers may return, and how it arrives."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from serving import Server

APP = """
import dataclasses, datetime
from evpy import Response

@dataclasses.dataclass
class Point:
    x: int
    when: datetime.date

def numbers():
    yield "one "
    yield b"two "
    yield ""
    yield bytearray(b"three")

def never():
    return
    yield

class Pieces:
    def __iter__(self):
        return iter(["a", "b"])

def cookies():
    response = Response("set")
    response.set_cookie("a", "1")
    response.set_cookie("b", "two words; and=more", max_age=60, secure=True, samesite="Strict", httponly=False)
    response.delete_cookie("c")
    return response

def many_fields():
    return Response("", headers={"Link": ["<a>", "<b>"], "X-One": "1"})

def first_bad():
    yield 5

def then_bad():
    yield "fine"
    yield 5

def raises_first():
    raise ValueError("early")
    yield

def raises_later():
    yield b"x" * 100000
    raise ValueError("late")

class Handler:
    async def coroutine(self):
        pass

MAKE = {
    "/str": lambda: "grün",
    "/empty-str": lambda: "",
    "/bytes": lambda: b"\\x00\\xff",
    "/dict": lambda: {"a": [1, 2.5, None, True, "ü"]},
    "/list": lambda: [],
    "/none": lambda: None,
    "/response": lambda: Response("hi", 201, {"X-Mine": "yes"}, content_type="text/x-mine"),
    "/two": lambda: ("gone", 410),
    "/three": lambda: ({"made": True}, 201, {"Location": "/x"}),
    "/none-and-status": lambda: (None, 202),
    "/generator": lambda: numbers(),
    "/empty-generator": lambda: never(),
    "/iterator": lambda: iter([b"a", "b"]),
    "/generator-and-status": lambda: (numbers(), 203),
    "/json": lambda: Response.json(Point(1, datetime.date(2026, 1, 2)), 203),
    "/redirect": lambda: Response.redirect("/ü?a=b c"),
    "/stream": lambda: Response.stream(["a", "b"], content_type="text/css"),
    "/stream-of-known-length": lambda: Response.stream(["a", "b"], headers={"Content-Length": "2"}),
    "/memoryview": lambda: Response(memoryview(b"abc")),
    "/no-content": lambda: Response(status=204),
    "/large": lambda: "0123456789" * 100000,
    "/cookies": cookies,
    "/many-fields": many_fields,
    "/number": lambda: 42,
    "/set": lambda: {1},
    "/iterable": lambda: Pieces(),
    "/coroutine": lambda: Handler().coroutine(),
    "/four": lambda: ("a", 200, {}, 4),
    "/status-99": lambda: ("a", 99),
    "/status-text": lambda: ("a", "200"),
    "/response-in-tuple": lambda: (Response("a"), 200),
    "/204-with-body": lambda: ("a", 204),
    "/not-json": lambda: {"a": object()},
    "/first-bad": first_bad,
    "/too-short": lambda: Response.stream(["a"], headers={"Content-Length": "2"}),
    "/too-long": lambda: Response.stream(["abc"], headers={"Content-Length": "2"}),
    "/wrong-length": lambda: Response("abc", headers={"Content-Length": "2"}),
    "/then-bad": then_bad,
    "/raises-first": raises_first,
    "/raises-later": raises_later,
}

def handle(request):
    return MAKE[request.path]()
"""
TEXT, BINARY, JSON = "text/plain; charset=utf-8", "application/octet-stream", "application/json"


@pytest.fixture(scope="module")
def server(serve: Callable[..., Server]) -> Server:
    return serve(APP)


@pytest.mark.parametrize(
    ("path", "status", "content_type", "body"),
    [
        ("/str", 200, TEXT, "grün".encode()),
        ("/empty-str", 200, TEXT, b""),
        ("/bytes", 200, BINARY, b"\0\xff"),
        ("/dict", 200, JSON, '{"a":[1,2.5,null,true,"ü"]}'.encode()),
        ("/list", 200, JSON, b"[]"),
        ("/none", 204, None, b""),
        ("/response", 201, "text/x-mine", b"hi"),
        ("/two", 410, TEXT, b"gone"),
        ("/three", 201, JSON, b'{"made":true}'),
        ("/none-and-status", 202, None, b""),
        ("/generator", 200, TEXT, b"one two three"),
        ("/empty-generator", 200, None, b""),
        ("/iterator", 200, BINARY, b"ab"),
        ("/generator-and-status", 203, TEXT, b"one two three"),
        ("/json", 203, JSON, b'{"x":1,"when":"2026-01-02"}'),
        ("/redirect", 302, None, b""),
        ("/stream", 200, "text/css", b"ab"),
        ("/stream-of-known-length", 200, TEXT, b"ab"),
        ("/memoryview", 200, BINARY, b"abc"),
        ("/no-content", 204, None, b""),
        ("/large", 200, TEXT, b"0123456789" * 100000),
    ],
)
def test_every_kind_of_result(server: Server, path: str, status: int, content_type: str | None, body: bytes) -> None:
    with server.client() as client:
        for _ in range(2):  # on the same connection: nothing of the first one is left
            answer = client.get(path)
            assert (answer.status, answer.header("content-type"), answer.body) == (status, content_type, body)
            chunked = answer.header("transfer-encoding") == "chunked"
            assert chunked == (path in ("/generator", "/iterator", "/generator-and-status", "/stream"))
            length = answer.header("content-length")
            assert length == (None if chunked or status == 204 else str(len(body)))
        client.send(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = client.answer("HEAD")
        assert (head.status, head.header("content-type")) == (status, content_type)
        assert client.get("/str").status == 200


def test_fields_of_responses(server: Server) -> None:
    answer = server.get("/response")
    assert (answer.reason, answer.header("x-mine")) == ("Created", "yes")
    assert server.get("/three").header("location") == "/x"
    assert server.get("/redirect").header("location") == "/%C3%BC?a=b%20c"
    assert [field for field in server.get("/many-fields").headers if field[0] in ("link", "x-one")] == [
        ("link", "<a>"),
        ("link", "<b>"),
        ("x-one", "1"),
    ]


def test_several_cookies_are_several_fields(server: Server) -> None:
    fields = [value for name, value in server.get("/cookies").headers if name == "set-cookie"]
    assert len(fields) == 3
    assert fields[0].split("; ")[0] == "a=1"
    assert {"HttpOnly", "Path=/", "SameSite=Lax"} <= set(fields[0].split("; "))
    assert {"Secure", "SameSite=Strict", "Max-Age=60"} <= set(fields[1].split("; "))
    assert "HttpOnly" not in fields[1]
    assert fields[2].startswith("c=")
    assert "Max-Age=0" in fields[2]


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/number", r"returned int: int cannot be a body"),
        ("/set", r"returned set: set cannot be a body; .*list\(\.\.\.\) makes it JSON"),
        ("/iterable", r"returned Pieces: .*Response\.stream"),
        ("/coroutine", r"returned coroutine: .*write def, not async def"),
        ("/four", r"returned \(str, int, dict, int\): a tuple is"),
        ("/status-99", r"the status of a response is 200 to 599, not 99"),
        ("/status-text", r"a status is an int, not str"),
        ("/response-in-tuple", r"a Response has a status and headers of its own"),
        ("/204-with-body", r"a response with status 204 has no body"),
        ("/not-json", r"handle\(\) \(.*main\.py:\d+\) returned dict: Encoding objects of type object is unsupported"),
        ("/first-bad", r"first_bad\(\) \(.*main\.py:\d+\): a stream yields str or bytes, this one yielded int"),
        ("/wrong-length", r"Content-Length is 2, but the body has 3 bytes"),
    ],
)
def test_an_impossible_result_is_500_and_a_line_that_says_what_and_where(server: Server, path: str, says: str) -> None:
    with server.client() as client:
        answer = client.get(path)
        assert answer.status == 500
        assert re.fullmatch(rb"500 Internal Server Error\nrequest id: [0-9a-f]{16}\n", answer.body)
        request_id = answer.body.split()[-1].decode()
        server.wait_log(rf"request {request_id} GET {path}: .*{says}")
        assert client.get("/str").status == 200, "the connection goes on"


@pytest.mark.parametrize("path", ["/then-bad", "/raises-later", "/too-short", "/too-long"])
def test_what_breaks_off_is_not_taken_for_whole(server: Server, path: str) -> None:
    with server.client() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        head = client.head()
        assert head.status == 200
        with pytest.raises(EOFError):
            client.body(head)
    server.wait_log(rf"GET {path} \(the response had begun: aborted\): ")


def test_a_generator_that_fails_at_once_is_500(server: Server) -> None:
    assert server.get("/raises-first").status == 500
    server.wait_log("ValueError: early")

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import ClientDisconnected
from evpy.http.response import BINARY, JSON, TEXT, Response, Unsendable


def send(fake, response: Response, method: str = "GET", **options):
    request = fake(method, **options)
    response._send(request)
    return request


@pytest.mark.parametrize(
    ("body", "sent", "content_type"),
    [
        ("h\xe9", "h\xe9".encode(), TEXT),
        (b"\x00\xff", b"\x00\xff", BINARY),
        (bytearray(b"ab"), b"ab", BINARY),
        (memoryview(b"ab"), b"ab", BINARY),
        ({"a": [1]}, b'{"a":[1]}', JSON),
        ([1, "x"], b'[1,"x"]', JSON),
        (None, b"", None),
        ("<html>", b"<html>", TEXT),  # no magic
    ],
)
def test_bodies(fake, body, sent: bytes, content_type: str | None) -> None:
    r = send(fake, Response(body))
    assert (r.status, r.answer, r.got("content-type"), r.ended) == (200, sent, content_type, True)


def test_content_type_can_be_given(fake) -> None:
    assert send(fake, Response("<p>", content_type="text/html")).got_all("Content-Type") == ["text/html"]
    assert send(fake, Response("<p>", headers={"content-type": "text/html"})).got_all("Content-Type") == ["text/html"]


def test_status_and_headers(fake) -> None:
    r = send(fake, Response("x", 404, [("X-A", "1"), ("X-A", "2")]))
    assert r.status == 404
    assert r.got_all("x-a") == ["1", "2"]


@pytest.mark.parametrize("status", [100, 199, 600, 0, -1])
def test_impossible_statuses(status: int) -> None:
    with pytest.raises(ValueError, match="200 to 599"):
        Response("x", status)


@pytest.mark.parametrize("status", ["200", 200.0, True, None])
def test_statuses_are_ints(status) -> None:
    with pytest.raises(TypeError, match="a status is an int"):
        Response("x", status)


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_a_body(fake, status: int) -> None:
    with pytest.raises(ValueError, match="has no body"):
        Response("x", status)
    assert send(fake, Response("", status)).status == status


async def coroutine() -> None: ...


async def async_generator():
    yield b""


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (1, "int cannot be a body$"),
        (1.5, "float cannot be a body"),
        ({1}, "set cannot be a body; Response.stream"),
        ((1, 2), "tuple cannot be a body"),
        (object(), "object cannot be a body"),
        (async_generator(), "write def, not async def"),
    ],
)
def test_impossible_bodies(body, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        Response(body)


def test_a_coroutine_is_no_body() -> None:
    waiting = coroutine()
    with pytest.raises(TypeError, match="write def, not async def"):
        Response(waiting)  # type: ignore[arg-type]
    waiting.close()


def test_headers_are_checked_when_they_are_set() -> None:
    with pytest.raises(ValueError, match="response header X"):
        Response("x", headers={"X": "a\r\nSet-Cookie: b"})
    with pytest.raises(ValueError, match="response header Content-Type"):
        Response("x", content_type="text/html\n")


def test_a_response_can_be_changed_until_it_is_sent(fake) -> None:
    response = Response("x")
    response.body = "y\xe9"  # type: ignore[assignment]
    response.status = 201
    response.headers["X-A"] = "1"
    r = send(fake, response)
    assert (r.status, r.answer, r.got("x-a")) == (201, "y\xe9".encode(), "1")
    response.status = 99
    with pytest.raises(Unsendable, match="200 to 599"):
        send(fake, response)
    response.status, response.body = 200, 7  # type: ignore[assignment]
    with pytest.raises(Unsendable, match="int cannot be a body"):
        send(fake, response)


def test_a_response_can_be_sent_twice(fake) -> None:
    response = Response({"a": 1}, headers={"X": "y"})
    first, second = send(fake, response), send(fake, response)
    assert (first.sent, first.answer) == (second.sent, second.answer)


def test_content_length(fake) -> None:
    assert send(fake, Response("abc", headers={"Content-Length": "3"})).answer == b"abc"
    for wrong in ("2", "4", "x", "-3", "", "\xb2"):
        with pytest.raises(Unsendable, match="Content-Length"):
            send(fake, Response("abc", headers={"Content-Length": wrong}))
    with pytest.raises(Unsendable, match="'3, 3' is not one number"):
        send(fake, Response("abc", headers=[("Content-Length", "3"), ("Content-Length", "3")]))
    head = send(fake, Response(None, headers={"Content-Length": "3"}), "HEAD")
    assert (head.declared, head.answer, head.ended) == (3, b"", True)
    assert send(fake, Response("abc"), "HEAD").declared == 3


# --- JSON, redirects, cookies


def test_json(fake) -> None:
    r = send(fake, Response.json({"a": (1, 2)}, 201, {"X": "y"}))
    assert (r.status, r.answer, r.got("content-type"), r.got("x")) == (201, b'{"a":[1,2]}', JSON, "y")
    assert send(fake, Response.json("text")).answer == b'"text"'
    with pytest.raises(TypeError):
        Response.json(object())


@pytest.mark.parametrize(
    ("location", "sent"),
    [
        ("/next?a=b&c=%20#x", "/next?a=b&c=%20#x"),
        ("https://[::1]:80/~a;b@c!$'()*+,", "https://[::1]:80/~a;b@c!$'()*+,"),
        ("/\xe9 x", "/%C3%A9%20x"),
        ("/\\evil.org", "/%5Cevil.org"),
        ('/"<>', "/%22%3C%3E"),
        ("../x", "../x"),
    ],
)
def test_redirects(fake, location: str, sent: str) -> None:
    r = send(fake, Response.redirect(location))
    assert (r.status, r.got("location"), r.answer) == (302, sent, b"")


def test_redirect_refuses() -> None:
    for location in ("/a\r\nSet-Cookie: x=1", "/a\n", "/\0"):
        with pytest.raises(ValueError, match="holds a line break"):
            Response.redirect(location)
    for status in (200, 300, 304, 305, 404):
        with pytest.raises(ValueError, match=r"redirect: the status is one of \[301, 302, 303, 307, 308\]"):
            Response.redirect("/", status)
    assert Response.redirect("/", 308).status == 308


@given(st.text())
def test_a_location_is_ascii_or_refused(location: str) -> None:
    try:
        sent = Response.redirect(location).headers["Location"]
    except ValueError:
        return
    assert sent.isascii()
    assert sent.isprintable()
    assert " " not in sent


def test_several_cookies(fake) -> None:
    response = Response("x")
    response.set_cookie("a", "1", max_age=5)
    response.set_cookie("b", "2", httponly=False, secure=True, samesite=None, path=None)
    response.delete_cookie("c", path="/app", domain="a.org")
    response.delete_cookie("__Host-d")
    assert send(fake, response).got_all("set-cookie") == [
        "a=1; HttpOnly; Max-Age=5; Path=/; SameSite=Lax",
        "b=2; Secure",
        'c=""; Domain=a.org; expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Max-Age=0; Path=/app; SameSite=Lax',
        '__Host-d=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Max-Age=0; Path=/; SameSite=Lax; Secure',
    ]
    with pytest.raises(ValueError, match="cookie a"):
        response.set_cookie("a", "\n")


# --- streams


class Pieces:
    """An iterator that knows whether it was closed."""

    def __init__(self, *pieces) -> None:
        self.pieces = list(pieces)
        self.closed = 0

    def __iter__(self):
        return self

    def __next__(self):
        if not self.pieces:
            raise StopIteration
        piece = self.pieces.pop(0)
        if isinstance(piece, Exception):
            raise piece
        return piece

    def close(self) -> None:
        self.closed += 1


def test_stream(fake) -> None:
    view = memoryview(b"0123456789")
    source = Pieces("h\xe9", b"", b"ab", bytearray(b"c"), view[::2], memoryview(b"\1\0\2\0").cast("H"))
    r = send(fake, Response(source, 201, {"X": "y"}))
    assert r.answer == "h\xe9".encode() + b"abc02468\1\0\2\0"
    assert (r.status, r.got("content-type"), r.got("x"), r.declared, r.ended) == (201, TEXT, "y", None, True)
    assert source.closed == 1


def test_the_first_piece_decides_on_the_type(fake) -> None:
    assert send(fake, Response.stream([b"x", "y"])).got("content-type") == BINARY
    assert send(fake, Response.stream(["x"], content_type="text/csv")).got_all("content-type") == ["text/csv"]
    empty = send(fake, Response.stream([]))
    assert (empty.got("content-type"), empty.declared, empty.ended) == (None, 0, True)


def test_stream_with_a_length(fake) -> None:
    assert send(fake, Response.stream([b"ab", b"c"], headers={"Content-Length": "3"})).declared == 3
    for pieces, complaint in (([b"ab"], "ended after 2 bytes"), ([b"ab", b"cd"], "yields more")):
        request, source = fake(), Pieces(*pieces)
        with pytest.raises(Unsendable, match=complaint):
            Response.stream(source, headers={"Content-Length": "3"})._send(request)
        assert not request.ended
        assert source.closed == 1


def test_a_failure_before_the_first_piece_leaves_the_response_free(fake) -> None:
    request, source = fake(), Pieces(KeyError("x"))
    with pytest.raises(KeyError):
        Response(source)._send(request)
    assert not request.response_started
    assert source.closed == 1


def test_a_failure_later_leaves_it_unended(fake) -> None:
    request, source = fake(), Pieces(b"a", KeyError("x"))
    with pytest.raises(KeyError):
        Response(source)._send(request)
    assert (request.response_started, request.ended, source.closed) == (True, False, 1)


def test_a_generator_is_closed_when_the_client_leaves(fake) -> None:
    log = []

    def pieces():
        try:
            while True:
                yield b"x" * 10
        finally:
            log.append("closed")

    request = fake(gone_after=25)
    with pytest.raises(ClientDisconnected):
        Response(pieces())._send(request)
    assert log == ["closed"]
    assert len(request.answer) == 20


def test_a_stream_yields_text_or_bytes(fake) -> None:
    source = Pieces(b"a", 7)
    with pytest.raises(Unsendable, match="a stream yields str or bytes, this one yielded int") as caught:
        send(fake, Response(source))
    assert caught.value.source is source
    assert source.closed == 1


def test_head_takes_one_piece_and_closes_before_the_end(fake) -> None:
    request = fake("HEAD")
    order = []

    def endless():
        try:
            while True:
                order.append("piece")
                yield "x"
        finally:
            order.append(f"closed, ended: {request.ended}")

    Response(endless())._send(request)
    assert order == ["piece", "closed, ended: False"]
    assert (request.got("content-type"), request.answer, request.ended) == (TEXT, b"", True)


def test_repr() -> None:
    assert repr(Response("abc", 404)) == "<Response 404 text/plain; charset=utf-8 3 bytes>"
    assert repr(Response.stream([], content_type="a/b")) == "<Response 200 a/b stream>"

"""What is sent and what comes back: methods, bodies, codings, redirects, cookies, proxies."""

from __future__ import annotations

import gzip
import io
import json
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import brotli
import gevent
import msgspec
import pytest
from flows import in_thread
from peers import Peer, Seen, answer, redirect

from service_utils import http

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Serve = Callable[..., Peer]
Make = Callable[..., http.Client]


def echo(seen: Seen) -> bytes:
    shown = {"method": seen.method, "target": seen.target, "body": seen.body.decode("latin-1"), **seen.fields}
    return answer(json.dumps(shown), content_type="application/json")


def test_get(serve: Serve, make: Make) -> None:
    peer = serve(echo)
    client = make(peer.url, headers={"X-Mine": "1"}, auth=("user", "pass"))
    response = client.get("/path?a=b", params={"q": ["x y", "é"], "none": None}, headers={"X-More": "é"})
    seen = response.json()
    assert (response.status, response.reason, response.ok) == (200, "OK", True)
    assert response.headers["content-TYPE"] == "application/json"
    assert seen["target"] == "/path?a=b&q=x+y&q=%C3%A9"
    assert seen["host"] == f"127.0.0.1:{peer.port}"
    assert (seen["x-mine"], seen["x-more"], seen["authorization"]) == ("1", "é", "Basic dXNlcjpwYXNz")
    assert "content-length" not in seen
    assert response.url == f"{peer.url}/path?a=b&q=x+y&q=%C3%A9"
    assert client.get("/", headers={"host": "other", "user-agent": "me"}).json()["host"] == "other"
    assert peer.connections == 1


def test_fields_of_the_client_come_once(serve: Serve, make: Make) -> None:
    """In place of those that are made for the request. (The peer refuses a field that comes twice.)"""
    other = serve(echo, host="127.0.0.2")
    peer = serve(lambda seen: redirect(other.url) if seen.target == "/away" else answer(Set_Cookie="jar=1"))
    client = make(peer.url, headers={"Host": "mine", "Content-Type": "text/x", "Cookie": "own=1"})
    for more in ({}, {"headers": {"X": "y"}}):
        client.post("/", json=1, **more)
    for seen in peer.seen:
        assert (seen.fields["host"], seen.fields["content-type"], seen.fields["cookie"]) == ("mine", "text/x", "own=1")
    away = client.get("/away").json()
    assert (away["host"], away.get("cookie")) == (f"127.0.0.2:{other.port}", None)


def test_bodies(serve: Serve, make: Make, tmp_path: Path) -> None:
    peer = serve(echo)
    client = make(peer.url)

    def sent(**more: Any) -> dict[str, str]:
        seen: dict[str, str] = client.post("/", **more).json()
        return seen

    assert sent()["content-length"] == "0"
    seen = sent(json={"a": [1, None, "é"]})
    assert (seen["body"].encode("latin-1").decode(), seen["content-type"]) == ('{"a":[1,null,"é"]}', "application/json")
    assert sent(json=None)["body"] == "null"
    assert sent(data={"a": "b c", "d": [1, 2]})["body"] == "a=b+c&d=1&d=2"
    assert sent(content="é")["content-type"] == "text/plain; charset=utf-8"
    seen = sent(content=(piece for piece in [b"one", b"", b"two"]))
    assert (seen["body"], seen["transfer-encoding"]) == ("onetwo", "chunked")
    big = bytes(range(256)) * 4000
    (tmp_path / "file.txt").write_bytes(big)
    with (tmp_path / "file.txt").open("rb") as file:
        seen = sent(content=file, headers={"Content-Type": "text/x"})
    assert seen["body"].encode("latin-1") == big
    assert (seen["content-length"], seen["content-type"]) == (str(len(big)), "text/x")
    seen = sent(data={"a": "1", 'b"\r\n': "2"}, files={"f": tmp_path / "file.txt", "g": http.File(b"x", 'g"\r\nX: y')})
    assert seen["content-length"] == str(len(seen["body"]))
    parts = seen["body"].split("--" + seen["content-type"].partition("boundary=")[2])
    assert parts[2] == '\r\nContent-Disposition: form-data; name="b%22%0D%0A"\r\n\r\n2\r\n'
    head, _, content = parts[3].partition("\r\n\r\n")
    assert head == '\r\nContent-Disposition: form-data; name="f"; filename="file.txt"\r\nContent-Type: text/plain'
    assert content.encode("latin-1") == big + b"\r\n"
    assert 'filename="g%22%0D%0AX: y"' in parts[4]
    for wrong in ({"json": object()}, {"json": 1, "content": b""}, {"data": b"x"}, {"content": 5},
                  {"content": ["text"]}, {"content": io.StringIO("text")}):  # fmt: skip
        with pytest.raises(http.InvalidRequest):
            sent(**wrong)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw", "zstd", "br", "gzip, br", "identity"])
def test_decompresses(serve: Serve, make: Make, coding: str) -> None:
    text = b"".join(b"%d " % n for n in range(50_000))
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "gzip": gzip.compress(text[:1000]) + gzip.compress(text[1000:]), "deflate": zlib.compress(text),
        "raw": raw.compress(text) + raw.flush(), "zstd": zstd.compress(text), "br": brotli.compress(text, quality=1),
        "gzip, br": brotli.compress(gzip.compress(text)), "identity": text,
    }  # fmt: skip
    body = bodies[coding]

    def respond(seen: Seen) -> bytes:
        assert seen.fields["accept-encoding"] == "gzip, deflate, zstd, br"
        return answer(body if seen.target == "/" else body[:-5], content_encoding=coding.replace("raw", "deflate"))

    client = make(serve(respond).url)
    assert client.get("/").content == text
    with client.stream("GET", "/") as response:
        pieces = list(response.iter_bytes())
    assert b"".join(pieces) == text
    assert max(map(len, pieces)) <= 2 * 65536
    if coding != "identity":
        with pytest.raises(http.ProtocolError, match=r"too early|not what Content-Encoding says"):
            client.get("/cut")


def test_json_and_text(serve: Serve, make: Make) -> None:
    class Item(msgspec.Struct):
        name: str

    client = make(serve(lambda seen: answer('{"name": "é"}'.encode("latin-1" if "latin" in seen.target else "utf-8"),
                                            content_type="text/plain; charset=iso-8859-1" if "latin" in seen.target
                                            else "text/plain")).url)  # fmt: skip
    assert client.get("/").json(Item) == Item("é")
    assert client.get("/").text == client.get("/latin").text == '{"name": "é"}'
    with pytest.raises(http.ProtocolError, match=r"GET http.*/: .*Expected `int`"):
        client.get("/").json(dict[str, int])


def test_statuses(serve: Serve, make: Make) -> None:
    client = make(serve(lambda seen: answer(b"no", seen.target[1:] + " Reason")).url)
    with pytest.raises(http.StatusError, match=r"GET http://.*/404: 404 Reason") as caught:
        client.get("/404").raise_for_status()
    assert (caught.value.status, caught.value.response.text) == (404, "no")
    assert client.get("/299").raise_for_status().ok


def test_head_and_interim_answers_and_close(serve: Serve, make: Make) -> None:
    def respond(seen: Seen) -> bytes:
        if seen.method == "HEAD":
            return b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
        if seen.target == "/204":
            return b"HTTP/1.1 204 No Content\r\n\r\n"
        if seen.target == "/close":
            return answer(b"last", connection="close")
        early = b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"
        chunked = (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
        )
        return early + chunked

    peer = serve(respond)
    client = make(peer.url)
    response = client.head("/")
    assert (response.headers["content-length"], response.content) == ("5", b"")
    response = client.get("/")
    assert (response.content, "link" in response.headers, "x-t" in response.headers) == (b"abcde", False, False)
    assert client.get("/204").content == b""
    assert client.get("/").content == b"abcde"
    assert peer.connections == 1
    assert client.get("/close").content == b"last"
    assert client.get("/").content == b"abcde"
    assert peer.connections == 2


def test_body_until_the_end_of_the_connection(serve: Serve, make: Make) -> None:
    peer = serve(talk=lambda visit: visit.request() and visit.send(b"HTTP/1.0 200 OK\r\n\r\nall of it"))
    client = make(peer.url)
    assert client.get("/").content == client.get("/").content == b"all of it"
    assert peer.connections == 2


def test_streams_both_ways(serve: Serve, make: Make) -> None:
    """The answer comes while the next piece is asked for; nothing is collected."""
    received, said = threading.Event(), threading.Event()

    def talk(visit: Any) -> None:
        visit.request(body=False)
        assert visit.file.readline() == b"5\r\n"
        assert visit.file.read(7) == b"first\r\n"
        received.set()
        assert visit.file.readline() == b"6\r\n"
        assert visit.file.read(13) == b"second\r\n0\r\n\r\n"
        visit.send(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none\n")
        assert said.wait(20)
        visit.send(b"two\r\n")
        visit.gone()

    def body() -> Iterator[bytes]:
        yield b"first"
        assert received.wait(20)
        yield b"second"

    with make(serve(talk=talk).url).stream("POST", "/", content=body()) as response:
        lines = response.iter_lines()
        assert next(lines) == "one"
        said.set()
        assert list(lines) == ["two"]


def test_early_answer_to_a_large_body(serve: Serve, make: Make) -> None:
    """The server answers and reads no further: that is the answer."""

    def talk(visit: Any) -> None:
        visit.request(body=False)
        visit.send(answer(b"too large", "413 Content Too Large"))
        visit.peer.done.wait(20)

    peer = serve(talk=talk)
    peer.done = threading.Event()  # type: ignore[attr-defined]
    try:
        response = make(peer.url).post("/", content=(bytes(65536) for _ in range(2000)))
        assert (response.status, response.content) == (413, b"too large")
        assert peer.connections == 1
    finally:
        peer.done.set()  # type: ignore[attr-defined]


def test_a_connection_on_which_a_body_was_left_is_not_used_again(serve: Serve, make: Make) -> None:
    """Its server would take the rest of that body for the next request."""

    def talk(visit: Any) -> None:
        seen = visit.request(body=False)
        visit.send(answer(seen.target))
        if seen.method == "POST":
            visit.peer.done.wait(20)

    peer = serve(talk=talk)
    peer.done = threading.Event()  # type: ignore[attr-defined]
    client = make(peer.url)
    try:
        assert client.post("/", content=(bytes(65536) for _ in range(2000))).text == "/"
        assert client.get("/next").text == "/next"
        assert peer.connections == 2
    finally:
        peer.done.set()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("status", "method", "then"),
    [("301 M", "POST", "GET"), ("302 F", "POST", "GET"), ("302 F", "PUT", "PUT"), ("303 S", "PUT", "GET"),
     ("303 S", "HEAD", "HEAD"), ("307 T", "POST", "POST"), ("308 P", "POST", "POST")],
)  # fmt: skip
def test_redirects(serve: Serve, make: Make, status: str, method: str, then: str) -> None:
    def respond(seen: Seen) -> bytes:
        if seen.target == "/a/b":
            return redirect("../c?d#e", status)
        return answer(b"" if seen.method == "HEAD" else f"{seen.method} {seen.target} {seen.body.decode()}")

    peer = serve(respond)
    response = make(peer.url).request(method, "/a/b", content=None if method == "HEAD" else b"body")
    assert response.text == ("" if then == "HEAD" else f"{then} /c?d {'' if then == 'GET' else 'body'}")
    assert (response.history[0].status, response.url, peer.seen[-1].method) == (
        int(status[:3]),
        f"{peer.url}/c?d",
        then,
    )
    assert ("content-type" in peer.seen[-1].fields) is False
    assert make(peer.url).get("/a/b", redirects=0).status == int(status[:3])
    if then == method != "HEAD":
        with pytest.raises(http.RedirectRefused, match="only once"):
            make(peer.url).request(method, "/a/b", content=iter([b"x"]))


def test_redirects_in_circles(serve: Serve, make: Make) -> None:
    steps = {"/a": redirect("/b"), "/b": redirect("/a"), "/self": redirect("/self"), "/file": redirect("file:///etc/x"),
             "/user": redirect("//me:pass@127.0.0.1/"), "/none": redirect("http://")}  # fmt: skip
    login = redirect("/login", set_cookie="known=1")

    def respond(seen: Seen) -> bytes:
        if seen.target == "/login":  # sets a cookie and comes back: no circle
            return answer(b"welcome") if "cookie" in seen.fields else login
        return steps.get(seen.target) or redirect(f"/{int(seen.target[1:]) + 1}")

    peer = serve(respond)
    client = make(peer.url)
    for start in ("/a", "/self"):
        with pytest.raises(http.RedirectRefused, match="circle"):
            client.get(start)
    assert len(peer.seen) == 3
    with pytest.raises(http.RedirectRefused, match="more than 10 redirects"):
        client.get("/1")
    for start in ("/file", "/user", "/none"):
        with pytest.raises(http.RedirectRefused) as caught:
            client.get(start)
        assert "pass" not in str(caught.value)
    assert client.get("/login").text == "welcome"
    with client.stream("GET", "/login") as response:
        assert response.read() == b"welcome"


def test_credentials_stay_with_their_host(serve: Serve, make: Make) -> None:
    other = serve(echo)
    peer = serve(lambda seen: redirect(f"{other.url}/x", "307 T") if seen.target == "/away" else echo(seen))
    secrets = {"X-Api-Key": "k", "Cookie": "a=b", "X-Plain": "p"}
    client = make(peer.url, auth="token")
    assert client.get("/", headers=secrets).json().items() >= {
        "authorization": "Bearer token", "x-api-key": "k", "cookie": "a=b", "x-plain": "p"}.items()  # fmt: skip
    seen = client.post("/away", headers=secrets, content=b"x").json()
    assert (seen["x-plain"], seen["body"]) == ("p", "x")
    assert not seen.keys() & {"authorization", "x-api-key", "cookie"}
    assert not client.get(other.url).json().keys() & {"authorization"}, "base_url says whose they are"
    url = peer.url.replace("//", "//me:se%40cret@")
    assert make().get(f"{url}/").json()["authorization"] == "Basic bWU6c2VAY3JldA=="
    response = make().get(f"{url}/away")
    assert "authorization" not in response.json()
    assert "se" not in repr(response) + repr(response.history)


def test_cookies(serve: Serve, make: Make) -> None:
    values = {
        "/set": "a=1; Path=/",
        "/deep/set": "b=2",
        "/foreign": "c=3; Domain=example.com",
        "/secure": "d=4; Secure",
        "/gone": "a=; Max-Age=0; Path=/",
    }

    def respond(seen: Seen) -> bytes:
        more = {"set_cookie": values[seen.target]} if seen.target in values else {}
        return answer(seen.fields.get("cookie", ""), **more)

    peer = serve(respond)
    client = make(peer.url)
    for path in ("/set", "/deep/set", "/foreign", "/secure"):
        client.get(path)
    assert client.get("/").text == "a=1"
    assert client.get("/deep/x").text == "b=2; a=1"
    other = serve(respond, host="127.0.0.2")
    assert client.get(other.url).text == ""
    assert client.get("/", headers={"Cookie": "own=1"}).text == "own=1"
    client.get("/gone")
    assert client.get("/").text == ""
    assert make(peer.url, cookies=False).gather("/set", "/")[1].text == ""


def test_proxy(serve: Serve, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    proxy = serve(echo)
    client = make(proxy=proxy.url.replace("//", "//user:pass@"))
    seen = client.get("http://example.invalid:81/x", auth="t").json()
    assert (seen["target"], seen["host"]) == ("http://example.invalid:81/x", "example.invalid:81")
    assert (seen["proxy-authorization"], seen["authorization"]) == ("Basic dXNlcjpwYXNz", "Bearer t")
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.setenv("no_proxy", "inside.invalid")
    client = make(proxy=http.environment_proxy)
    assert client.get("http://example.invalid/").json()["target"] == "http://example.invalid/"
    assert http.environment_proxy("http://inside.invalid/") is None
    assert http.environment_proxy("https://example.invalid/") is None


def test_gather(serve: Serve, make: Make) -> None:
    """At the same time: each answer waits until all requests are there."""
    barrier = threading.Barrier(3)

    def respond(seen: Seen) -> bytes:
        barrier.wait(20)
        return answer(f"{seen.method} {seen.target}")

    peer = serve(respond)
    client = make(peer.url)
    answers = client.gather("/a", {"url": "/b", "method": "POST", "json": 1}, f"{peer.url}/c")
    assert [a.text for a in answers] == ["GET /a", "POST /b", "GET /c"]
    failed = client.gather("http://127.0.0.1:1/", return_exceptions=True)
    assert isinstance(failed[0], http.ConnectFailed)


def test_one_client_for_all_kinds_of_callers(serve: Serve, make: Make) -> None:
    """Greenlets of two hubs and plain threads share its connections, and get their own answers."""
    peer = serve(lambda seen: answer(seen.target))
    client = make(peer.url, limit=3)

    def ask(who: int) -> None:
        for n in range(30):
            assert client.get(f"/{who}/{n}").text == f"/{who}/{n}"

    def hub(first: int) -> None:
        gevent.joinall([gevent.spawn(ask, who) for who in range(first, first + 5)], raise_error=True)

    flows = [in_thread(lambda f=first: hub(f), hub=True) for first in (0, 10)]  # type: ignore[misc]
    flows += [in_thread(lambda w=who: ask(w)) for who in (20, 21)]  # type: ignore[misc]
    for flow in flows:
        flow.result(60)
    assert peer.connections <= 3
    assert len(peer.seen) == 12 * 30


@pytest.mark.parametrize(
    "wrong",
    [{"url": "http://h/\r\nX: y"}, {"url": "http://h/ x"}, {"url": "ftp://h/"}, {"url": "//"}, {"url": "http://h:0/"},
     {"url": "http://h\\@x/"}, {"url": "http://h:99999/"}, {"url": "/x"}, {"url": "http://a_b..\x7f/"},
     {"headers": {"X": "a\r\nY: b"}}, {"headers": {"X\r\nY": "a"}}, {"headers": {"X": "a\0"}}, {"headers": {"X": "€"}},
     {"headers": {"Transfer-Encoding": "chunked"}}, {"headers": {"Content-Length": "5"}}, {"headers": {"X": 5}},
     {"headers": {"X:": "a"}}, {"method": "GET / HTTP/1.1\r\nX:"}, {"method": "CONNECT"}, {"auth": "a\r\nX: y"},
     {"auth": ("a:b", "c")}, {"auth": ("a", None)}, {"auth": ("a", "\ud800")}, {"url": "/\ud800"}, {"url": "http://[::1"},
     {"url": "http://u\ud800@h/"}, {"params": {"a": "\ud800"}}, {"data": {"a": "\ud800"}}, {"content": "\ud800"},
     {"files": {"a": http.File(b"x", name="\ud800")}}, {"headers": {"X": "\ud800"}}],
)  # fmt: skip
def test_injection_is_refused(serve: Serve, make: Make, wrong: dict[str, Any]) -> None:
    peer = serve(echo)
    with pytest.raises(http.InvalidRequest):
        make().request(**{"method": "GET", "url": peer.url, **wrong})
    assert peer.connections == 0


@pytest.mark.parametrize(
    "url",
    ["http://user:s3cret pass@h/", "http://user:s3cret@pass@h:99999/", "http://user:s3cret\u2100@h/", "x://u:s3cret@h/",
     "http://user:s3cret/pass@h/", "http://user:s3cret\n@h/", "http://us%3Aer:s3cret@h/"],
)  # fmt: skip
def test_errors_do_not_show_passwords(url: str) -> None:
    with pytest.raises(http.InvalidRequest) as caught:
        http.Client().get(url)
    assert "s3cret" not in str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__


def test_settings_are_checked() -> None:
    for wrong in ({"verify": False}, {"timeouts": 0}, {"timeouts": http.Timeouts(total=5), "base_url": "ftp://x"},
                  {"timeouts": "5"}, {"timeouts": (1, 2)}, {"headers": {"a b": "c"}}):  # fmt: skip
        with pytest.raises(ValueError, match=r"\w"):
            http.Client(**wrong)
    for wrong, says in (({"verify": "/no/such"}, "verify='/no/such' cannot"), ({"proxy": "socks5://x"}, "proxy: URL"),
                        ({"certificate": "/no/such"}, "certificate=/no/such cannot")):  # fmt: skip
        with pytest.raises(http.InvalidRequest, match=says):
            http.Client(**wrong).get("https://127.0.0.1:1/")

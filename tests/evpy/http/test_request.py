from __future__ import annotations

import contextvars
import gc
import weakref

import gevent
import pytest

from evpy.errors import HTTPError
from evpy.http import request as module
from evpy.http.request import current_request, install_context_inheritance


def test_path_and_query(fake) -> None:
    r = fake("GET", "/caf%C3%A9/a%2Fb?x=1&x=2&y=%20")
    assert r.path == "/caf\xe9/a/b"
    assert r.raw_path == "/caf%C3%A9/a%2Fb"
    assert r.query["x"] == "1"
    assert r.query.get_all("x") == ["1", "2"]
    assert r.query["y"] == " "
    with pytest.raises(HTTPError, match="400 query parameter 'z' is missing"):
        r.query["z"]
    assert fake("GET", "/\xc3\xa9").path == "/\xe9"  # raw octets
    assert fake("GET", "/100%").path == "/100%"


@pytest.mark.parametrize("target", ["/%FF", "/\xe9", "/%C3"])
def test_a_path_that_is_not_utf8(fake, target: str) -> None:
    with pytest.raises(HTTPError, match="400 the path is not UTF-8"):
        fake("GET", target).path  # noqa: B018


def test_headers_and_cookies(fake) -> None:
    r = fake(headers=[("Accept", "a"), ("accept", "b"), ("Cookie", "a=1"), ("cookie", "b=2; a=3")])
    assert r.headers.get_all("ACCEPT") == ["a", "b"]
    assert r.cookies == {"a": "1", "b": "2"}
    assert fake().cookies == {}
    assert fake().content_type == ""
    assert fake(headers={"Content-Type": "Text/HTML; charset=x"}).content_type == "text/html"


def test_what_is_not_read_costs_nothing(fake) -> None:
    r = fake("POST", "/?a=1", {"Cookie": "a=b"}, b"x")
    assert r._cache is None
    query = r.query
    assert list(r._cache) == ["query"]
    assert r.query is query
    assert r.headers is r.headers


def test_last_event_id(fake) -> None:
    assert fake().last_event_id == ""
    assert fake(headers={"Last-Event-ID": "\xc3\xa9"}).last_event_id == "\xe9"
    with pytest.raises(HTTPError, match="400"):
        fake(headers={"Last-Event-ID": "\xe9"}).last_event_id  # noqa: B018


# --- body


def test_body_and_text(fake) -> None:
    r = fake("POST", body=[b"ab", b"c"])
    assert r.body == b"abc"
    assert r.body == b"abc"
    assert r.text == "abc"
    assert fake("POST", headers={"Content-Type": "text/plain; charset=iso-8859-1"}, body=b"\xe9").text == "\xe9"
    assert fake().body == b""
    assert fake().text == ""


@pytest.mark.parametrize(
    ("content_type", "complaint"),
    [
        ("text/plain", "400 the body is not utf-8: invalid start byte at byte 2"),
        ("text/plain; charset=ascii", "400 the body is not ascii"),
        ("text/plain; charset=nope", "415 the charset 'nope' is not supported"),
        ("text/plain; charset=punycode", "415 the charset 'punycode' is not supported"),
    ],
)
def test_text_that_is_none(fake, content_type: str, complaint: str) -> None:
    with pytest.raises(HTTPError, match=complaint):
        fake("POST", headers={"Content-Type": content_type}, body=b"ab\xff").text  # noqa: B018


def test_json(fake) -> None:
    r = fake("POST", body=b'{"a": [1, 2.5, null, "\\u00e9"]}')
    assert r.json == {"a": [1, 2.5, None, "\xe9"]}
    assert r.json is r.json
    assert r.text == '{"a": [1, 2.5, null, "\\u00e9"]}'


@pytest.mark.parametrize(
    ("body", "complaint"),
    [
        (b'{"a":\n  x}', r"invalid character at line 2 column 3 \(byte 8\)"),
        (b"[1] 2", r"trailing characters at line 1 column 6"),
        (b"[1,", "Input data was truncated"),
        (b" ", "the body is empty"),
        (b"", "the body is empty"),
        (b'["ab\xffc"]', r"it is not UTF-8 at line 1 column 5 \(byte 4\)"),
        (b"[" * 100_000, "nested too deeply"),
        (b"NaN", "invalid character"),
        (b"1e999", "out of range"),
    ],
)
def test_json_that_is_none(fake, body: bytes, complaint: str) -> None:
    with pytest.raises(HTTPError, match=f"400 the body is not valid JSON: .*{complaint}") as caught:
        fake("POST", body=body).json  # noqa: B018
    assert "\n" not in str(caught.value)


def test_stream(fake) -> None:
    assert list(fake("POST", body=[b"ab", b"x" * 70_000]).stream) == [b"ab", b"x" * 65536, b"x" * 4464]
    r = fake("POST", body=[b"abc", b"de"])
    assert r.stream.read(2) == b"ab"
    assert r.stream.read(0) == b""
    assert r.stream.read(9) == b"c"
    assert r.stream.read() == b"de"
    assert r.stream.read() == b""
    assert r.stream.read(1) == b""


def test_stream_after_body_reads_the_buffered_body(fake) -> None:
    r = fake("POST", body=b"abcde")
    assert r.body == b"abcde"
    assert r.stream.read(2) == b"ab"
    assert list(r.stream) == [b"cde"]
    assert r.stream.read() == b""
    assert r.body == b"abcde"


def test_a_consumed_body_says_so(fake) -> None:
    r = fake("POST", headers={"Content-Type": "application/x-www-form-urlencoded"}, body=b"a=1")
    r.stream.read(1)
    for name in ("body", "text", "json", "form"):
        with pytest.raises(RuntimeError, match=r"already consumed by request\.stream"):
            getattr(r, name)


def test_form_and_body(fake) -> None:
    fields = {"Content-Type": "application/x-www-form-urlencoded"}
    r = fake("POST", headers=fields, body=b"a=1&b=%C3%A9")
    assert dict(r.form) == {"a": "1", "b": "\xe9"}
    assert r.form is r.form
    assert len(r.files) == 0
    with pytest.raises(RuntimeError, match="already consumed"):
        r.body  # noqa: B018
    r = fake("POST", headers=fields, body=b"a=1")  # the other way round, as one who checks a signature does
    assert r.body == b"a=1"
    assert r.form["a"] == "1"
    with pytest.raises(HTTPError, match="400 form field 'b' is missing"):
        r.form["b"]


def test_form_without_a_body_is_empty(fake) -> None:
    r = fake()
    assert dict(r.form) == {}
    assert r.body == b""
    with pytest.raises(HTTPError, match="415"):
        fake("POST", body=b"a=1").form  # noqa: B018


def test_cleanup_closes_uploads(fake) -> None:
    boundary = {"Content-Type": "multipart/form-data; boundary=X"}
    body = b'--X\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\ndata\r\n--X--\r\n'
    r = fake("POST", headers=boundary, body=body)
    file = r.files["f"].file
    assert file.read() == b"data"
    r._cleanup()
    assert file.closed
    fake()._cleanup()  # nothing was decoded
    r = fake()
    r.query  # noqa: B018
    r._cleanup()


def test_no_cycles(fake) -> None:
    r = fake("POST", "/?a=1", {"Cookie": "a=1", "Content-Type": "application/x-www-form-urlencoded"}, b"a=1")
    r.query, r.headers, r.cookies, r.path, r.form, r.stream, r.state  # noqa: B018
    gone = weakref.ref(r)
    gc.disable()
    try:
        del r
        assert gone() is None
    finally:
        gc.enable()


def test_decoded_values_cannot_be_assigned_by_mistake(fake) -> None:
    assert "lower case" in (module.RequestMixin.content_type.__doc__ or "")
    assert "percent-decoded" in (module.RequestMixin.path.__doc__ or "")


def test_repr(fake) -> None:
    assert repr(fake("PUT", "/x?y")) == "<FakeRequest 0123456789abcdef PUT /x?y>"


# --- the current request


def test_current_request(fake) -> None:
    with pytest.raises(RuntimeError, match="outside of a request"):
        current_request()
    r = fake()

    def handler():
        module._current.set(r)
        return current_request()

    assert contextvars.copy_context().run(handler) is r
    with pytest.raises(RuntimeError):
        current_request()


def test_spawned_greenlets_inherit_the_request(fake) -> None:
    install_context_inheritance()
    install_context_inheritance()
    own = contextvars.ContextVar("own", default=0)
    one, two = fake(), fake()

    def handler(r):
        module._current.set(r)
        own.set(1)
        child = gevent.spawn(child_of, r)
        own.set(2)  # after the copy was made
        gevent.sleep(0)
        assert current_request() is r
        return child.get()

    def child_of(r):
        assert current_request() is r
        grandchild = gevent.spawn(current_request)
        return own.get(), grandchild.get()

    first = gevent.spawn(handler, one)
    second = gevent.spawn(handler, two)
    assert first.get() == (1, one)
    assert second.get() == (1, two)
    assert own.get() == 0

    def with_its_own_context():
        own.set(3)
        child = gevent.Greenlet(own.get)
        child.gr_context = contextvars.Context()
        child.start()
        return child.get()

    assert gevent.spawn(with_its_own_context).get() == 0
    gevent.Greenlet.remove_spawn_callback(module._inherit_context)

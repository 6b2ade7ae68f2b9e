from __future__ import annotations

import logging

import msgspec
import pytest

from evpy.errors import BodyTooLarge, ClientDisconnected, DeadlineExceeded, HTTPError
from evpy.http.response import Response
from evpy.http.results import ImpossibleResult, send_error, send_result


def sent(fake, result, method: str = "GET"):
    request = fake(method)
    send_result(request, result)
    assert request.ended
    return request


def generator():
    yield "a"
    yield b"b"


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        ("h\xe9", (200, "text/plain; charset=utf-8", "h\xe9".encode())),
        (b"x", (200, "application/octet-stream", b"x")),
        (bytearray(b"x"), (200, "application/octet-stream", b"x")),
        ({"a": 1}, (200, "application/json", b'{"a":1}')),
        ([1, 2], (200, "application/json", b"[1,2]")),
        (None, (204, None, b"")),
        (("x", 404), (404, "text/plain; charset=utf-8", b"x")),
        ((None, 404), (404, None, b"")),
        (({"a": 1}, 201), (201, "application/json", b'{"a":1}')),
        (("x", 200, {"Content-Type": "text/html"}), (200, "text/html", b"x")),
        ((b"", 200, []), (200, "application/octet-stream", b"")),
        (Response("x", 418), (418, "text/plain; charset=utf-8", b"x")),
        (iter(["a", "b"]), (200, "text/plain; charset=utf-8", b"ab")),
        (map(str, [1, 2]), (200, "text/plain; charset=utf-8", b"12")),
    ],
)
def test_results(fake, result, expected) -> None:
    r = sent(fake, result)
    assert (r.status, r.got("content-type"), r.answer) == expected


def test_generators(fake) -> None:
    assert sent(fake, generator()).answer == b"ab"
    r = sent(fake, (generator(), 202, [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]))
    assert (r.status, r.answer, r.got_all("set-cookie")) == (202, b"ab", ["a=1", "b=2"])


def handler(request):
    """Somewhere to point to."""


async def async_handler(request): ...


def yields_nonsense():
    yield b"x"
    yield 5


@pytest.mark.parametrize(
    ("result", "complaint"),
    [
        (5, "returned int: int cannot be a body"),
        (object(), "returned object: object cannot be a body"),
        ({1, 2}, "returned set: set cannot be a body; Response.stream"),
        ((), "returned (): a tuple is (body, status)"),
        (("a",), "returned (str): a tuple is"),
        (("a", "200"), "returned (str, str): a status is an int, not str"),
        (("a", 99), "returned (str, int): the status of a response is 200 to 599, not 99"),
        (("a", 204), "returned (str, int): a response with status 204 has no body"),
        (("a", 200, {"X": "a\nb"}), "returned (str, int, dict): response header X: '\\n' at position 1"),
        (("a", 200, {"X": 1}), "returned (str, int, dict): response header 'X': the value must be str, not int"),
        ("\ud800", "returned str: 'utf-8' codec can't encode character"),
        (("a", 200, 7), "returned (str, int, int): "),
        ((Response("x"), 200), "returned (Response, int): a Response has a status"),
        ({"a": object()}, "returned dict: Encoding objects of type object is unsupported"),
        ({1: {2: object()}}, "returned dict: "),
    ],
)
def test_impossible_results_say_what_and_where(fake, result, complaint: str) -> None:
    request = fake()
    with pytest.raises(ImpossibleResult) as caught:
        send_result(request, result, handler)
    assert str(caught.value).startswith(f"handler() ({__file__}:{handler.__code__.co_firstlineno}) {complaint}")
    assert not request.response_started


def test_an_async_handler_is_explained_without_a_warning(fake) -> None:
    with pytest.raises(ImpossibleResult, match=r"returned coroutine: .*write def, not async def"):
        send_result(fake(), async_handler(None), async_handler)


def test_the_routed_function_is_named(fake) -> None:
    request = fake()
    request._own_cache()["endpoint"] = generator
    with pytest.raises(ImpossibleResult, match=r"^generator\(\) "):
        send_result(request, 5, handler)
    with pytest.raises(ImpossibleResult, match=r"^the handler returned int"):
        send_result(fake(), 5)


def test_a_generator_names_itself(fake) -> None:
    with pytest.raises(ImpossibleResult) as caught:
        send_result(fake(), yields_nonsense(), handler)
    line = yields_nonsense.__code__.co_firstlineno
    assert str(caught.value) == (
        f"yields_nonsense() ({__file__}:{line}): a stream yields str or bytes, this one yielded int"
    )


def test_discarded_generators_are_closed(fake) -> None:
    log = []

    def pieces():
        try:
            yield b"x"
        finally:
            log.append("closed")

    source = pieces()
    next(source)
    with pytest.raises(ImpossibleResult):
        send_result(fake(), (source, "200"))
    assert log == ["closed"]


def test_a_handler_that_responded_by_itself(fake) -> None:
    r = fake()
    r.respond(200, [], b"own")
    send_result(r, None)
    assert r.answer == b"own"
    r = fake()
    r.start_response(200, [], None)
    r.write(b"own")
    send_result(r, None)
    assert r.ended
    r = fake()
    r.respond(200, [], b"own")
    with pytest.raises(ImpossibleResult, match="returned str after it had begun to respond"):
        send_result(r, "x")


# --- errors


def failed(fake, error: BaseException, *, accept: str = "", debug: bool = False, method: str = "GET"):
    request = fake(method, "/a?b=1", {"Accept": accept} if accept else {})
    send_error(request, error, debug)
    return request


def boom() -> Exception:
    try:
        secret = "inside"
        raise KeyError(secret)
    except KeyError as error:
        return error


def test_an_exception_is_500_without_the_inside(fake, caplog) -> None:
    r = failed(fake, boom())
    assert (r.status, r.got("content-type"), r.ended) == (500, "text/plain; charset=utf-8", True)
    assert r.answer == b"500 Internal Server Error\nrequest id: 0123456789abcdef\n"
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("evpy.handler", logging.ERROR)
    assert record.getMessage() == "request 0123456789abcdef GET /a?b=1: KeyError: 'inside'"
    assert "in boom" in caplog.text
    assert "raise KeyError(secret)" in caplog.text


def test_as_json_where_that_is_preferred(fake) -> None:
    r = failed(fake, boom(), accept="application/json")
    assert r.got("content-type") == "application/problem+json"
    assert msgspec.json.decode(r.answer) == {
        "title": "Internal Server Error",
        "status": 500,
        "request_id": "0123456789abcdef",
    }
    r = failed(fake, HTTPError(404, "no such user"), accept="application/json")
    assert msgspec.json.decode(r.answer) == {
        "title": "Not Found",
        "status": 404,
        "detail": "no such user",
        "request_id": "0123456789abcdef",
    }


def test_http_errors(fake, caplog) -> None:
    r = failed(fake, HTTPError(404))
    assert (r.status, r.answer) == (404, b"404 Not Found\n")
    r = failed(fake, HTTPError(405, "h\xe9", {"Allow": "GET", "Content-Type": "a/b", "Content-Length": "1"}))
    assert (r.status, r.answer.decode()) == (405, "405 Method Not Allowed: h\xe9\n")
    assert (r.got("allow"), r.got_all("content-type")) == ("GET", ["text/plain; charset=utf-8"])
    r = failed(fake, BodyTooLarge(5))
    assert r.status == 413
    assert b"longer than 5 bytes" in r.answer
    assert caplog.records == []


def test_server_side_http_errors_are_logged(fake, caplog) -> None:
    error = HTTPError(507, "no space")
    error.__cause__ = boom()
    r = failed(fake, error)
    assert (r.status, r.answer) == (507, b"507 Insufficient Storage: no space\nrequest id: 0123456789abcdef\n")
    assert "GET /a?b=1: 507 no space" in caplog.text
    assert "in boom" in caplog.text


def test_a_library_that_is_busy_needs_no_traceback(fake, caplog) -> None:
    class Busy(HTTPError):
        pass

    error = Busy(503, "later")
    error.__cause__ = boom()
    assert failed(fake, error).status == 503
    (record,) = caplog.records
    assert record.exc_info is None
    assert record.getMessage().endswith("GET /a?b=1: 503 later (KeyError: 'inside')")


def test_a_deadline_is_504_and_the_log_says_where(fake, caplog) -> None:
    r = failed(fake, DeadlineExceeded())
    assert (r.status, r.answer.splitlines()[0]) == (504, b"504 Gateway Timeout: the request took too long")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_nobody_is_left(fake, caplog) -> None:
    r = failed(fake, ClientDisconnected())
    assert not r.response_started
    assert caplog.records == []
    r = fake(gone_after=3)
    send_error(r, boom())  # gone while the error is sent: never raises
    assert not r.ended


def test_once_begun_a_response_is_aborted(fake, caplog) -> None:
    for error in (boom(), HTTPError(404), ImpossibleResult("x returned y")):
        r = fake()
        r.start_response(200, [], None)
        r.write(b"half")
        send_error(r, error)
        assert (r.aborted, r.ended, r.answer) == (True, False, b"half")
    assert caplog.text.count("(the response had begun: aborted)") == 3
    assert "404 Not Found" in caplog.text


def test_impossible_results_need_no_traceback(fake, caplog) -> None:
    r = failed(fake, ImpossibleResult("handler() (main.py:3) returned int: int cannot be a body"))
    assert r.status == 500
    assert b"main.py" not in r.answer
    (record,) = caplog.records
    assert record.getMessage().endswith("GET /a?b=1: handler() (main.py:3) returned int: int cannot be a body")
    assert record.exc_info is None


def test_system_exit_is_a_failed_request(fake, caplog) -> None:
    assert failed(fake, SystemExit(3)).status == 500
    assert "called sys.exit(3)" in caplog.text


def test_an_exception_without_a_text(fake, caplog) -> None:
    assert failed(fake, KeyboardInterrupt()).status == 500
    assert caplog.records[0].getMessage().endswith(": KeyboardInterrupt")


class Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_errors_that_cannot_be_shown(fake, caplog, monkeypatch) -> None:
    monkeypatch.setattr(logging, "raiseExceptions", False)
    for debug in (False, True):
        r = failed(fake, Unprintable(), debug=debug)
        assert r.status == 500
    assert "GET /a?b=1: Unprintable" in caplog.messages[0]


def test_bad_headers_of_an_error_still_give_an_answer(fake, caplog) -> None:
    r = failed(fake, HTTPError(404, "x", [("X", "a\nb")]))
    assert (r.status, r.answer) == (500, b"500 Internal Server Error\n")
    assert "sending the error response failed" in caplog.text


def test_long_targets_are_cut_in_the_log(fake, caplog) -> None:
    send_error(fake("GET", "/" + "x" * 5000), boom())
    assert len(caplog.messages[0]) < 400


def test_debug_shows_a_page(fake) -> None:
    r = failed(fake, boom(), debug=True)
    assert (r.status, r.got("content-type")) == (500, "text/html; charset=utf-8")
    assert b"raise KeyError(secret)" in r.answer
    r = failed(fake, boom(), debug=True, accept="application/json")
    assert "raise KeyError(secret)" in msgspec.json.decode(r.answer)["detail"]
    assert failed(fake, HTTPError(404), debug=True).answer == b"404 Not Found\n"


def test_the_fast_path_says_the_same(fake) -> None:
    """The core sends str, bytes, dict and list with status 200 itself, with these field lines."""
    for result, line in (
        ("x", "text/plain; charset=utf-8"),
        (b"x", "application/octet-stream"),
        ({}, "application/json"),
        ([], "application/json"),
    ):
        assert sent(fake, result).sent == [("Content-Type", line)]

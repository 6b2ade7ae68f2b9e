"""From what a handler returned, or raised, to an answer.

``send_result`` raises whatever goes wrong, its own complaints included (``ImpossibleResult``); the caller hands that to
``send_error``, which never raises. So exactly one place decides what a client sees of a failure: the status, a text or
problem-details JSON (RFC 9457) as its Accept field prefers, the request's id - and nothing of the inside, which goes to
the logger ``evpy.handler``. With debug the answer is a readable page instead.

Once a response has begun it cannot become an error any more: it is aborted, so that the client notices that it is
incomplete, and logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evpy.errors import ClientDisconnected, DeadlineExceeded, HTTPError, reason_phrase
from evpy.http.response import BINARY, JSON, TEXT, Response, Unsendable, check_status, encode_body
from evpy.http.usercode import describe_callable, user_only, user_traceback

if TYPE_CHECKING:
    from evpy.http.request import RequestMixin

Handler = Callable[..., Any]

log = logging.getLogger("evpy.handler")
_COMPLAINTS = ("evpy.http.scripts", "evpy.http.sites")  # about scripts that cannot be found or loaded


class ImpossibleResult(TypeError):
    """A handler returned, or its generator yielded, what cannot be sent. The text says what and where."""


def send_result(request: RequestMixin, result: object, handler: Handler | None = None) -> None:
    """Sends what a handler returned.

    str: text/plain; bytes: application/octet-stream; dict or list: JSON; None: 204; Response; (body, status);
    (body, status, headers); an iterator of str and bytes: streamed. ``handler`` is named in complaints, unless a router
    has noted on the request which function it called. Raises ImpossibleResult, what a generator raises, and
    ClientDisconnected; iterators are closed in any case.
    """
    if request.response_started:  # by the handler itself, with the methods of the core
        if result is not None:
            _discard(result)
            raise ImpossibleResult(
                f"{_where(request, handler)} returned {_describe(result)} after it had begun to respond"
            )
        if not request.response_ended:
            request.end()
        return
    if isinstance(result, bytes):
        request.respond(200, [("Content-Type", BINARY)], result)
        return
    try:
        if isinstance(result, str):
            request.respond(200, [("Content-Type", TEXT)], result.encode())
            return
        response = result if isinstance(result, Response) else _to_response(result)
    except (TypeError, ValueError, RecursionError) as error:
        _discard(result)
        raise ImpossibleResult(f"{_where(request, handler)} returned {_describe(result)}: {error}") from None
    try:
        response._send(request)
    except Unsendable as error:
        raise ImpossibleResult(f"{_where(request, handler, error.source)}: {error}") from None


def _to_response(result: object) -> Response:
    if isinstance(result, (dict, list)):
        import msgspec

        return Response(msgspec.json.encode(result), content_type=JSON)
    if result is None:
        return Response(status=204)
    if isinstance(result, tuple):
        if len(result) not in (2, 3):
            raise TypeError(f"a tuple is (body, status) or (body, status, headers), this one has {len(result)} items")
        if isinstance(result[0], Response):
            raise TypeError("a Response has a status and headers of its own; set them there")
        return Response(result[0], check_status(result[1]), *result[2:])
    return Response(encode_body(result)[0])


def _discard(result: object) -> None:
    """Closes coroutines and generators that will never run, so that they do not warn about it later."""
    close = getattr(result[0] if isinstance(result, tuple) and result else result, "close", None)
    if callable(close):
        try:
            close()
        except Exception:  # the complaint about the result is the error to report
            log.debug("closing a discarded result failed", exc_info=True)


def _describe(result: object) -> str:
    if isinstance(result, tuple):
        return f"({', '.join(type(item).__name__ for item in result)})"
    return type(result).__name__


def _where(request: RequestMixin, handler: Handler | None, source: object = None) -> str:
    code = getattr(source, "gi_code", None)  # a generator knows best where it is written
    if code is not None:
        return f"{code.co_qualname}() ({code.co_filename}:{code.co_firstlineno})"
    endpoint = (request._cache or {}).get("endpoint", handler)
    return "the handler" if endpoint is None else describe_callable(endpoint)


def send_error(request: RequestMixin, error: BaseException, debug: bool = False) -> None:
    """Answers a request whose handler raised ``error``; never raises.

    HTTPError: its status, detail and headers. DeadlineExceeded: 504. ClientDisconnected: nothing. All else: 500, and
    the traceback of the application's frames in the log. ``debug``: a page with the traceback for 500.
    """
    try:
        _report(request, error)
        if isinstance(error, ClientDisconnected):
            return
        if request.response_started:
            request.abort()
            return
        status, fields, body = _answer(request, error, debug)
        request.respond(status, fields, body)
    except ClientDisconnected:
        pass
    except Exception:
        log.exception("request %s: sending the error response failed", request.id)
        if request.response_started:
            request.abort()
        else:
            request.respond(500, [("Content-Type", TEXT)], b"500 Internal Server Error\n")


def _report(request: RequestMixin, error: BaseException) -> None:
    if isinstance(error, ClientDisconnected):
        log.debug("request %s %s: the client has gone", request.id, _request_line(request))
        return
    broken = " (the response had begun: aborted)" if request.response_started else ""
    line = f"request {request.id} {_request_line(request)}{broken}: "
    if isinstance(error, HTTPError):
        if error.status >= 500 or broken:
            cause = error.__cause__
            # Of a library's own, such as PoolExhausted, thousands come while a database is down: no matter where.
            if error.status == 503 and type(error) is not HTTPError:
                log.error("%s%s%s", line, error, f" ({_summary(cause)})" if cause else "")
            else:
                log.error("%s%s", line, error, exc_info=_exc_info(cause) if cause else None)
    elif isinstance(error, DeadlineExceeded):
        log.warning("%s%s", line, error, exc_info=_exc_info(error))
    elif isinstance(error, ImpossibleResult):
        log.error("%s%s", line, error)
    else:
        log.error("%s%s", line, _summary(error), exc_info=_exc_info(error))


def _exc_info(error: BaseException) -> tuple[type[BaseException], BaseException, Any]:
    says_where = isinstance(error, SyntaxError) or type(error).__module__ in _COMPLAINTS
    if says_where and user_only(error.__traceback__) is None:
        return type(error), error, None
    return type(error), error, user_traceback(error.__traceback__)


def _summary(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"the handler called sys.exit({error.code!r}); a handler ends by returning"
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - the application's __str__ may do anything
        text = ""
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _request_line(request: RequestMixin) -> str:
    target = request.target
    return f"{request.method} {target if len(target) <= 200 else target[:200] + '...'}"


def _answer(request: RequestMixin, error: BaseException, debug: bool) -> tuple[int, list[tuple[str, str]], bytes]:
    from evpy.http.headers import MutableHeaders, prefers_json

    headers = MutableHeaders()
    if isinstance(error, HTTPError):
        status, detail = error.status, error.detail
        headers.update(error.headers)
        headers.pop("Content-Length")
    elif isinstance(error, DeadlineExceeded):
        status, detail = 504, "the request took too long"
    else:
        status, detail = 500, ""
    title = reason_phrase(status)
    json = prefers_json(request.header("accept") or "")
    if debug and not isinstance(error, (HTTPError, DeadlineExceeded)):
        from evpy.http import debugpage

        if not json:
            return 500, debugpage.FIELDS, debugpage.page(request, error)
        detail = debugpage.text(error)
    if json:
        import msgspec

        problem: dict[str, Any] = {"title": title, "status": status}
        if detail and detail != title:
            problem["detail"] = detail
        problem["request_id"] = request.id
        headers["Content-Type"] = "application/problem+json"
        return status, headers.pairs(), msgspec.json.encode(problem)
    text = f"{status} {title}"
    if detail and detail != title:
        text += f": {detail}"
    if status >= 500:
        text += f"\nrequest id: {request.id}"
    headers["Content-Type"] = TEXT
    return status, headers.pairs(), f"{text}\n".encode("utf-8", "replace")

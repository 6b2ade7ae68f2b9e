"""``Request``: what a handler gets to know.

The native core fills a slab and wraps it in a ``RequestBase``, whose attributes are cheap. Everything that needs
decoding is here: each property is computed when it is first read and kept in the request's ``_cache``, so that what is
not read costs nothing. The class is split in two so that it can be tested without the core: ``RequestMixin`` holds
everything and works on any object with the core's interface, ``Request`` joins it with the core's base.

Invariants: nothing in ``_cache`` refers back to the request (no cycles: a finished request is freed at once, without
the garbage collector); the body is consumed once, in one way, and every other way then says so; malformed input of the
client raises HTTPError, which becomes the answer unless the handler catches it.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from evpy.errors import HTTPError
from evpy.http.headers import Headers, parse_media_type
from evpy.http.multidict import MultiDict

if TYPE_CHECKING:
    from evpy._core import RequestBase
    from evpy.http.forms import Form
    from evpy.http.uploads import UploadedFile

    _Core = RequestBase
else:
    _Core = object
    try:
        from evpy._core import RequestBase
    except ImportError as error:  # no compiled core: everything but Request itself can be used
        _reason = error

        class RequestBase:
            __slots__ = ()

            def __init__(self, *args: object) -> None:
                raise ImportError(
                    "evpy's native core is not built; install the package or run scripts/run"
                ) from _reason


CHUNK = 65536  # bytes that the iteration over a body hands out at most

T = TypeVar("T")
R = TypeVar("R", bound="RequestMixin")

_current: ContextVar[Request] = ContextVar("evpy_current_request")  # set by the core, for each request anew


class lazy(Generic[T]):  # noqa: N801 - a decorator, like property
    """``functools.cached_property`` for objects that keep their values in ``_cache`` instead of a ``__dict__``."""

    def __init__(self, compute: Callable[[Any], T]) -> None:
        self.compute = compute
        self.name = compute.__name__
        self.__doc__ = compute.__doc__

    @overload
    def __get__(self, obj: None, owner: type) -> lazy[T]: ...
    @overload
    def __get__(self, obj: RequestMixin, owner: type) -> T: ...
    def __get__(self, obj: RequestMixin | None, owner: type) -> lazy[T] | T:
        if obj is None:
            return self
        cache = obj._cache
        if cache is None:
            cache = obj._cache = {}
        elif self.name in cache:
            value: T = cache[self.name]
            return value
        value = cache[self.name] = self.compute(obj)
        return value


class BodyStream:
    """The request body, piece by piece: iterate over it (pieces of at most 64 KiB), or ``read(n)``.

    Reading waits for the client without blocking the thread. Raises ClientDisconnected when the client leaves before
    the end, BodyTooLarge (413) when a body of undeclared length passes the limit.
    """

    __slots__ = ("_request",)

    def __init__(self, request: RequestMixin) -> None:
        self._request = request

    def read(self, n: int = -1) -> bytes:
        """At most ``n`` bytes and at least one, b"" at the end; everything that is left when ``n`` is negative."""
        if n == 0:
            return b""
        cache = self._request._own_cache()
        buffered = cache.get("body")
        if buffered is None:
            cache["streamed"] = True
            return self._request.read_body(n)
        at = cache.get("streamed_to", 0)
        piece: bytes = buffered[at:] if n < 0 else buffered[at : at + n]
        cache["streamed_to"] = at + len(piece)
        return piece

    def __iter__(self) -> Iterator[bytes]:
        while piece := self.read(CHUNK):
            yield piece


class RequestMixin(_Core):
    """Everything of a Request that is decoded from what the core provides."""

    __slots__ = ()

    def _own_cache(self) -> dict[str, Any]:
        cache = self._cache
        if cache is None:
            cache = self._cache = {}
        return cache

    def _cleanup(self) -> None:
        """Removes the temporary files of uploads; the core calls it when the response is complete."""
        cache = self._cache
        if cache is not None:
            form = cache.get("form")
            if form is not None:
                form.close()

    def __repr__(self) -> str:
        try:
            return f"<{type(self).__name__} {self.id} {self.method} {self.target}>"
        except RuntimeError:  # its response is complete, the slab belongs to another request
            return f"<{type(self).__name__} that is over>"

    # --- target

    @lazy
    def path(self) -> str:
        """The path, percent-decoded (RFC 3986 section 2.1) as UTF-8; HTTPError 400 when it is none."""
        return decode_path(self.raw_path)

    @lazy
    def query(self) -> MultiDict[str]:
        """The query string's names and values; HTTPError 400 when they are not UTF-8."""
        from evpy.http.query import parse_urlencoded

        return MultiDict(parse_urlencoded(self.raw_query, what="query string"), what="query parameter")

    # --- header fields

    @lazy
    def headers(self) -> Headers:
        """All header fields. For a single one, ``request.header("accept")`` is cheaper."""
        return Headers(self.raw_headers())

    @lazy
    def cookies(self) -> dict[str, str]:
        """Cookies by name (RFC 6265 section 5.4)."""
        if self.header("cookie") is None:
            return {}
        from evpy.http.cookies import parse_cookies

        return parse_cookies("; ".join(self.headers.get_all("cookie")))

    @property
    def content_type(self) -> str:
        """The media type of the body, lower case and without parameters; "" when the client names none."""
        return parse_media_type(self.header("content-type") or "")[0]

    @property
    def last_event_id(self) -> str:
        """Where a reconnecting EventSource left off (the Last-Event-ID field, UTF-8); "" at the first connection."""
        value = self.header("last-event-id") or ""
        try:
            return value.encode("latin-1").decode("utf-8")
        except UnicodeDecodeError:
            raise HTTPError(400, "Last-Event-ID is not UTF-8") from None

    # --- body

    @property
    def stream(self) -> BodyStream:
        """The body piece by piece, for what is too large for memory."""
        return BodyStream(self)

    @lazy
    def body(self) -> bytes:
        """The whole body. RuntimeError when ``stream`` or a multipart ``form`` has consumed some of it."""
        if self._own_cache().get("streamed"):
            raise RuntimeError("the body was already consumed by request.stream or request.form")
        return self.read_body(-1)

    @lazy
    def text(self) -> str:
        """The body in the charset of its Content-Type (UTF-8 if none); HTTPError 400 or 415 when it is not."""
        from evpy.http.charset import decode_text

        charset = parse_media_type(self.header("content-type") or "")[1].get("charset", "utf-8")
        try:
            return decode_text(self.body, charset)
        except UnicodeDecodeError as error:
            raise HTTPError(400, f"the body is not {charset}: {error.reason} at byte {error.start}") from None
        except LookupError:
            raise HTTPError(415, f"the charset {charset[:40]!r} is not supported") from None

    @lazy
    def json(self) -> Any:
        """The body as JSON (RFC 8259), whatever its Content-Type; HTTPError 400 with the place when it is malformed."""
        return decode_json(self.body)

    @lazy
    def form(self) -> Form:
        """Fields and files of a form (see ``evpy.http.forms``); empty without a body. HTTPError 400, 413, 415, 507."""
        from evpy.http.forms import Form, parse_form

        content_type = self.header("content-type")
        if content_type is None and not self.has_body:
            return Form([], [])
        cache = self._own_cache()
        if cache.get("streamed"):
            raise RuntimeError("the body was already consumed by request.stream or request.form")
        read = io.BytesIO(cache["body"]).read if "body" in cache else self.stream.read
        return parse_form(content_type or "", self.content_length, read)

    @property
    def files(self) -> MultiDict[UploadedFile]:
        """The files of the form: ``request.form.files``."""
        return self.form.files


class Request(RequestMixin, RequestBase):
    """One HTTP request. Valid until its response is complete."""

    __slots__ = ()


def current_request() -> Request:
    """The request that is being handled, also in functions far below the handler and in greenlets spawned from it.

    RuntimeError outside of a request.
    """
    request = _current.get(None)
    if request is None:
        raise RuntimeError(
            "current_request() was called outside of a request (at import, in on_start, in another thread)"
        )
    return request


def install_context_inheritance() -> None:
    """Makes every gevent greenlet start with a copy of its spawner's context variables. Idempotent.

    So ``current_request()`` and the application's own ContextVars work in spawned greenlets as they do in asyncio
    tasks. A greenlet that has been given a context of its own (``gr_context``) keeps it.
    """
    from gevent import Greenlet

    Greenlet.add_spawn_callback(_inherit_context)  # a set: the same callback is not added twice


def _inherit_context(greenlet: Any) -> None:
    if greenlet.gr_context is None:
        greenlet.gr_context = copy_context()


def decode_path(raw: str) -> str:
    """A path, or a part of one, percent-decoded as UTF-8; HTTPError 400 when it is none."""
    if "%" not in raw and raw.isascii():
        return raw
    from urllib.parse import unquote_to_bytes

    try:
        return unquote_to_bytes(raw.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPError(400, "the path is not UTF-8") from None


def decode_json(body: bytes) -> Any:
    """``body`` as JSON; HTTPError 400 that names line, column and byte of what is wrong."""
    import msgspec

    try:
        return msgspec.json.decode(body)
    except RecursionError:
        at, reason = "", "it is nested too deeply"
    except UnicodeDecodeError:  # what msgspec raises before 0.23
        at, reason = _place(body, _first_bad_byte(body)), "it is not UTF-8"
    except msgspec.DecodeError as error:
        text = str(error)
        place = re.search(r" \(byte (\d+)\)$", text)
        reason = (text[: place.start()] if place else text).removeprefix("JSON is malformed: ")
        at = _place(body, int(place[1])) if place else ""
        if not body.strip():
            reason = "the body is empty"
        elif (bad := _first_bad_byte(body)) < len(body) and not place:
            at, reason = _place(body, bad), "it is not UTF-8"
    raise HTTPError(400, f"the body is not valid JSON: {reason}{at}")


def _place(body: bytes, offset: int) -> str:
    line = body.count(b"\n", 0, offset) + 1
    column = offset - (body.rfind(b"\n", 0, offset) + 1) + 1
    return f" at line {line} column {column} (byte {offset})"


def _first_bad_byte(body: bytes) -> int:
    try:
        body.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start
    return len(body)

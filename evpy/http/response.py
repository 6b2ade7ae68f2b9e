"""``Response``: an answer with a status, header fields and a body that is bytes or arrives piece by piece.

A response does nothing until the handler has returned it; ``_send`` then puts it on the wire through the request's core
methods. Files and event streams are subclasses with a ``_send`` of their own, made by ``Response.file`` and
``Response.events`` and imported only when used.
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import TYPE_CHECKING, Any

from evpy.http.headers import HeadersLike, MutableHeaders

if TYPE_CHECKING:
    from datetime import datetime

    from evpy.http.events import Event
    from evpy.http.request import RequestMixin

TEXT = "text/plain; charset=utf-8"
BINARY = "application/octet-stream"
JSON = "application/json"

Piece = str | bytes | bytearray | memoryview
Body = Piece | dict[Any, Any] | list[Any] | Iterator[Piece] | None

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_URI_SAFE = "!#$%&'()*+,/:;=?@[]~"  # RFC 3986 sections 2.2 and 2.1: reserved characters and existing escapes stay


class Response:
    """An HTTP response.

    ``body`` may be str (UTF-8, text/plain), bytes (application/octet-stream), dict or list (JSON), None (empty), or an
    iterator of str and bytes, which is streamed; ``headers`` a mapping or name-value pairs; ``content_type`` or a
    Content-Type among the headers overrides what the body implies. ``status`` is 200 to 599. Raises TypeError and
    ValueError for what cannot be sent: a body of another type, a status of another class, header fields with controls.
    """

    __slots__ = ("body", "headers", "status")

    body: bytes | Iterator[Piece]

    def __init__(
        self, body: Body = None, status: int = 200, headers: HeadersLike = (), *, content_type: str | None = None
    ) -> None:
        self.status = check_status(status)
        self.headers = MutableHeaders(headers)
        self.body, implied = encode_body(body)
        if content_type is not None:
            self.headers["Content-Type"] = content_type
        elif implied:
            self.headers.setdefault("Content-Type", implied)
        if status in (204, 304) and self.body:
            raise ValueError(f"a response with status {status} has no body (RFC 9110 section 6.4.1)")

    def __repr__(self) -> str:
        body = f"{len(self.body)} bytes" if isinstance(self.body, bytes) else "stream"
        return f"<{type(self).__name__} {self.status} {self.headers.get('content-type', '')} {body}>"

    # --- cookies

    def set_cookie(
        self,
        name: str,
        value: str,
        *,
        max_age: int | None = None,
        expires: datetime | float | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool = False,
        httponly: bool = True,
        samesite: str | None = "Lax",
    ) -> None:
        """Adds a Set-Cookie field (RFC 6265). ValueError for names, values and attributes that browsers would not keep.

        ``max_age`` in seconds; ``expires`` an aware datetime or Unix time. Without both the cookie ends with the
        browser's session. Scripts in the page see it only with ``httponly=False``.
        """
        from evpy.http.cookies import format_cookie

        self.headers.add(
            "Set-Cookie",
            format_cookie(
                name,
                value,
                max_age=max_age,
                expires=expires,
                path=path,
                domain=domain,
                secure=secure,
                httponly=httponly,
                samesite=samesite,
            ),
        )

    def delete_cookie(
        self, name: str, *, path: str | None = "/", domain: str | None = None, secure: bool = False
    ) -> None:
        """Makes the browser forget a cookie; ``path`` and ``domain`` must be those that it was set with."""
        secure = secure or name.lower().startswith(("__secure-", "__host-"))
        self.set_cookie(name, "", max_age=0, expires=0, path=path, domain=domain, secure=secure)

    # --- other kinds of responses

    @classmethod
    def json(cls, value: Any, status: int = 200, headers: HeadersLike = ()) -> Response:
        """``value`` as JSON: whatever msgspec encodes (dataclasses, datetimes, UUIDs ...); TypeError otherwise."""
        import msgspec

        return cls(msgspec.json.encode(value), status, headers, content_type=JSON)

    @classmethod
    def redirect(cls, location: str, status: int = 302, headers: HeadersLike = ()) -> Response:
        """Sends the client to ``location``, an absolute or relative URL (RFC 9110 section 15.4).

        ``status``: 301 or 308 for good, 302 or 307 for now (307 and 308 keep the method), 303 "see the result there
        with GET". ValueError for another status or for controls in the URL; other characters beyond ASCII are
        percent-encoded as UTF-8.
        """
        if status not in _REDIRECTS:
            raise ValueError(f"redirect: the status is one of {sorted(_REDIRECTS)}, not {status}")
        if re.search(r"[\x00-\x1f\x7f]", location):
            raise ValueError(f"redirect: the location {location[:200]!r} holds a line break or another control")
        from urllib.parse import quote

        response = cls(None, status, headers)
        response.headers["Location"] = quote(location, safe=_URI_SAFE)
        return response

    @classmethod
    def stream(
        cls, pieces: Iterable[Piece], status: int = 200, headers: HeadersLike = (), *, content_type: str | None = None
    ) -> Response:
        """Sends str and bytes as ``pieces`` yields them, chunked, or as one body if the headers hold Content-Length.

        The head goes out with the first piece, which also decides on the Content-Type if none is given. The iterator
        waits while the client is slow, and is closed when the client leaves.
        """
        return cls(iter(pieces), status, headers, content_type=content_type)

    @classmethod
    def file(
        cls,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        content_type: str | None = None,
        download_name: str | None = None,
        cache: int | None = None,
        headers: HeadersLike = (),
    ) -> Response:
        """A file, with conditional and range requests (RFC 9110 sections 13 and 14); see ``evpy.http.files``.

        With ``root``, ``path`` may come from the client: it is taken relative to that directory and never leaves it.
        ``download_name`` makes browsers save instead of show; ``cache`` is the max-age in seconds (0: ask every time).
        The client gets 404 for a missing file, 403 for a directory or an unreadable file.
        """
        from evpy.http.files import FileResponse

        return FileResponse(
            path, root=root, content_type=content_type, download_name=download_name, cache=cache, headers=headers
        )

    @classmethod
    def events(
        cls,
        events: Iterable[str | dict[Any, Any] | list[Any] | Event],
        *,
        heartbeat: float | None = 15.0,
        headers: HeadersLike = (),
    ) -> Response:
        """Server-sent events (WHATWG HTML section 9.2): str, dict or list (as JSON) or ``Event`` each become one event.

        After ``heartbeat`` seconds of silence a comment is sent, which keeps proxies from closing the connection and
        shows whether the client is still there; None for no heart-beat.
        """
        from evpy.http.events import EventResponse

        return EventResponse(events, heartbeat=heartbeat, headers=headers)

    # --- sending

    def _send(self, request: RequestMixin) -> None:
        try:
            check_status(self.status)
            body, _ = encode_body(self.body)  # both may have been replaced since
            fields, declared = framing(self.headers)
        except (TypeError, ValueError) as error:
            raise Unsendable(str(error)) from None
        if not isinstance(body, bytes):
            self._send_stream(request, body, fields, declared)
        elif declared is None or declared == len(body):
            request.respond(self.status, fields, body)
        elif request.method == "HEAD" and not body:  # the handler knows how long the answer to GET would be
            request.start_response(self.status, fields, declared)
            request.end()
        else:
            raise Unsendable(f"Content-Length is {declared}, but the body has {len(body)} bytes")

    def _send_stream(
        self, request: RequestMixin, pieces: Iterator[Piece], fields: list[tuple[str, str]], declared: int | None
    ) -> None:
        bodiless = request.method == "HEAD" or self.status in (204, 304)
        sent = 0
        try:
            for piece in pieces:
                data = _as_bytes(piece, pieces)
                if not request.response_started:
                    if "Content-Type" not in self.headers:
                        fields.append(("Content-Type", TEXT if isinstance(piece, str) else BINARY))
                    request.start_response(self.status, fields, declared)
                if bodiless:
                    break
                sent += len(data)
                if declared is not None and sent > declared:
                    raise Unsendable(f"Content-Length is {declared}, but the stream yields more", pieces)
                if data:  # an empty chunk would end a chunked body
                    request.write(data)
        finally:  # before the end: what the generator still does may need the request
            close = getattr(pieces, "close", None)
            if close is not None:
                close()
        if declared is not None and sent < declared and not bodiless:
            raise Unsendable(f"Content-Length is {declared}, but the stream ended after {sent} bytes", pieces)
        if request.response_started:
            request.end()
        else:
            request.respond(self.status, fields, b"")


def _as_bytes(piece: object, source: object) -> bytes | bytearray | memoryview:
    if isinstance(piece, str):
        return piece.encode()
    if isinstance(piece, (bytes, bytearray)):
        return piece
    if isinstance(piece, memoryview):
        return piece.cast("B") if piece.c_contiguous else bytes(piece)
    raise Unsendable(f"a stream yields str or bytes, this one yielded {type(piece).__name__}", source)


class Unsendable(ValueError):
    """A response that cannot be sent as it is; ``source`` is the iterator that is to blame, if one is."""

    def __init__(self, message: str, source: object = None) -> None:
        super().__init__(message)
        self.source = source


def check_status(status: object) -> int:
    """``status`` as int. TypeError for another type, ValueError outside of 200 to 599 (1xx are the server's)."""
    if not isinstance(status, int) or isinstance(status, bool):
        raise TypeError(f"a status is an int, not {type(status).__name__}")
    if not 200 <= status <= 599:
        raise ValueError(f"the status of a response is 200 to 599, not {int(status)}")
    return int(status)


def encode_body(value: object) -> tuple[bytes | Iterator[Piece], str | None]:
    """The body as bytes or iterator, and the media type that its Python type implies. TypeError for all other types."""
    if isinstance(value, str):
        return value.encode(), TEXT
    if isinstance(value, bytes):
        return value, BINARY
    if isinstance(value, (dict, list)):
        import msgspec

        return msgspec.json.encode(value), JSON
    if value is None:
        return b"", None
    if isinstance(value, (bytearray, memoryview)):
        return bytes(value), BINARY
    if isinstance(value, Iterator):
        return value, None
    if isinstance(value, AsyncIterator) or hasattr(value, "__await__"):
        hint = "; handlers are plain functions here: write def, not async def, blocking calls switch by themselves"
    elif hasattr(value, "__iter__"):
        hint = "; Response.stream(...) sends what it yields, list(...) makes it JSON"
    else:
        hint = ""
    raise TypeError(f"{type(value).__name__} cannot be a body{hint}")


def framing(headers: MutableHeaders) -> tuple[list[tuple[str, str]], int | None]:
    """The fields without Content-Length, and its value: the core writes that field itself. ValueError unless digits."""
    declared = headers.get("Content-Length")
    if declared is None:
        return headers.pairs(), None
    if not (declared.isascii() and declared.isdigit() and len(headers.get_all("Content-Length")) == 1):
        raise ValueError(f"response header Content-Length: {headers.combined('Content-Length')!r} is not one number")
    return [(name, value) for name, value in headers.pairs() if name.lower() != "content-length"], int(declared)

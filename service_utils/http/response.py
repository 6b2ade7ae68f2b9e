"""What came back."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO
from time import monotonic
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import msgspec

from evpy.errors import DeadlineExceeded
from evpy.http.headers import Headers
from service_utils.http.connection import Connection
from service_utils.http.decoding import decode
from service_utils.http.errors import (
    BodyTooLarge,
    ConnectionLost,
    HttpClientError,
    ProtocolError,
    StatusError,
    TimedOut,
)
from service_utils.pool import Lease
from service_utils.turns import Turns

__all__ = ["Response"]

T = TypeVar("T")
_charset = re.compile(r';[ \t]*charset="?([A-Za-z0-9_:.-]+)', re.IGNORECASE)


class Response:
    """An answer; of one that is streamed, the body is still with the server.

    A streamed one is used as ``with client.stream(...) as response``; whatever is not read to its end costs the
    connection, since what is still to come must reach nobody else.
    """

    __slots__ = (
        "_connection",
        "_content",
        "_deadline",
        "_fields",
        "_headers",
        "_lease",
        "_limit",
        "_pause",
        "_piece_limit",
        "_pieces",
        "history",
        "method",
        "reason",
        "status",
        "url",
    )

    def __init__(
        self, connection: Connection, lease: Lease[Connection], method: str, url: str,
        pause: float, deadline: float, limit: int | None, piece_limit: int | None,
    ) -> None:  # fmt: skip
        self.status = connection.status
        self.reason = connection.reason.decode("latin-1")
        self.method = method
        self.url = url  #: the one that has answered, after redirects
        self.history: list[Response] = []  #: the redirects before it
        self._fields = connection.fields
        self._headers: Headers | None = None
        self._connection: Connection | None = connection
        self._lease = lease
        self._pause = pause
        self._deadline = deadline
        self._limit = limit  # of what is read as a whole
        self._piece_limit = piece_limit  # of what is read in pieces
        self._content: bytes | None = None
        self._pieces: Iterator[bytes] | None = None

    def __repr__(self) -> str:
        return f"<{self.status} {self.method} {self.url}>"

    @property
    def headers(self) -> Headers:
        """Names without regard to case; several of one name by ``get_all``."""
        if self._headers is None:
            self._headers = Headers([(n.decode("latin-1"), v.decode("latin-1").strip(" \t")) for n, v in self._fields])
        return self._headers

    @property
    def ok(self) -> bool:
        """Whether the status is below 400."""
        return self.status < 400

    def raise_for_status(self) -> Response:
        """Itself; StatusError when the status is 400 or above."""
        if self.status >= 400:
            raise StatusError(self)
        return self

    # --- the body

    @property
    def content(self) -> bytes:
        """The whole body, decompressed. BodyTooLarge, and what reading raises."""
        if self._content is None:
            self.read()
        assert self._content is not None
        return self._content

    def read(self) -> bytes:
        """The same as ``content``."""
        if self._content is None:
            connection = self._connection
            if connection is not None and connection.complete and self._pieces is None and not self._coding():
                chunks = connection.chunks  # all of it came with the head
                content = chunks[0] if len(chunks) == 1 else b"".join(chunks)
                if self._limit is None or len(content) <= self._limit:
                    self._content = content
                    self.close()
                    return content
            whole = BytesIO()  # grows bit by bit, where joining much at the end keeps everybody waiting
            for piece in self._begin(self._limit):
                whole.write(piece)
            self._content = whole.getvalue()
        return self._content

    @property
    def text(self) -> str:
        """In the charset that Content-Type names, else UTF-8; what cannot be decoded is replaced."""
        found = _charset.search(self.headers.get("content-type", ""))
        try:
            return self.content.decode(found[1] if found else "utf-8", "replace")
        except (LookupError, UnicodeError):  # there are codecs that know no "replace"
            return self.content.decode("utf-8", "replace")

    @overload
    def json(self) -> Any: ...
    @overload
    def json(self, into: type[T]) -> T: ...
    def json(self, into: Any = Any) -> Any:
        """The body as JSON; with ``into``, a type that msgspec knows, checked and converted. ProtocolError."""
        try:
            return msgspec.json.decode(self.content, type=into)
        except (msgspec.DecodeError, RecursionError) as error:
            raise self._named(ProtocolError(f"the body is not the JSON that was expected: {error}")) from error

    def iter_bytes(self) -> Iterator[bytes]:
        """The body, decompressed, in pieces as they come; once only, unless it was read as a whole before."""
        if self._content is not None:
            return iter([self._content] if self._content else [])
        return self._begin(self._piece_limit)

    def _begin(self, limit: int | None) -> Iterator[bytes]:
        if self._pieces is not None:
            raise ValueError(f"{self.url}: the body was read already; use .content to have it kept")
        self._pieces = self._iterate(limit)
        return self._pieces

    def iter_lines(self) -> Iterator[str]:
        """The body's lines, UTF-8, without their ends."""
        parts: list[bytes] = []  # of a line whose end has not come
        for piece in self.iter_bytes():
            *lines, rest = piece.split(b"\n")
            for line in lines:
                parts.append(line)
                yield b"".join(parts).removesuffix(b"\r").decode("utf-8", "replace")
                parts.clear()
            if rest:
                parts.append(rest)
        if parts:
            yield b"".join(parts).decode("utf-8", "replace")

    def _coding(self) -> str:
        coding = ""
        for name, value in self._fields:
            if len(name) == 16 and name.lower() == b"content-encoding":
                coding += "," + value.decode("latin-1")
        return coding.strip(",")

    def _iterate(self, limit: int | None) -> Iterator[bytes]:
        coding = self._coding()
        turns = Turns()
        pieces = self._raw(turns)
        if coding:
            pieces = decode(pieces, coding)
        size = 0
        try:
            for piece in pieces:
                size += len(piece)
                if limit is not None and size > limit:
                    raise BodyTooLarge(f"the body is longer than max_size={limit} bytes")
                yield piece
                turns.take()
        except HttpClientError as error:
            raise self._named(error) from error.__cause__
        finally:
            self.close()

    def _raw(self, turns: Turns) -> Iterator[bytes]:
        connection = self._connection
        if connection is None:
            raise ConnectionLost("the body was not read before the response was closed")
        try:
            while piece := connection.read_chunk(self._pause, self._deadline):
                yield piece
                turns.take()
                if self._connection is not connection:  # it may be somebody else's by now
                    raise ConnectionLost("the response was closed while its body was being read")
        except DeadlineExceeded:
            raise
        except TimeoutError as error:
            late = monotonic() >= self._deadline
            raise TimedOut(
                "the body did not come within the total time" if late
                else f"nothing more of the body within {self._pause:.3g} s"
            ) from error  # fmt: skip
        except OSError as error:
            if isinstance(error, HttpClientError):
                raise
            raise ConnectionLost(f"in the middle of the body: {error}") from error

    def _named(self, error: HttpClientError) -> HttpClientError:
        if not error.url:
            error.url = self.url
            error.args = (f"{self.method} {self.url}: {error}",)
        return error

    def close(self) -> None:
        """Gives the connection back if the body was read, else ends it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.ready:
                self._lease.release()
            else:
                self._lease.discard()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

"""One HTTP/1.1 connection (RFC 9112): requests out, answers in, one after the other.

Answers are parsed by httptools (llhttp, strict). Measured for an answer of seven fields and a small body, on one core:
httptools 1.2 us with the parser kept, geventhttpclient's binding of llhttp 5.1, h11 38, regular expressions 3.1.

Invariants:
* ``ready`` holds only between a complete answer, from which the connection survives, and the next request. Whatever
  interrupts an exchange leaves it False, and the pool keeps only what is ready: no answer reaches another request.
* What comes after a complete answer, or unasked, ends the connection.
"""

from __future__ import annotations

from time import monotonic

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from service_utils.http.errors import ConnectionLost, ProtocolError
from service_utils.http.transport import PlainStream, SecureStream

__all__ = ["Connection"]

MAX_HEAD = 65536  # bytes, also of what is neither head nor body
MAX_INTERIM = 20  # 1xx answers before the final one


class Connection:
    """Over a stream that is connected."""

    __slots__ = (
        "bodiless",
        "chunks",
        "complete",
        "extra",
        "fields",
        "head_done",
        "interim",
        "keep",
        "last",
        "parser",
        "ready",
        "reason",
        "status",
        "stream",
        "until_end",
        "uses",
    )

    def __init__(self, stream: PlainStream | SecureStream) -> None:
        self.stream = stream
        self.uses = 0
        self.ready = True
        self.parser: HttpResponseParser | None = HttpResponseParser(self)
        self._clear()

    def _clear(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.chunks: list[bytes] = []
        self.reason = b""
        self.status = self.interim = 0
        self.head_done = self.complete = self.extra = self.keep = self.until_end = self.last = False

    def close(self) -> None:
        """Whatever its state."""
        self.ready = False
        self.parser = None  # it refers to this
        self.stream.close()

    def begin(self, method: str, deadline: float) -> None:
        """A request follows, to be done within the deadline."""
        self._clear()
        self.ready = False
        self.uses += 1
        self.bodiless = method == "HEAD"
        self.stream.deadline = deadline

    # --- called by the parser

    def on_message_begin(self) -> None:
        if self.complete:
            self.extra = True

    def on_status(self, reason: bytes) -> None:
        if not self.head_done:
            self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_done:  # else it is a trailer
            self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        if self.complete:
            return
        parser = self.parser
        assert parser is not None
        self.status = parser.get_status_code()
        if self.status < 200:
            return
        if (version := parser.get_http_version()) not in ("1.1", "1.0"):
            raise ProtocolError(f"the answer is of HTTP/{version}, which was not asked for")
        self.head_done = True
        self.keep = parser.should_keep_alive()
        if not self.keep:
            self._look_why()

    def _look_why(self) -> None:
        """No length, no chunks: the body ends with the connection, unless there cannot be one."""
        names = {name.lower(): value.lower() for name, value in self.fields}
        framed = b"content-length" in names or b"chunked" in names.get(b"transfer-encoding", b"")
        self.until_end = not (framed or self.bodiless or self.status in (204, 304))
        if self.bodiless and b"connection" not in names and self.parser is not None:
            self.keep = self.parser.get_http_version() == "1.1"

    def on_body(self, data: bytes) -> None:
        if self.complete or self.bodiless:
            self.extra = True
        else:
            self.chunks.append(data)

    def on_message_complete(self) -> None:
        if self.head_done:
            self.complete = True
            return
        self.fields = []  # of an interim answer
        self.reason = b""
        self.interim += 1
        if self.interim > MAX_INTERIM:
            raise ProtocolError(f"more than {MAX_INTERIM} answers 1xx and no final one")

    # --- reading

    def read_head(self, wait: float, pause: float, deadline: float) -> None:
        """Reads until the head is complete: the first byte within ``wait``, each further one within ``pause`` seconds.

        ConnectionLost, ProtocolError, TimeoutError, OSError.
        """
        stream = self.stream
        stream.deadline = min(monotonic() + wait, deadline)
        received = 0
        while True:
            data = stream.receive(received > 0)
            if not data:
                raise ConnectionLost(
                    "the server closed the connection " + ("in the middle of the head" if received else "unanswered")
                )
            self._feed(data)
            if self.head_done:
                break
            received += len(data)
            if received > MAX_HEAD:
                raise ProtocolError(f"the head is longer than {MAX_HEAD} bytes")
            stream.deadline = min(monotonic() + pause, deadline)
        if self.bodiless and not self.complete:
            self.complete = True
            self.parser = HttpResponseParser(self)  # the old one expects a body
            self._completed()

    def read_chunk(self, pause: float, deadline: float) -> bytes:
        """A piece of the body within ``pause`` seconds; nothing when it is complete. Errors as above."""
        stream, chunks = self.stream, self.chunks
        idle = 0
        while not chunks and not self.complete:
            stream.deadline = min(monotonic() + pause, deadline)
            data = stream.receive(True)
            if data:
                self._feed(data)
                idle += len(data)
                if idle > MAX_HEAD and not chunks and not self.complete:
                    raise ProtocolError(f"{idle} bytes of trailers or of extensions of chunks, and nothing of the body")
            elif self.until_end:
                self.complete = True
            else:
                raise ConnectionLost("the server closed the connection in the middle of the body")
        return chunks.pop(0) if chunks else b""

    def _feed(self, data: bytes) -> None:
        assert self.parser is not None
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade:
            raise ProtocolError("the server switched to another protocol, unasked") from None
        except HttpParserError as error:
            if not self.complete:
                cause = error.__context__
                raise cause if isinstance(cause, ProtocolError) else ProtocolError(f"not HTTP: {error}") from None
            self.extra = True
        if self.complete:
            self._completed()

    def _completed(self) -> None:
        self.ready = self.keep and not self.extra and not self.last

    def is_stale(self) -> bool:
        """Whether the server has closed it, or said something unasked, since the last answer."""
        return not self.ready or not self.stream.is_silent()

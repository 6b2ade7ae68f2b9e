"""A request without the native core: the mixin that is under test on top of a core whose wire is a list."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from evpy.errors import ClientDisconnected
from evpy.http.request import RequestMixin


class FakeRequest(RequestMixin):
    """Has the interface of ``evpy._core.RequestBase``; what a handler sends is in ``status``, ``sent`` and ``answer``.

    ``body`` may be bytes or the pieces in which it arrives; with ``gone_after`` writing raises ClientDisconnected once
    that many bytes are written.
    """

    def __init__(
        self,
        method: str = "GET",
        target: str = "/",
        headers: Iterable[tuple[str, str]] | dict[str, str] = (),
        body: bytes | Iterable[bytes] = b"",
        *,
        gone_after: int | None = None,
    ) -> None:
        fields = list(headers.items() if isinstance(headers, dict) else headers)
        pieces = [body] if isinstance(body, bytes) else list(body)
        self._raw_headers = fields
        self._pieces = [piece for piece in pieces if piece]
        self._gone_after = gone_after
        self.method = method
        self.target = target
        path, _, query = target.partition("?")
        self.raw_path = path or "/"
        self.raw_query = query
        self.http_version = "1.1"
        self.scheme = "http"
        self.client = ("127.0.0.1", 50000)
        self.server = "127.0.0.1:8000"
        self.host = "example.org"
        self.id = "0123456789abcdef"
        self.arrival = 0.0
        self.deadline = 30.0
        self.disconnected = False
        declared = self.header("content-length")
        self.content_length = int(declared) if declared is not None else None
        self.has_body = bool(self._pieces)
        self.body_complete = True
        self.response_started = False
        self._cache: dict[str, Any] | None = None
        self.state: dict[str, Any] = {}
        # what the client saw
        self.status = 0
        self.sent: list[tuple[str, str]] = []
        self.answer = b""
        self.declared: int | None = None
        self.ended = False
        self.aborted = False
        self.sent_files: list[tuple[int, int]] = []  # (offset, length) of each send_file

    # --- what the core does

    def header(self, name: str) -> str | None:
        assert name == name.lower(), "the core compares with lower-case names"
        return next((value for key, value in self._raw_headers if key.lower() == name), None)

    def raw_headers(self) -> list[tuple[str, str]]:
        return list(self._raw_headers)

    def read_body(self, n: int = -1) -> bytes:
        assert n != 0
        if n < 0:
            whole = b"".join(self._pieces)
            self._pieces = []
            return whole
        if not self._pieces:
            return b""
        piece = self._pieces.pop(0)
        if len(piece) > n:
            self._pieces.insert(0, piece[n:])
        return piece[:n]

    def _head(self, status: int, headers: list[tuple[str, str]]) -> None:
        if self.response_started:
            raise RuntimeError("the response was already started")
        for name, value in headers:
            assert isinstance(name, str)
            assert isinstance(value, str)
            assert name.lower() not in ("content-length", "transfer-encoding"), "the core frames"
            value.encode("latin-1")
            if any(c in value for c in "\r\n\0"):
                raise ValueError(name)
        assert isinstance(status, int)
        self.response_started = True
        self.status = status
        self.sent = list(headers)

    def _receive(self, data: bytes) -> None:
        if self._gone_after is not None and len(self.answer) + len(data) > self._gone_after:
            self.disconnected = True
            raise ClientDisconnected
        if self.method != "HEAD":
            self.answer += data

    def start_response(self, status: int, headers: list[tuple[str, str]], content_length: int | None) -> None:
        self._head(status, headers)
        self.declared = content_length

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert self.response_started
        assert not self.ended
        assert isinstance(data, (bytes, bytearray, memoryview))
        assert len(data) > 0, "an empty chunk ends a chunked body"
        self._receive(bytes(data))

    def end(self) -> None:
        assert self.response_started
        assert not self.ended
        if self.declared is not None and self.method != "HEAD":
            assert len(self.answer) == self.declared
        self.ended = True

    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
        assert type(body) is bytes
        self._head(status, headers)
        self.declared = len(body)
        self._receive(body)
        self.ended = True

    def send_file(self, status: int, headers: list[tuple[str, str]], fd: int, offset: int, length: int) -> None:
        self._head(status, headers)
        self.declared = length
        self.sent_files.append((offset, length))
        self._receive(os.pread(fd, length, offset))
        self.ended = True

    @property
    def response_ended(self) -> bool:
        return self.ended

    def abort(self) -> None:
        self.aborted = True

    # --- for assertions

    def got(self, name: str) -> str | None:
        """The first field of this name that the client got."""
        return next((value for key, value in self.sent if key.lower() == name.lower()), None)

    def got_all(self, name: str) -> list[str]:
        return [value for key, value in self.sent if key.lower() == name.lower()]

"""Streams with one deadline for a whole exchange, and a limit for what a server may say at a time."""

from __future__ import annotations

import socket
import ssl
from time import monotonic
from typing import Any

from service_utils.sockets import Stream, TlsStream, client_context, connect

__all__ = ["MailStream", "MailTls", "default_context", "dial"]

MAX_ANSWER = 64 * 1024  # bytes; mailboxes set their own


class _Limits:
    """What both kinds of streams have in addition. ``deadline``: of the monotonic clock."""

    deadline = float("inf")
    limit = MAX_ANSWER  #: bytes that may come between two things that are sent
    timeout: float | None
    each = 0.0  #: seconds for what follows each thing that is sent; 0: ``deadline`` is set by hand
    _received = 0
    _raw: Any

    def _wait(self, events: int) -> None:
        left = self.deadline - monotonic()
        if left <= 0:
            raise TimeoutError("the time for this is over")
        self.timeout = None if left == float("inf") else left
        super()._wait(events)  # type: ignore[misc]

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        count: int = super().recv_into(buffer, size)  # type: ignore[misc]
        self._received += count
        if self._received > self.limit:
            raise OSError(f"the server says more than {self.limit} bytes")
        return count

    def sendall(self, data: Any) -> None:
        self._received = 0
        if self.each:
            self.deadline = monotonic() + self.each
        super().sendall(data)  # type: ignore[misc]

    def settimeout(self, timeout: float | None) -> None:
        """For libraries that set it: the deadline counts."""

    def shutdown(self, how: int = socket.SHUT_RDWR) -> None:
        """For libraries that say it before they close."""
        self._raw.shutdown(how)


class MailStream(_Limits, Stream):
    """A connected socket."""


class _Tls(_Limits, TlsStream):
    def __init__(self, plain: MailStream, context: ssl.SSLContext, name: str) -> None:
        self.deadline, self.limit, self.each = plain.deadline, plain.limit, plain.each
        super().__init__(plain, context, name)


class MailTls:
    """What libraries take for an SSLContext when they call ``wrap_socket`` with the stream that they were given."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, sock: MailStream, server_hostname: str) -> Any:
        return _Tls(sock, self._context, server_hostname)


def default_context() -> ssl.SSLContext:
    """Certificates and names are verified; TLS 1.2 at least."""
    return client_context()


def dial(host: str, port: int, deadline: float, tls: ssl.SSLContext | None) -> Any:
    """A stream to there, with TLS from its first byte if a context is given. OSError."""
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the time for this is over")
    plain = connect(host, port, left)
    plain._waits.close()
    stream = MailStream(plain._raw)
    stream.deadline = deadline
    if tls is None:
        return stream
    try:
        return _Tls(stream, tls, host)
    except BaseException:
        stream.close()
        raise

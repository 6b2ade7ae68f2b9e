"""Sockets that any greenlet of any hub, and any thread, may use in turn.

gevent's sockets belong to the hub in which they were made, so a pool cannot hand them to a thread with another one.
These wait as ``Waits`` does. They have what protocol libraries ask of a socket that they are given: ``sendall``,
``recv``, ``recv_into``, ``makefile``, ``settimeout``, ``close``. Timeouts are in seconds; TimeoutError when one is
over, ConnectionError and the like from the system.
"""

from __future__ import annotations

import _socket  # the class below socket.socket, which gevent does not replace
import io
import os
import ssl
from time import monotonic
from typing import Any

from service_utils.dialing import dial
from service_utils.names import Address, usual
from service_utils.turns import pass_on
from service_utils.waiting import READ, WRITE, Waits

__all__ = ["Stream", "TlsContext", "TlsStream", "client_context", "connect", "resolve"]

CHUNK = 65536  # bytes
UNWAITED = 1 << 18  # bytes that are received without waiting before others have their turn


def resolve(host: str, port: int, timeout: float) -> list[Address]:
    """Families and addresses for a host, within ``timeout`` seconds, without blocking a hub. OSError, TimeoutError."""
    return usual.resolve(host, port, timeout)


def connect(host: str, port: int, timeout: float) -> Stream:
    """A connection to a host, or to a Unix socket if ``host`` is a path, within ``timeout`` seconds. OSError.

    One of several addresses that leads nowhere costs a quarter of a second (``dialing``).
    """
    deadline = monotonic() + timeout
    if not host.startswith("/"):
        return Stream(dial(resolve(host, port, timeout), deadline))
    raw = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    raw.setblocking(False)
    stream = Stream(raw)
    try:
        stream.timeout = timeout
        stream._connect(host)
    except BaseException:
        stream.close()
        raise
    stream.timeout = None
    return stream


class Stream:
    """A connected socket."""

    waits: type[Waits] = Waits

    def __init__(self, raw: _socket.socket) -> None:
        self._raw = raw
        self._waits = self.waits(raw.fileno())
        self.timeout: float | None = None  #: of each wait
        self._unwaited = 0  # bytes
        #: What was raised into the greenlet while it waited here (a deadline of evpy is a TimeoutError, too): libraries
        #: may have taken it for an error of the socket. Who calls them raises it again.
        self.interruption: BaseException | None = None

    def _wait(self, events: int) -> None:
        if self._raw.fileno() < 0:
            raise OSError("the socket was closed")
        self._unwaited = 0
        try:
            ready = self._await(events)
        except BaseException as error:
            self.interruption = error
            raise
        if not ready:
            raise TimeoutError("nothing happened " + ("in time" if (t := self.timeout) is None else f"for {t:.3g} s"))

    def _await(self, events: int) -> int:
        return self._waits.wait(events, self.timeout)

    def _connect(self, address: Any) -> None:
        code = self._raw.connect_ex(address)
        if code in (115, 11):  # EINPROGRESS; EAGAIN of a Unix socket whose queue is full
            self._wait(WRITE)
            code = self._raw.getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR)
        if code:
            raise OSError(code, os.strerror(code))

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        """At least a byte; 0 at the end."""
        if self._unwaited > UNWAITED:
            self._pass_on()
        while True:
            try:
                count = self._raw.recv_into(buffer, size)
                self._unwaited += count
                return count
            except BlockingIOError:
                self._wait(READ)

    def _pass_on(self) -> None:
        """Lets other greenlets run, while everything is there at once."""
        self._unwaited = 0
        try:
            pass_on()
        except BaseException as error:
            self.interruption = error
            raise

    def recv(self, size: int) -> bytes:
        """Up to so many bytes; none at the end."""
        buffer = bytearray(size)
        return bytes(buffer[: self.recv_into(buffer)])

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while len(view):
            try:
                view = view[self._raw.send(view) :]
            except BlockingIOError:
                self._wait(WRITE)

    def settimeout(self, timeout: float | None) -> None:
        """For libraries that set it; those that say None leave it to ``timeout``."""
        if timeout is not None:
            self.timeout = timeout

    @property
    def local_port(self) -> int | None:
        """None for a Unix socket."""
        name = self._raw.getsockname()
        return int(name[1]) if isinstance(name, tuple) else None

    def fileno(self) -> int:
        return self._raw.fileno()

    def makefile(self, mode: str = "rb", buffering: int = CHUNK) -> io.BufferedReader:
        """A file to read from. Closing it does not close the socket."""
        if mode != "rb":
            raise ValueError(f"makefile({mode!r}): such a socket has files to read from (rb) only")
        return io.BufferedReader(_Reader(self), buffering)

    def close(self) -> None:
        if self._raw.fileno() >= 0:
            self._waits.close()
            self._raw.close()


class _Reader(io.RawIOBase):
    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._stream.recv_into(buffer)


class TlsStream(Stream):
    """TLS over a stream, which it takes over."""

    def __init__(self, plain: Stream, context: ssl.SSLContext, server_hostname: str | None) -> None:
        super().__init__(plain._raw)
        self.timeout = plain.timeout
        plain._waits.close()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=server_hostname)
        self._do(self._tls.do_handshake)

    def _do(self, call: Any, *arguments: Any) -> Any:
        while True:
            try:
                result = call(*arguments)
            except ssl.SSLWantReadError:
                self._flush()
                count = super().recv_into(buffer := bytearray(CHUNK))
                if count:
                    self._incoming.write(memoryview(buffer)[:count])
                else:
                    self._incoming.write_eof()
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        while self._outgoing.pending:
            super().sendall(self._outgoing.read())

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        view = memoryview(buffer).cast("B")
        try:
            return int(self._do(self._tls.read, size or len(view), view))
        except ssl.SSLZeroReturnError:
            return 0
        except ssl.SSLEOFError:  # RFC 8446, section 6.1: anybody on the way could have cut it off here
            raise ConnectionResetError("the connection ended without a TLS close_notify: data may be missing") from None

    def sendall(self, data: Any) -> None:
        view = memoryview(data).cast("B")
        while len(view):
            view = view[self._do(self._tls.write, view) :]


def client_context(**authorities: Any) -> ssl.SSLContext:
    """For a client: TLS 1.2 or later, the certificate verified by the system's authorities, or by ``cafile``,
    ``capath``, ``cadata``, and so is its name: by the alternative names alone, never the common name (RFC 9525)."""
    context = ssl.create_default_context(**authorities)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    return context


class TlsContext:
    """For libraries that call ``wrap_socket`` of a context with the socket that they were given."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context

    def wrap_socket(self, sock: Stream, server_hostname: str | None = None) -> TlsStream:
        return TlsStream(sock, self._context, server_hostname)

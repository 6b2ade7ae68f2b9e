"""Lines to a log collector over TCP, and to syslog.

The thread that writes uses sockets below those that gevent patches (``_socket``), so that it has no hub.
"""

from __future__ import annotations

import _socket
import logging
import os
import re
import socket as names
import ssl
import sys
import time
from typing import Any

from service_utils.logging.sinks import CAPACITY, Sink
from service_utils.sockets import client_context
from service_utils.waiting import sleep

__all__ = ["SyslogSink", "TcpSink"]

TIMEOUT = 10.0  # seconds for connecting
TICK = 0.5  # seconds after which a waiting thread looks whether the sink is being closed
GRACE = 1.0  # seconds that a sink which is being closed still tries
PAUSES = 0.1, 10.0  # seconds between attempts to connect: at first, at most
MAX_DATAGRAM = 8192  # bytes
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))  # RFC 5424
FACILITIES = {"user": 1, "daemon": 3, **{f"local{n}": 16 + n for n in range(8)}}


class TcpSink(Sink):
    """Lines over one TCP connection, which is made anew when it ends.

    While the collector cannot be reached, lines wait; when ``capacity`` is reached, the oldest are dropped and counted.
    ``tls``: an ``ssl.SSLContext``, or True for the system's authorities. What the kernel had taken when a connection
    was reset is lost without being counted: plain TCP does not tell. A line that was cut short is sent again, and so
    are those that were sent together with it (up to 50).
    """

    def __init__(
        self, host: str, port: int, form: str = "json", *, tls: ssl.SSLContext | bool = False, capacity: int = CAPACITY
    ) -> None:
        super().__init__(f"{host}:{port}", form, capacity=capacity)
        self._host, self._port = host, port
        self._tls = client_context() if tls is True else tls or None
        self._connection: _Connection | None = None
        self._pause = PAUSES[0]
        self._give_up = 0.0

    def _write(self, lines: list[bytes]) -> int:
        at = 0
        while at < len(lines):
            try:
                if self._connection is None or self._connection.has_ended():
                    self._connect()
                part = lines[at : at + 50]
                assert self._connection is not None
                self._connection.send(b"".join(part), self._hurry)
                at += len(part)
            except OSError as error:
                self._error = f"{type(error).__name__}: {error}"
                self._hang_up()
                if not self._wait():
                    return at
        return at

    def _connect(self) -> None:
        self._hang_up()
        self._connection = _Connection(self._host, self._port, self._tls)
        self._pause = PAUSES[0]

    def _hurry(self) -> bool:
        """Whether waiting makes no sense any more: the sink is being closed, and its time is over."""
        if not self._closing:
            return False
        now = time.monotonic()
        self._give_up = self._give_up or now + GRACE
        return now >= self._give_up

    def _wait(self) -> bool:
        """A pause before the next attempt; False if there shall be none."""
        until = time.monotonic() + self._pause
        self._pause = min(self._pause * 2, PAUSES[1])
        while time.monotonic() < until:
            if self._hurry():
                return False
            sleep(min(0.1, self._pause))
        return not self._hurry()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    _shut = _hang_up

    def _after_fork(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.socket.close()  # without a word: it is the parent's
        super()._after_fork()


class _Connection:
    """A connected socket, with TLS in memory if there is any."""

    def __init__(self, host: str, port: int, tls: ssl.SSLContext | None) -> None:
        self.socket = _connected(host, port)
        self.tls: ssl.SSLObject | None = None
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self.socket.settimeout(TIMEOUT)
            if tls is not None:
                self.tls = tls.wrap_bio(self._in, self._out, server_hostname=host)
                self._shake_hands()
            self.socket.settimeout(TICK)
        except BaseException:
            self.socket.close()
            raise

    def _shake_hands(self) -> None:
        assert self.tls is not None
        while True:
            try:
                self.tls.do_handshake()
                return
            except ssl.SSLWantReadError:
                self._flush(lambda: False)
                data = self.socket.recv(16384)
                if not data:
                    raise ConnectionResetError("the collector hung up during the TLS handshake") from None
                self._in.write(data)
            finally:
                self._flush(lambda: False)

    def send(self, data: bytes, hurry: Any) -> None:
        """Everything; OSError if not. ``hurry()`` is asked from time to time whether to give up."""
        if self.tls is None:
            self._send(data, hurry)
        else:
            self.tls.write(data)
            self._flush(hurry)

    def _flush(self, hurry: Any) -> None:
        self._send(self._out.read(), hurry)

    def _send(self, data: bytes, hurry: Any) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self.socket.send(view, _socket.MSG_NOSIGNAL) :]
            except TimeoutError:
                if hurry():
                    raise

    def has_ended(self) -> bool:
        """Whether the collector has hung up. What it says otherwise is thrown away."""
        self.socket.settimeout(0)
        try:
            while data := self.socket.recv(16384):
                if self.tls is not None:
                    self._in.write(data)
                    self.tls.read(16384)
        except (BlockingIOError, TimeoutError, ssl.SSLWantReadError):
            return False
        except OSError:
            pass
        finally:
            self.socket.settimeout(TICK)
        return True

    def close(self) -> None:
        self.socket.close()


class SyslogSink(Sink):
    """To the syslog of this machine (``/dev/log``, in the form of RFC 3164), or to ``host:port`` over UDP (RFC 5424).

    Longer lines than 8 KiB are cut. Datagrams that get lost are not noticed.
    """

    def __init__(
        self,
        address: str = "/dev/log",
        form: str = "text",
        *,
        program: str = "",
        facility: str = "user",
        capacity: int = CAPACITY,
    ) -> None:
        super().__init__(f"syslog {address}", form, capacity=capacity)
        if facility not in FACILITIES:
            raise ValueError(f"facility={facility!r}: it is one of {', '.join(FACILITIES)}")
        self._local = address.startswith("/")
        host, _, port = address.rpartition(":")
        if not self._local and not (host and port.isdigit()):
            raise ValueError(f"address={address!r}: give a path, such as /dev/log, or host:port")
        self._address = address
        self._program = _name(program or os.path.basename(sys.argv[0])) or "python"
        self._facility = FACILITIES[facility]
        self._socket: _socket.socket | None = None

    def wrap(self, line: bytes, record: logging.LogRecord) -> bytes:
        severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
        head = f"<{self._facility * 8 + severity}>"
        if self._local:
            stamp = time.strftime("%b %d %H:%M:%S", time.localtime(record.created))
            head += f"{stamp} {self._program}[{record.process}]: "
        else:
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
            host = _name(names.gethostname()) or "-"
            head += f"1 {stamp}.{int(record.msecs):03d}Z {host} {self._program} {record.process} - - "
        return head.encode() + line

    def _write(self, lines: list[bytes]) -> int:
        for number, line in enumerate(lines):
            try:
                self._send(line.rstrip(b"\n")[:MAX_DATAGRAM])
            except OSError as error:
                self._error = f"{type(error).__name__}: {error}"
                return number
        return len(lines)

    def _send(self, datagram: bytes) -> None:
        for again in (True, False):  # a syslog that was started anew has another socket
            if self._socket is None:
                self._socket = self._open()
            try:
                self._socket.send(datagram)
                return
            except OSError:
                self._shut()
                if not again:
                    raise

    def _open(self) -> _socket.socket:
        if self._local:
            opened = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
            try:
                opened.settimeout(TICK)
                opened.connect(self._address)
            except BaseException:
                opened.close()
                raise
            return opened
        host, _, port = self._address.rpartition(":")
        return _connected(host.strip("[]"), int(port), _socket.SOCK_DGRAM)

    def _shut(self) -> None:
        opened, self._socket = self._socket, None
        if opened is not None:
            opened.close()


def _name(text: str) -> str:
    """As a field of the head: visible ASCII without spaces, 48 characters (RFC 5424 section 6.2.5)."""
    return re.sub(r"[^!-~]", "_", text)[:48]


def _connected(host: str, port: int, kind: int = _socket.SOCK_STREAM) -> _socket.socket:
    failure: OSError = OSError(f"{host} has no address")
    for family, _, protocol, _, address in _socket.getaddrinfo(host, port, 0, kind):
        opened = _socket.socket(family, kind | _socket.SOCK_CLOEXEC, protocol)
        try:
            opened.settimeout(TIMEOUT)
            opened.connect(address)
        except OSError as error:
            opened.close()
            failure = error
        else:
            return opened
    raise failure

"""Streams with a deadline: what is waited for, however often, ends at one point in time.

They are those of ``service_utils.sockets``, so greenlets of any hub and plain threads may use them in turn.

Many servers write head and body of an answer separately, without TCP_NODELAY: the body then waits for our
acknowledgement of the head (Nagle's algorithm), and that waits for 40 ms in case we had something to say. So, whenever
the rest of an answer is waited for, what has come is acknowledged at once.
"""

from __future__ import annotations

import ssl
from _socket import IPPROTO_TCP, TCP_QUICKACK
from contextlib import suppress
from time import monotonic

from service_utils.near import NearWaits
from service_utils.sockets import Stream, TlsStream
from service_utils.waiting import READ, WRITE

__all__ = ["EarlyAnswer", "PlainStream", "SecureStream"]

CHUNK = 65536  # bytes
FIRST = 16384  # most answers are shorter; asking for more costs time


class EarlyAnswer(Exception):
    """The server takes no more of the body, and has said something."""


class PlainStream(Stream):
    """TCP."""

    deadline = 0.0  #: of whatever is done; the caller sets it
    waits: type[NearWaits] = NearWaits
    _waits: NearWaits

    def _wait(self, events: int) -> None:
        left = self.deadline - monotonic()
        if left <= 0 or not self._waits.wait(events, left):
            raise TimeoutError

    def receive(self, begun: bool = False) -> bytes:
        """At least a byte, none at the end. ``begun``: something of the answer has come."""
        if not begun:  # nothing is there yet, presumably
            left = self.deadline - monotonic()
            if left <= 0 or not self._waits.answer(left):
                raise TimeoutError
        while True:
            try:
                return self._raw.recv(CHUNK if begun else FIRST)
            except BlockingIOError:
                self._raw.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
                self._wait(READ)

    def send(self, data: bytes | memoryview) -> None:
        """All of it. EarlyAnswer when the server has stopped reading and begun to answer."""
        try:
            sent = self._raw.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self._send_rest(memoryview(data).cast("B")[sent:])

    def _send_rest(self, view: memoryview) -> None:
        while len(view):
            left = self.deadline - monotonic()
            ready = self._waits.wait(READ | WRITE, left) if left > 0 else 0
            if not ready:
                raise TimeoutError
            if not ready & WRITE:
                raise EarlyAnswer
            with suppress(BlockingIOError):
                view = view[self._raw.send(view) :]

    def is_silent(self) -> bool:
        """Whether the server has neither closed nor said anything unasked."""
        return not self._waits.look()


class SecureStream(TlsStream):
    """TLS over TCP. The handshake is made at once: ssl.SSLError, OSError, TimeoutError."""

    waits: type[NearWaits] = NearWaits
    _waits: NearWaits

    def __init__(self, plain: PlainStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self.deadline = plain.deadline
        self._begun = self._asked = self._sending = False
        self._early = b""  # of an answer that came while something was sent
        super().__init__(plain, context, server_hostname)
        self._buffer = bytearray(CHUNK)

    def _wait(self, events: int) -> None:
        if self._begun:
            self._raw.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
        if self._sending and events == WRITE:
            self._wait_to_send()
            return
        left = self.deadline - monotonic()
        asked, self._asked = self._asked and events == READ, False
        if left <= 0 or not (self._waits.answer(left) if asked else self._waits.wait(events, left)):
            raise TimeoutError

    def _wait_to_send(self) -> None:
        while True:
            left = self.deadline - monotonic()
            ready = self._waits.wait(READ | WRITE, left) if left > 0 else 0
            if not ready:
                raise TimeoutError
            if ready & WRITE:
                return
            try:
                data = self._raw.recv(CHUNK)
            except BlockingIOError:
                continue
            if not data:
                raise ConnectionResetError("the server closed the connection while it was sent something")
            self._incoming.write(data)
            with suppress(ssl.SSLWantReadError):  # tickets for sessions are no answer
                self._early = self._tls.read(CHUNK)
                raise EarlyAnswer

    def receive(self, begun: bool = False) -> bytes:
        """As above."""
        if self._early:
            early, self._early = self._early, b""
            return early
        self._begun = begun
        self._asked = not begun
        count = self.recv_into(self._buffer)
        self._asked = False
        return bytes(memoryview(self._buffer)[:count])

    def send(self, data: bytes | memoryview) -> None:
        """As above."""
        self._sending = True
        try:
            self.sendall(data)
        finally:
            self._sending = False

    def is_silent(self) -> bool:
        """As above; tickets for sessions may come at any time and do not count."""
        try:
            while data := self._raw.recv(CHUNK):
                self._incoming.write(data)
        except BlockingIOError:
            try:
                self._tls.read(1)
            except ssl.SSLWantReadError:
                return True
            except ssl.SSLError:
                pass
        except OSError:
            pass
        return False

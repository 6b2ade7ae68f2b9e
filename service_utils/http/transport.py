"""Streams with a deadline: what is waited for, however often, ends at one point in time.

They are those of ``service_utils.sockets``, so greenlets of any hub and plain threads may use them in turn.

Many servers write head and body of an answer separately, without TCP_NODELAY: the body then waits for our
acknowledgement of the head (Nagle's algorithm), and that waits for 40 ms in case we had something to say. So, whenever
the rest of an answer is waited for, what has come is acknowledged at once.

A server on the same machine answers sooner than one falls asleep and is woken again (28 us against 75 us of time, and
no less CPU). So, when nobody else waits for an answer here, it is looked for during ``LOOKING`` before sleeping: the
idea of adaptive mutexes. A connection on which that was in vain is not looked at for its next 1, 3, 7 ... answers, so
a distant server costs next to nothing; and whoever is lucky all the time lets the other greenlets run every ``TURN``.
"""

from __future__ import annotations

import os
import ssl
from _socket import IPPROTO_TCP, TCP_QUICKACK
from contextlib import suppress
from select import POLLIN, poll
from time import monotonic

from service_utils.sockets import Stream, TlsStream
from service_utils.waiting import READ, WRITE, poller

__all__ = ["EarlyAnswer", "PlainStream", "SecureStream"]

CHUNK = 65536  # bytes
FIRST = 16384  # most answers are shorter; asking for more costs time
LOOKING = 50e-6  # seconds: what sleeping and waking up cost
TURN = 250e-6  # seconds
MOST_IN_VAIN = 8  # of 1, 3, 7 ... 255 answers

_waiting: set[Stream] = set()  # for the first byte of an answer, in this process
os.register_at_fork(after_in_child=_waiting.clear)


class EarlyAnswer(Exception):
    """The server takes no more of the body, and has said something."""


class PlainStream(Stream):
    """TCP."""

    deadline = 0.0  #: of whatever is done; the caller sets it
    _looking: poll | None = None
    _in_vain = 0  # how often in a row an answer was looked for and had not come
    _unlooked = 0  # so many answers will not be looked for
    _turn = 0.0  # when the hub must have its turn

    def _wait(self, events: int) -> None:
        left = self.deadline - monotonic()
        if left <= 0 or not self._waits.wait(events, left):
            raise TimeoutError

    def receive(self, begun: bool = False) -> bytes:
        """At least a byte, none at the end. ``begun``: something of the answer has come."""
        if not begun:  # nothing is there yet, presumably
            self._await_answer()
        while True:
            try:
                return self._raw.recv(CHUNK if begun else FIRST)
            except BlockingIOError:
                self._raw.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
                self._wait(READ)

    def _await_answer(self) -> None:
        now = monotonic()
        left = self.deadline - now
        if left <= 0:
            raise TimeoutError
        if not _waiting and self._comes_at_once(now):
            return
        _waiting.add(self)
        try:
            if not self._waits.wait(READ, left):
                raise TimeoutError
        finally:
            _waiting.discard(self)

    def _comes_at_once(self, now: float) -> bool:
        """Whether there is something to read before long, and nothing else that ought to be done first."""
        if self._unlooked:
            self._unlooked -= 1
            return False
        until = now + LOOKING
        look = self._looker().poll
        while not look(0):
            if monotonic() >= until:
                self._in_vain = min(self._in_vain + 1, MOST_IN_VAIN)
                self._unlooked = (1 << self._in_vain) - 1
                return False
        self._in_vain = 0
        if now < self._turn:
            return True
        self._turn = now + TURN
        return False

    def _looker(self) -> poll:
        looking = self._looking
        if looking is None:
            looking = self._looking = poller()
            looking.register(self._raw.fileno(), POLLIN)
        return looking

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
        return not self._looker().poll(0)


class SecureStream(TlsStream):
    """TLS over TCP. The handshake is made at once: ssl.SSLError, OSError, TimeoutError."""

    def __init__(self, plain: PlainStream, context: ssl.SSLContext, server_hostname: str) -> None:
        self.deadline = plain.deadline
        self._begun = False
        super().__init__(plain, context, server_hostname)
        self._buffer = bytearray(CHUNK)

    def _wait(self, events: int) -> None:
        if self._begun:
            self._raw.setsockopt(IPPROTO_TCP, TCP_QUICKACK, 1)
        left = self.deadline - monotonic()
        if left <= 0 or not self._waits.wait(events, left):
            raise TimeoutError

    def receive(self, begun: bool = False) -> bytes:
        """As above."""
        self._begun = begun
        count = self.recv_into(self._buffer)
        return bytes(memoryview(self._buffer)[:count])

    def send(self, data: bytes | memoryview) -> None:
        """All of it."""
        self.sendall(data)

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

"""Other greenlets run while a body comes, goes or is expanded without a wait; and what makes nothing out of much ends.

No time is looked at: the other side always has something, and a greenlet that counts its turns has had some when the
body is over."""

from __future__ import annotations

import gzip
import socket
import sys
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

from service_utils import turns
from service_utils.http.bodies import NOTHING, make_body
from service_utils.http.connection import Connection
from service_utils.http.decoding import decode
from service_utils.http.errors import ProtocolError
from service_utils.http.exchange import _send_body
from service_utils.http.response import Response
from service_utils.sockets import Stream

SIZE = 8 << 20


class _Ready:
    """A stream that always has something."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0
        self.deadline = 0.0

    def receive(self, begun: bool = False) -> bytes:
        self._place += 65536
        return self._data[self._place - 65536 : self._place]

    def send(self, data: bytes) -> None:
        pass

    def is_silent(self) -> bool:
        return True

    def close(self) -> None:
        pass


class _Lease:
    def release(self) -> None:
        pass

    discard = release


def _others(work: Callable[[], Any]) -> int:
    """How many turns another greenlet, which waits for a descriptor, has while this works."""
    had = 0
    ours, theirs = socket.socketpair()
    theirs.send(b"x")

    def count() -> None:
        nonlocal had
        ready = gevent.get_hub().loop.io(ours.fileno(), 1)
        try:
            while True:
                gevent.get_hub().wait(ready)
                had += 1
        finally:
            ready.close()

    def run() -> int:
        counting = gevent.spawn(count)
        gevent.sleep(0)
        assert counting.started
        before = had
        work()
        after = had
        counting.kill()
        ours.close()
        theirs.close()
        return after - before

    return in_thread(run, hub=True).result(PATIENCE)


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    """The clock is not what these tests are about: each step is long enough for a turn."""
    monkeypatch.setattr(turns, "TURN", 0.0)


@pytest.mark.parametrize(("coding", "name"), [("", 0), ("gzip", 0), ("gzip", SIZE)])
def test_others_run_while_a_body_is_read(coding: str, name: int) -> None:
    """Also while nothing comes out of it: a name of 8 MiB in gzip's head."""
    body = bytes(SIZE)
    if coding:
        body = gzip.compress(body if not name else b"")
        size = 0 if name else SIZE
        if name:
            body = body[:3] + b"\x08" + body[4:10] + b"n" * name + b"\0" + body[10:]
    else:
        size = SIZE
    head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Encoding: {coding}\r\n\r\n" if coding else "\r\n"

    def read() -> None:
        stream: Any = _Ready(head.encode() + body)
        connection = Connection(stream)
        connection.begin("GET", 1e18)
        connection.read_head(1e9, 1e9, 1e18)
        lease: Any = _Lease()
        assert len(Response(connection, lease, "GET", "", 1e9, 1e18, None, None).read()) == size
        connection.close()

    assert _others(read) >= SIZE // 65536 // 2


def test_others_run_while_a_body_is_sent() -> None:
    class Call:
        class timeouts:  # noqa: N801
            read = 1e9

        deadline = 1e18

    def send() -> None:
        connection: Any = Connection(_Ready(b""))  # type: ignore[arg-type]
        call: Any = Call
        body = make_body([b"x"] * 100, None, None, NOTHING)
        assert body is not None
        _send_body(connection, call, body)
        connection.close()

    assert _others(send) >= 50


class _Full:
    """A socket that always has something."""

    def fileno(self) -> int:
        return -1

    def recv_into(self, buffer: Any, size: int = 0) -> int:
        return len(buffer)


def test_others_run_while_a_stream_is_read() -> None:
    """Of mail, Redis, MySQL: every quarter of a MiB."""

    def read() -> None:
        stream = Stream(_Full())  # type: ignore[arg-type]
        buffer = bytearray(65536)
        assert sum(stream.recv_into(buffer) for _ in range(SIZE // 65536)) == SIZE

    assert _others(read) >= SIZE // 65536 // 8


def _empties(coding: str) -> Iterator[bytes]:
    if sys.version_info >= (3, 14):
        from compression import zstd
    else:
        from backports import zstd
    empty = gzip.compress(b"") if coding == "gzip" else zstd.compress(b"")
    while True:
        yield empty * 1000


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_parts_that_hold_nothing_have_an_end(coding: str) -> None:
    with pytest.raises(ProtocolError, match="empty parts"):
        list(decode(_empties(coding), coding))


def test_much_that_makes_nothing_has_an_end() -> None:
    """A gzip member whose name never ends."""

    def endless() -> Iterator[bytes]:
        yield b"\x1f\x8b\x08\x08" + bytes(6)
        while True:
            yield b"x" * (1 << 20)

    with pytest.raises(ProtocolError, match="nothing comes out"):
        list(decode(endless(), "gzip"))


def test_many_parts_that_hold_something_are_read() -> None:
    members = b"".join(gzip.compress(b"%d " % n) + gzip.compress(b"") for n in range(1000))
    assert b"".join(decode(iter([members]), "gzip")) == b"".join(b"%d " % n for n in range(1000))

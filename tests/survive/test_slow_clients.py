"""Clients that send their request a byte at a time: each gets 408, and nobody else notices (I5)."""

from __future__ import annotations

import contextlib
import itertools
import selectors
import socket
import threading
import time
from typing import Self

import pytest
from hammer import APP, LONG, Hammer, Report
from serving import Server
from serving.inside import Inside

DRIPS = 1000 if LONG else 200
HEADER_TIMEOUT = 10.0 if LONG else 2.0  # seconds
BETWEEN = 1.0 if LONG else 0.2  # seconds from one byte of a client to the next
GROUPS = 100  # of clients that send at the same time: it shall not be a burst
RATE = 1000  # requests/s of normal load
HEAD = b"GET /hello/00000000 HTTP/1.1\r\nHost: drip\r\nX-Long: " + b"x" * 1000


class Drips:
    """Many connections on one thread, each of which sends a byte now and then, until it is answered and closed."""

    def __init__(self, address: tuple[str, int], count: int) -> None:
        self._address = address
        self._count = count
        self._selector = selectors.DefaultSelector()
        self._sent: dict[socket.socket, int] = {}
        self._received: dict[socket.socket, bytes] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="drips")
        self.answers: list[bytes] = []

    def __enter__(self) -> Self:
        for _ in range(self._count):
            client = socket.create_connection(self._address)
            client.send(HEAD[:1])  # its time begins
            client.setblocking(False)
            self._selector.register(client, selectors.EVENT_READ)
            self._sent[client], self._received[client] = 1, b""
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        self._thread.join()
        for client in self._sent:
            client.close()
        self._selector.close()

    def wait(self, seconds: float) -> None:
        """Until every connection is closed."""
        self._thread.join(seconds)
        assert not self._thread.is_alive(), f"{len(self._sent)} connections are still open"

    def _run(self) -> None:
        for turn in itertools.count():
            if not self._sent or self._stop.is_set():
                return
            again = time.monotonic() + BETWEEN / GROUPS
            for client in [c for c in self._sent if c.fileno() % GROUPS == turn % GROUPS]:
                at = self._sent[client]
                with contextlib.suppress(OSError):  # closed: its answer is read below
                    self._sent[client] += client.send(HEAD[at : at + 1])
            while (left := again - time.monotonic()) > 0 and self._sent:
                for key, _ in self._selector.select(left):
                    assert isinstance(key.fileobj, socket.socket)
                    self._read(key.fileobj)

    def _read(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except BlockingIOError:
            return
        except ConnectionResetError:
            data = b""
        self._received[client] += data
        if not data:
            self._selector.unregister(client)
            client.close()
            del self._sent[client]
            self.answers.append(self._received.pop(client))


@pytest.mark.slow
def test_slow_drips_beside_normal_load() -> None:
    before: Report | None = None
    options = ("-w", "2", "--header-timeout", str(HEADER_TIMEOUT))
    with Server(APP, *options) as server, Inside(server.pid) as inside:
        if LONG:
            with Hammer(server.port, {"hello": 1}, connections=32, rate=RATE, seconds=HEADER_TIMEOUT) as hammer:
                before = hammer.wait()
        with (
            Hammer(server.port, {"hello": 1}, connections=32, rate=RATE) as hammer,
            Drips(server.address, DRIPS) as drips,
        ):
            drips.wait(5 * HEADER_TIMEOUT + 10)
            server.wait_until(lambda: inside.count("answered") > RATE * HEADER_TIMEOUT / 4, "there was normal load")
            report = hammer.stop()
        assert report.failures() == []
        assert len(drips.answers) == DRIPS
        wrong = [answer for answer in drips.answers if not answer.startswith(b"HTTP/1.1 408 ")]
        assert wrong == []
        inside.wait_at_rest()
        assert inside.count("header_timeouts") == inside.count("bad_requests") == DRIPS
        if before is not None:
            print(f"p50 without drips {1e3 * before.p50:.2f} ms, beside {DRIPS} drips {1e3 * report.p50:.2f} ms")
            print(f"p99 without drips {1e3 * before.p99:.2f} ms, beside {DRIPS} drips {1e3 * report.p99:.2f} ms")
            assert report.p99 < 2 * before.p99 + 0.005

"""Everything at once: whatever dies, and whenever, no answer is wrong, and in the end nothing is left (I1, I2, I3)."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import struct
import time

import pytest
from hammer import APP, LONG, MIX, Hammer
from serving import Server
from serving.inside import Inside

BURNING = MIX | {"burn": 1}  # requests that wait for a core, too
SECONDS = 60.0 if LONG else 5.0
WORKERS = 3
LEAVERS = (
    b"GET /sleep/00000001?n=20 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /stream/00000002?n=30000 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /disk/00000003?n=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /upload/00000004 HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + b"x" * 100000,
    b"POST /echo/00000005 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    b"GET /hello/00000006 HTTP/1.1\r\nHo",
)


def leave(server: Server, chance: random.Random) -> None:
    """A client that sends something and goes away, one way or another."""
    with contextlib.suppress(OSError), server.client() as client:
        client.send(chance.choice(LEAVERS))
        if chance.random() < 0.5:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--io-threads", "2", "--threads", "2")], ids=["one thread", "threads"])
def test_everything_at_once(options: tuple[str, ...]) -> None:
    chance = random.Random(1)
    happened = dict.fromkeys(("worker killed", "gateway killed", "reload", "left"), 0)
    with Server(APP, "-w", str(WORKERS), "--max-body", "64M", *options) as server, Inside(server.pid) as inside:
        with Hammer(server.port, BURNING, connections=24, depth=2) as hammer:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end or not all(happened.values()):
                what = chance.choices(list(happened), (4, 2, 1, 20))[0]
                if what == "left":
                    leave(server, chance)
                elif what == "reload":
                    server.signal(signal.SIGHUP)
                else:
                    alive = server.children()
                    pids = inside.ready_workers() if what == "worker killed" else [inside.segment.gateway_pid]
                    victims = [pid for pid in pids if pid in alive]
                    if not victims:
                        continue
                    with contextlib.suppress(ProcessLookupError):  # the reload was faster
                        os.kill(chance.choice(victims), signal.SIGKILL)
                happened[what] += 1
                time.sleep(0.02)
            report = hammer.stop()
        assert report.total("wrong") + report.total("timeout") == 0, report.first_error
        assert {status for _, status in report.statuses()} <= {502}, report.first_error
        server.wait_until(lambda: len(inside.ready_workers()) == WORKERS, "all workers serve again", 60.0)
        inside.wait_at_rest()
        with Hammer(server.port, BURNING, requests=1000) as hammer:
            assert hammer.wait().failures() == []
        print(happened, f"{report.total('ok')} good answers, {report.total('lost')} lost, {report.statuses()}")

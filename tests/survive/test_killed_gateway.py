"""kill -9 of the gateway: the connections are gone, but the server serves again, and nothing leaks (I1, I3)."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from pathlib import Path

import pytest
from hammer import APP, LONG, MIX, Hammer
from serving import Server
from serving.inside import Inside

BURNING = MIX | {"burn": 1}  # requests that wait for a core, too
KILLS = 60 if LONG else 8
GAP = 0.3  # seconds between the kills


def serves_again(server: Server) -> bool:
    with contextlib.suppress(OSError, EOFError):
        return server.get("/hello/00000000").status == 200
    return False


@pytest.mark.slow
def test_the_gateway_is_killed_under_load() -> None:
    pauses = []
    with Server(APP, "-w", "2") as server, Inside(server.pid) as inside:
        workers = set(server.workers())
        with Hammer(server.port, BURNING, connections=32) as hammer:
            for _ in range(KILLS):
                time.sleep(GAP)
                os.kill(server.gateway(), signal.SIGKILL)
                killed = time.monotonic()
                server.wait_until(lambda: serves_again(server), "serving again")
                pauses.append(time.monotonic() - killed)
            report = hammer.stop()
        print(f"serving again after {', '.join(f'{1000 * p:.0f}' for p in sorted(pauses))} ms")
        assert report.total("lost") > 0, "nothing was under way at any kill: this tested nothing"
        assert report.total("wrong") + report.total("timeout") == 0, report.first_error
        assert report.statuses() == {}, report.first_error
        assert report.connect_errors == 0, "the listening sockets outlive the gateway"
        assert server.log.count("gateway crashed") == KILLS
        assert server.log.count("restart_in=0.0") == KILLS, "one that has served is replaced at once"
        assert set(server.workers()) == workers, "no worker is touched"
        inside.wait_at_rest()
        counters = inside.counters()
        # killed between an answer's last byte and its account, the gateway leaves it to "lost"
        assert report.total("ok") + KILLS <= counters["answered"] + counters["lost"]
        if LONG:
            assert max(pauses) < 1.0


HOLDING = """
import os

handle_others = handle

def handle(request):
    while request.raw_path == "/hold" and not os.path.exists(os.environ["EVPY_TEST_FOLDER"] + "/enough"):
        gevent.sleep(0.01)
    return handle_others(request) if request.raw_path != "/hold" else "held"
"""


def test_what_a_dead_gateway_was_doing_comes_to_rest(tmp_path: Path) -> None:
    """A handler that runs, one that writes to a client that does not read, an upload, a file on its way."""
    with (
        Server(APP + HOLDING, "-w", "2", "--max-body", "64M", env={"EVPY_TEST_FOLDER": str(tmp_path)}) as server,
        Inside(server.pid) as inside,
        contextlib.ExitStack() as stack,
    ):
        clients = [stack.enter_context(server.client()) for _ in range(4)]
        clients[0].send(b"GET /hold HTTP/1.1\r\nHost: x\r\n\r\n")
        clients[1].send(b"GET /stream/00000002?n=4000000 HTTP/1.1\r\nHost: x\r\n\r\n")
        clients[2].send(b"POST /upload/00000003 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 90000)
        clients[3].socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        for _ in range(100):
            clients[3].send(b"GET /disk/00000004?n=1 HTTP/1.1\r\nHost: x\r\n\r\n")
        sent = [-1] * 20  # nobody reads: soon nothing can be sent any more

        def is_still() -> bool:
            sent[:] = [*sent[1:], inside.count("bytes_out")]
            return len(set(sent)) == 1 and inside.count("slabs_used") == 4

        server.wait_until(is_still, "four requests under way, and none goes on")
        os.kill(server.gateway(), signal.SIGKILL)
        server.wait_until(lambda: serves_again(server), "serving again")
        for client in clients:
            client.rest()
        (tmp_path / "enough").touch()
        inside.wait_at_rest()
        assert inside.count("lost") == 4
        assert len(server.workers()) == 2

"""More work than the server can do: deadlines hold, what has expired never runs, the rest is told at once (I1, I5)."""

from __future__ import annotations

import contextlib
from pathlib import Path

from hammer import APP, Hammer
from serving import Server
from serving.inside import Inside

CLIENTS = 30
BUSY = """
import os

FOLDER = os.environ["EVPY_TEST_FOLDER"]
handle_others = handle

def handle(request):
    if request.raw_path == "/busy":
        while not os.path.exists(FOLDER + "/enough"):
            pass
        return "busy no more"
    if request.raw_path == "/count":
        open(f"{FOLDER}/ran", "a").close()
    return handle_others(request)
"""


def test_deadlines_of_handlers_hold_under_load() -> None:
    with (
        Server(APP, "-w", "2", "--timeout", "3") as server,
        Inside(server.pid) as inside,
        contextlib.ExitStack() as stack,
    ):
        with Hammer(server.port, {"hello": 1}, connections=32) as hammer:
            clients = [stack.enter_context(server.client()) for _ in range(CLIENTS)]
            for client in clients:
                client.send(b"GET /sleep/0000000d?n=30000 HTTP/1.1\r\nHost: a\r\n\r\n")
            # It would be 200 if the deadline were missed by so much that the handler came to its end.
            assert [client.answer().status for client in clients] == [504] * CLIENTS
            assert clients[0].get("/hello/0000000e").body == b"hello 0000000e", "the connection goes on"
            assert hammer.stop().failures() == []
        server.wait_log("DeadlineExceeded", CLIENTS)
        for client in clients:
            client.close()
        inside.wait_at_rest()
        assert inside.count("expired") == CLIENTS


def test_what_has_expired_in_the_queue_never_runs(tmp_path: Path) -> None:
    options, env = ("-w", "1", "--timeout", "1", "--watchdog", "0"), {"EVPY_TEST_FOLDER": str(tmp_path)}
    with Server(APP + BUSY, *options, env=env) as server, Inside(server.pid) as inside, contextlib.ExitStack() as stack:
        busy = stack.enter_context(server.client())
        busy.send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
        server.wait_until(lambda: inside.segment.worker_info(0)["active"] == 1, "the only worker is busy")
        clients = [stack.enter_context(server.client()) for _ in range(CLIENTS)]
        for client in clients:
            client.send(b"GET /count HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [client.answer().status for client in [busy, *clients]] == [504] * (CLIENTS + 1)
        (tmp_path / "enough").touch()
        server.wait_until(lambda: server.get("/hello/0000000e").status == 200, "the worker has come to what is behind")
        assert not (tmp_path / "ran").exists()
        for client in [busy, *clients]:
            client.close()
        inside.wait_at_rest()
        assert inside.count("expired") >= CLIENTS + 1  # and who asked while it was busy, if it took that long to end


def test_what_is_too_much_is_shed() -> None:
    options = ("-w", "1", "--concurrency", "4", "--queue", "8")
    with Server(APP, *options) as server, Inside(server.pid) as inside:
        with Hammer(server.port, {"sleep": 1}, connections=100, requests=4000) as hammer:
            report = hammer.wait()
        assert report.failures(("sleep", 503)) == []
        shed = report.statuses().get(("sleep", 503), 0)
        assert shed > 0
        assert report.total("ok") > 0
        inside.wait_at_rest()
        counters = inside.counters()
        assert counters["shed"] == shed
        assert counters["answered"] == report.total("ok")
        assert counters["queue_max"] <= 8

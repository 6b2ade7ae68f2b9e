"""kill -9 of workers, one every 100 ms, under load: nobody who asks notices, but for the requests that must not be run
twice (I1, I3).
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time

import pytest
from hammer import APP, LONG, Hammer
from serving import Server
from serving.inside import Inside

SECONDS = 60.0 if LONG else 6.0
EVERY = 0.1  # seconds
WORKERS = 4
# Answers that are not handed over in one piece break off with their worker: no stream, big or upload here.
MIX = {"hello": 40, "json": 16, "echo": 16, "put": 8, "sleep": 8, "disk": 2, "burn": 1}


@pytest.mark.slow
def test_workers_are_killed_under_load() -> None:
    chance = random.Random(1)
    kills = 0
    with Server(APP, "-w", str(WORKERS)) as server, Inside(server.pid) as inside:
        with Hammer(server.port, MIX, connections=32) as hammer:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end or kills < 6:
                # Only who serves is killed: a start takes longer than 100 ms, so that otherwise nobody ever would.
                ready = [pid for pid in inside.ready_workers() if pid in server.workers()]
                with contextlib.suppress(ProcessLookupError):  # nobody has noted the last one's end yet
                    if ready:
                        os.kill(chance.choice(ready), signal.SIGKILL)
                        kills += 1
                time.sleep(EVERY)
            report = hammer.stop()
        assert report.failures(("json", 502), ("echo", 502)) == []
        assert report.connects == 32, "a connection was lost, or closed"
        server.wait_until(lambda: len(inside.ready_workers()) == WORKERS, f"all {WORKERS} workers serve again")
        inside.wait_at_rest()
        counters = inside.counters()
        assert counters["answered"] == report.total("ok")
        assert counters["failed"] == sum(report.statuses().values())
        assert counters["costly"] > 0
        print(f"{kills} kills, {report.total('sent')} requests, {counters['retried']} run again, {report.statuses()}")


def test_a_request_that_crashes_its_worker_takes_two_with_it_and_no_more() -> None:
    app = "import os\n\ndef handle(request):\n    if request.path == '/crash':\n        os.abort()\n    return 'well'\n"
    with Server(app, "-w", "2") as server, Inside(server.pid) as inside:
        assert server.get("/crash").status == 502
        server.wait_log("killed by SIGABRT", 2)
        assert server.get("/").body == b"well"
        assert inside.count("retried") == 1
        with server.client() as client:
            assert client.post("/crash", b"once only").status == 502
            assert client.get("/").body == b"well", "the connection outlives the worker"
        server.wait_log("killed by SIGABRT", 3)
        assert inside.count("retried") == 1
        inside.wait_at_rest()

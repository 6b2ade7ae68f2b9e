"""Reload in a loop under load: not one request fails, not one connection is closed (I6)."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from hammer import APP, LONG, MIX, Hammer
from serving import Server
from serving.inside import Inside

SECONDS = 60.0 if LONG else 6.0
LINGERING = """
import colorsys  # a module that is cleared when the interpreter ends
import os

from gevent.monkey import get_original

class Last:
    def __del__(self, open=os.open, flags=os.O_CREAT, sleep=get_original("time", "sleep"), access=os.access,
                folder=os.environ["EVPY_TEST_FOLDER"]):
        open(folder + "/ending", flags)
        while not access(folder + "/end", 0):
            sleep(0.01)

colorsys.last = Last()

def handle(request):
    return "well"
"""


@pytest.mark.slow
def test_reload_in_a_loop_under_load() -> None:
    reloads = 0
    with Server(APP, "-w", "2", "--max-body", "64M") as server, Inside(server.pid) as inside:
        before, gateway = set(server.workers()), server.gateway()
        with Hammer(server.port, MIX, connections=16, depth=4) as hammer:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end or reloads < 3:
                server.signal(signal.SIGHUP)
                reloads += 1
                server.wait_log("reload done", reloads)
            report = hammer.stop()
        assert report.failures() == []
        assert report.connects == 16, "a connection was lost, or closed"
        server.wait_until(lambda: len(server.workers()) == 2, "the old workers are gone")
        assert not before & set(server.workers())
        assert server.gateway() == gateway
        inside.wait_at_rest()
        assert inside.count("answered") == inside.count("requests") == report.total("ok")
        print(f"{reloads} reloads, {report.total('ok')} requests, longest pause {1000 * report.longest_pause:.0f} ms")


def test_a_reload_while_an_old_worker_is_ending(tmp_path: Path) -> None:
    """Every process gets the signal, also one whose interpreter has given up its handlers already."""
    with Server(LINGERING, "-w", "1", env={"EVPY_TEST_FOLDER": str(tmp_path)}) as server:
        server.signal(signal.SIGHUP)
        server.wait_until((tmp_path / "ending").exists, "the old worker is ending")
        server.signal(signal.SIGHUP)
        server.wait_log("reload done", 2)
        (tmp_path / "end").touch()
        server.wait_log("worker retired", 2)
        assert "killed by" not in server.log

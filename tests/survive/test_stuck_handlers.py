"""A handler that blocks its OS thread: its siblings go on, and the log says who it is and where it stands."""

from __future__ import annotations

import ctypes
import mmap
import re
import threading
import time
from pathlib import Path

import pytest
from hammer import APP, LONG, Hammer
from serving import Server
from serving.inside import Inside

RATE = 500 if LONG else 0  # requests/s; 0: so many that some lie in the ring of whoever gets stuck
STUCK = """
import ctypes
import mmap
import os

from gevent.monkey import get_original

FOLDER = os.environ["EVPY_TEST_FOLDER"]

def free():
    return os.path.exists(FOLDER + "/free")

def stuck_in_a_busy_loop():
    while not free():
        pass

def stuck_in_a_call():
    while not free():
        get_original("time", "sleep")(0.3)

def stuck_in_a_call_that_keeps_the_lock():
    # A mutex locked twice: no signal cuts that short, as it would a sleep. The test unlocks it.
    with open(FOLDER + "/mutex", "w+b") as file:
        file.truncate(mmap.PAGESIZE)
        shared = mmap.mmap(file.fileno(), mmap.PAGESIZE)
    c, mutex = ctypes.PyDLL(None), ctypes.byref(ctypes.c_char.from_buffer(shared))
    attributes = ctypes.create_string_buffer(64)
    c.pthread_mutexattr_init(attributes)
    c.pthread_mutexattr_setpshared(attributes, 1)  # PTHREAD_PROCESS_SHARED
    c.pthread_mutex_init(mutex, attributes)
    c.pthread_mutex_lock(mutex)
    c.pthread_mutex_lock(mutex)

STUCK = {"/busy": stuck_in_a_busy_loop, "/call": stuck_in_a_call, "/lock": stuck_in_a_call_that_keeps_the_lock}
handle_others = handle

def handle(request):
    if stuck := STUCK.get(request.raw_path):
        stuck()
        return "free again"
    return handle_others(request)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "function", "event"),
    [
        ("/busy", "stuck_in_a_busy_loop", "a scheduler thread is blocked"),
        ("/call", "stuck_in_a_call", "a scheduler thread is blocked"),
        ("/lock", "stuck_in_a_call_that_keeps_the_lock", "a worker is blocked and holds the interpreter lock"),
    ],
)
def test_a_stuck_handler(path: str, function: str, event: str, tmp_path: Path) -> None:
    answers = []
    env = {"EVPY_TEST_FOLDER": str(tmp_path)}
    with Server(APP + STUCK, "-w", "2", "--watchdog", "1", env=env) as server, Inside(server.pid) as inside:
        workers = set(server.workers())
        before = None
        if LONG:
            with Hammer(server.port, {"hello": 4, "json": 1}, connections=16, rate=RATE, seconds=10.0) as hammer:
                before = hammer.wait()
        thread = threading.Thread(target=lambda: answers.append(server.get(path)))
        with Hammer(server.port, {"hello": 4, "json": 1}, connections=16, rate=RATE) as hammer:
            thread.start()
            server.wait_log(event)
            if LONG:
                time.sleep(10)
            report = hammer.stop()
        assert report.failures() == []
        assert answers == [], "nobody of all these has waited for the stuck one: it is stuck still"
        release(tmp_path)
        thread.join()
        line, traceback = re.search(rf"{event}.*\n((?:  .*\n)*)", server.log).group(0, 1)  # type: ignore[union-attr]
        assert f'request="GET {path}"' in line
        assert f"in {function}" in traceback
        assert [answer.body for answer in answers] == [b"free again"]
        assert set(server.workers()) == workers
        inside.wait_at_rest()
        print(f"{path}: p99 {1e3 * report.p99:.2f} ms, worst {1e3 * report.worst:.0f} ms, of {report.total('ok')}")
        if before is not None:
            print(f"without it: p99 {1e3 * before.p99:.2f} ms, worst {1e3 * before.worst:.0f} ms")
            assert report.p99 < 2 * before.p99 + 0.005


def release(folder: Path) -> None:
    """Lets go whoever is stuck."""
    (folder / "free").touch()
    if (folder / "mutex").exists():
        with (folder / "mutex").open("r+b") as file, mmap.mmap(file.fileno(), mmap.PAGESIZE) as shared:
            mutex = ctypes.c_char.from_buffer(shared)
            ctypes.CDLL(None).pthread_mutex_unlock(ctypes.byref(mutex))
            del mutex

"""A handler that blocks its OS thread: its siblings go on, and the log says who it is and where it stands."""

from __future__ import annotations

import re
import threading

import pytest
from hammer import APP, LONG, Hammer
from serving import Server
from serving.inside import Inside

SECONDS = 10.0 if LONG else 2.5  # for which a handler is stuck
RATE = 500 if LONG else 0  # requests/s; 0: so many that some lie in the ring of whoever gets stuck
STUCK = f"""
import ctypes
import struct
import time

from gevent.monkey import get_original

SECONDS = {SECONDS}

def stuck_in_a_busy_loop():
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pass

def stuck_in_a_call():
    get_original("time", "sleep")(SECONDS)

def stuck_in_a_call_that_keeps_the_lock():
    # A mutex locked twice: no signal cuts that short, as it would a sleep. A second more, for it is found out later.
    c, mutex = ctypes.PyDLL(None), ctypes.create_string_buffer(64)
    c.pthread_mutex_lock(mutex)
    c.pthread_mutex_timedlock(mutex, struct.pack("ll", int(time.time() + SECONDS + 1), 0))

STUCK = {{"/busy": stuck_in_a_busy_loop, "/call": stuck_in_a_call, "/lock": stuck_in_a_call_that_keeps_the_lock}}
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
def test_a_stuck_handler(path: str, function: str, event: str) -> None:
    answers = []
    with Server(APP + STUCK, "-w", "2", "--watchdog", "1") as server, Inside(server.pid) as inside:
        workers = set(server.workers())
        before = None
        if LONG:
            with Hammer(server.port, {"hello": 4, "json": 1}, connections=16, rate=RATE, seconds=SECONDS) as hammer:
                before = hammer.wait()
        thread = threading.Thread(target=lambda: answers.append(server.get(path)))
        with Hammer(server.port, {"hello": 4, "json": 1}, connections=16, rate=RATE) as hammer:
            thread.start()
            server.wait_log(event)
            thread.join()
            report = hammer.stop()
        assert report.failures() == []
        assert report.worst < SECONDS / 2, "somebody has waited for the stuck one"
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

"""Locks, events and queues of the standard library between the hubs of a patched process.

Each time a thread with a hub gives something to the main thread's hub and then burns CPU, without coming round to its
own hub, until the other one has it. gevent's own would be given when the burning is over.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 60  # seconds
SCRIPT = """
import queue, threading, time
import evpy, gevent

LIMIT = 20  # seconds of burning, before it gives up

def given(give, take, prepare=lambda: None):
    prepared, taking, taken = [], [], []

    def giver():
        prepare()
        prepared.append(1)
        while not taking:
            gevent.sleep(0.001)
        gevent.sleep(0.02)  # most likely the other one waits by then; if not, this run shows less
        give()
        end = time.monotonic() + LIMIT
        while not taken and time.monotonic() < end:
            pass
        return bool(taken)

    handle = evpy.run_on_any(giver)
    while not prepared:
        gevent.sleep(0.001)
    taking.append(1)
    take()
    taken.append(1)
    return handle.result()

def condition():
    it, ready = threading.Condition(), []
    def give():
        with it:
            ready.append(1)
            it.notify()
    def take():
        with it:
            it.wait_for(lambda: ready)
    return given(give, take)

def lock(it):
    return given(it.release, it.acquire, it.acquire)

def holds(it):
    return given(lambda: it.put(1), it.get)

event = threading.Event()
print({
    "Lock": lambda: lock(threading.Lock()),
    "RLock": lambda: lock(threading.RLock()),
    "Semaphore": lambda: lock(threading.Semaphore(1)),
    "Condition": condition,
    "Event": lambda: given(event.set, event.wait),
    "SimpleQueue": lambda: holds(queue.SimpleQueue()),
    "Queue": lambda: holds(queue.Queue()),
    "LifoQueue": lambda: holds(queue.LifoQueue()),
}[NAME]())
"""


@pytest.mark.parametrize(
    "name", ["Lock", "RLock", "Semaphore", "Condition", "Event", "SimpleQueue", "Queue", "LifoQueue"]
)
def test_a_burning_hub_holds_nobody_up(name: str) -> None:
    given = run("--threads", "2", "-c", SCRIPT.replace("NAME", repr(name)))
    assert given == "True\n"


def run(*arguments: str) -> str:
    evrun = Path(sys.executable).with_name("evrun")
    got = subprocess.run([evrun, *arguments], capture_output=True, text=True, timeout=LIMIT, check=False)
    assert got.returncode == 0, got.stderr
    assert got.stderr == ""
    return got.stdout


def test_they_are_those_of_efio() -> None:
    code = "import _thread, threading as t; print(*{x.__module__ for x in (t.Lock, t.RLock, _thread.allocate_lock)})"
    assert run("-c", code) == "efio._locks\n"


def test_locks_that_were_there_are_replaced() -> None:
    """Logging is configured before the patching, in a worker as in a program of one's own."""
    code = """if True:
        import concurrent.futures.thread as pools, logging, threading
        logging.basicConfig()
        from evpy.runtime.patch import patch_all
        patch_all()
        ours = [logging._lock, logging.root.handlers[0].lock, pools._global_shutdown_lock]
        print(*[type(lock).__module__ for lock in (*ours, threading._active_limbo_lock)])"""
    got = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
    ).stdout
    assert got == "efio._locks efio._locks efio._locks efio._locks\n"

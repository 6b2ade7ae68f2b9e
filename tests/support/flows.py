"""Flows of control for tests: plain threads, threads with a gevent hub, and ways to know that something sleeps."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import TypeVar

import gevent

__all__ = ["PATIENCE", "freeze", "in_thread", "until"]

T = TypeVar("T")
PATIENCE = 30.0  # seconds; used up only when something that must happen does not


def in_thread(function: Callable[[], T], *, hub: bool = False) -> "Future[T]":
    """Runs it in a plain thread or, with `hub`, in a greenlet of a thread with a hub of its own."""
    future: Future[T] = Future()

    def run() -> None:
        try:
            result = gevent.spawn(function).get() if hub else function()
        except BaseException as error:  # noqa: BLE001 - handed to whoever asks for the result
            future.set_exception(error)
        else:
            future.set_result(result)
        finally:
            if hub:
                gevent.get_hub().destroy(destroy_loop=True)

    threading.Thread(target=run).start()
    return future


def until(condition: Callable[[], object]) -> None:
    """Waits, without a hub, until the condition holds; fails when it never does."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it never came to that"
        time.sleep(0.0005)


def freeze(pid: int) -> None:
    """Stops a process, until SIGCONT; returns when none of its threads runs any more, which takes a moment."""
    os.kill(pid, signal.SIGSTOP)

    def stands() -> bool:
        with contextlib.suppress(FileNotFoundError):  # a thread that has just ended
            states = [(task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()]
            return set(states) == {"T"}
        return False

    tasks = Path(f"/proc/{pid}/task")
    until(stands)

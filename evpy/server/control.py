"""The control thread of a worker: notices a scheduler thread that does not come round, says what it is doing, and has
another one stand in.

It is a real OS thread without a hub, asleep in C without the interpreter lock. A handler that burns CPU in Python code
cannot keep it from running (the interpreter switches threads every ``switch-interval``); a C call that never gives up
the interpreter lock can, and then the supervisor, which sees the same numbers in the shared segment, asks the process
for its stacks by a signal. What this thread must never do: use anything that gevent has patched, or wait for a lock
that a blocked thread may hold; so it neither logs nor imports.
"""

from __future__ import annotations

import sys
import time
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

from gevent.monkey import get_original

from evpy._core import RequestBase, Worker
from evpy.runtime.handles import Latch
from evpy.server.schedulers import Schedulers

__all__ = ["Control", "request_in"]

LOOK = 0.1  # seconds between looks at what has recovered
FRAMES = 40  # innermost frames of a stack that is reported

_start_native_thread: Callable[..., int] = get_original("_thread", "start_new_thread")


class Control:
    """Watches the scheduler threads of one worker; ``limit`` in seconds."""

    def __init__(self, worker: Worker, schedulers: Schedulers, limit: float, report: Callable[..., object]) -> None:
        self._worker = worker
        self._schedulers = schedulers
        self._limit = limit
        self._report = report  # called as report(event, **fields), see reports.py
        self._stopping = False
        self._ended = Latch()
        self._blocked: dict[int, tuple[int, float]] = {}  # thread: tick at which it stopped, when

    def start(self) -> None:
        _start_native_thread(self._run, ())

    def stop(self) -> None:
        """Returns when the thread does not look at the segment any more."""
        self._stopping = True
        self._ended.wait()

    def _run(self) -> None:
        try:
            self._watch()
        finally:
            self._ended.set()

    def _watch(self) -> None:
        while not self._stopping:
            found = self._worker.wait_blocked(self._limit, LOOK)
            states = {state["index"]: state for state in self._states()}
            if found is not None and found[0] in states:
                self._on_blocked(states[found[0]])
            for index, (tick, since) in list(self._blocked.items()):
                if index not in states or states[index]["tick"] != tick:
                    del self._blocked[index]
                    self._on_recovered(index, since)

    def _states(self) -> list[dict[str, Any]]:
        threads: list[dict[str, Any]] = self._worker.segment.worker_info(self._worker.slot)["threads"]
        return threads

    def _on_blocked(self, state: dict[str, Any]) -> None:
        index = state["index"]
        if state["blocked_for"] < self._limit:  # it came round while we waited for the interpreter lock
            return
        self._worker.set_thread_blocked(index)
        self._blocked[index] = (state["tick"], time.monotonic() - state["blocked_for"])
        frame = sys._current_frames().get(self._schedulers.ident_of(index) or 0)
        self._report(
            "blocked",
            thread=index,
            tick=state["tick"],
            seconds=state["blocked_for"],
            request=state["current"] or request_in(frame, self._schedulers.requests_of(index)),
            stack=_format(frame),
            spare=self._schedulers.start_spare(index),
        )

    def _on_recovered(self, index: int, since: float) -> None:
        self._schedulers.retire_spare(index)
        self._report("recovered", thread=index, seconds=time.monotonic() - since)


def request_in(frame: FrameType | None, running: list[Any]) -> str | None:
    """The id of that running request which is a local variable of this frame or of one that called it, or None.

    The core notes which request it has switched to, but not which one gevent has resumed; a handler has its request at
    hand, however.
    """
    known = set(map(id, running))
    while frame is not None:
        for value in list(frame.f_locals.values()):
            if id(value) in known and isinstance(value, RequestBase):
                try:
                    return value.id
                except RuntimeError:  # over since
                    return None
        frame = frame.f_back
    return None


def _format(frame: FrameType | None) -> str:
    if frame is None:
        return ""
    return "".join(traceback.format_stack(frame)[-FRAMES:])

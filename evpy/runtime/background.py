"""Background tasks, singletons by name, periodic timers: work that outlives the request or function that starts it.

A background task is a greenlet on the hub of the thread that started it, with *fresh* contextvars: neither the request
nor its deadline follow it (``evpy.current_request()`` is None there). One registry per process knows all of them,
whatever their hub, so that a name means one task per process and `stop_all` reaches everything.

Invariants:

* A name is taken from the moment `background` or `every` returns until the task has ended; the check and the entry are
  one step under a native lock.
* An exception is logged once (logger ``evpy.background``), when it happens. It ends a background task; a periodic timer
  goes on with its next run. ``SystemExit`` is treated alike and ends the task only, as it ends only a thread.
* Periodic runs never overlap and do not drift: due times are multiples of the period, counted from the start. Those
  that pass while a run is still busy are skipped, not made up for.
"""

from __future__ import annotations

import atexit
import functools
import logging
import math
import random
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any

import gevent
from gevent.monkey import get_original

from evpy.runtime import threads  # noqa: F401 - its exit hook must be registered before ours, to run after it
from evpy.runtime.handles import CancelledError, Handle, drop_frames, seconds_left

__all__ = ["BackgroundTask", "PeriodicTimer", "background", "every", "running", "stop_all"]

_log = logging.getLogger("evpy.background")
_native_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")

_clock = time.monotonic  # tests put their own in place of these two
_sleep = gevent.sleep


class BackgroundTask(Handle[Any]):
    """The handle of a background task: ``name``, ``done()``, ``wait()``, ``result()``, ``cancel()``."""

    def on_end(self, error: BaseException | None) -> None:
        _registry.remove(self)
        self._asked = True  # what went wrong is logged here, and only here
        if error is None or isinstance(error, (CancelledError, gevent.GreenletExit, KeyboardInterrupt)):
            return
        _report(self.name, error, "the task has ended")


class PeriodicTimer(BackgroundTask):
    """The handle of a periodic timer. `runs`, `failures` and `skipped` count since its start."""

    def __init__(self, fn: Callable[[], object], name: str, seconds: float, jitter: float, immediate: bool) -> None:
        super().__init__(self._repeat, Context(), name)
        self.seconds = seconds
        self.jitter = jitter
        self.runs = 0
        self.failures = 0
        self.skipped = 0
        self._fn = fn
        self._immediate = immediate
        self._last = False

    def cancel(self) -> bool:
        """End the timer; a run in progress gets ``GreenletExit`` where it waits. Called by the run itself: after it."""
        if gevent.getcurrent() is self._greenlet:
            self._last = True
            return True
        return super().cancel()

    def _repeat(self) -> None:
        start = _clock()
        turn = 0 if self._immediate else 1
        while True:
            delay = random.uniform(0.0, self.jitter) if turn else 0.0
            wait = start + turn * self.seconds + delay - _clock()
            if wait > 0:
                _sleep(wait)
            self._run_once()
            if self._last or self._cancelled:
                return
            following = next_turn(turn, _clock() - start, self.seconds)
            self.skipped += following - turn - 1
            turn = following

    def _run_once(self) -> None:
        self.runs += 1
        try:
            self._fn()
        except Exception as error:  # noqa: BLE001 - logged; one bad run does not end the timer
            self.failures += 1
            drop_frames(error, 1)
            _report(self.name, error, "it will run again")


def next_turn(turn: int, elapsed: float, seconds: float) -> int:
    """The number of the run that follows run `turn`, when `elapsed` seconds have passed since the start.

    Run n is due at ``n * seconds``; the next one is the first that is not yet overdue.
    """
    return max(turn + 1, math.ceil(elapsed / seconds))


class _Registry:
    def __init__(self) -> None:
        self.lock = _native_lock()
        self.tasks: dict[BackgroundTask, None] = {}  # a set that keeps the order
        self.named: dict[str, BackgroundTask] = {}

    def add(self, name: str | None, make: Callable[[], BackgroundTask]) -> tuple[BackgroundTask, bool]:
        with self.lock:
            if name is not None and name in self.named:
                return self.named[name], False
            task = make()
            self.tasks[task] = None
            if name is not None:
                self.named[name] = task
            return task, True

    def remove(self, task: BackgroundTask) -> None:
        with self.lock:
            self.tasks.pop(task, None)
            if self.named.get(task.name) is task:
                del self.named[task.name]

    def all(self) -> tuple[BackgroundTask, ...]:
        with self.lock:
            return tuple(self.tasks)


_registry = _Registry()


def background(fn: Callable[..., object], /, *args: Any, name: str | None = None, **kwargs: Any) -> BackgroundTask:
    """Start ``fn(*args, **kwargs)`` as a background task of this process and return its handle.

    A `name` makes it a singleton: while a task (or timer) of that name runs anywhere in this process, the call returns
    its handle and starts nothing. At the end of the process, or when the
    worker stops, the task gets ``GreenletExit`` where it waits, and a bounded time to clean up.
    """
    _check(fn, name, "background")
    call = functools.partial(fn, *args, **kwargs)
    label = name if name is not None else _label(fn)
    return _launch(name, lambda: BackgroundTask(call, Context(), label))


def every(
    seconds: float,
    fn: Callable[[], object],
    *,
    name: str | None = None,
    jitter: float = 0.0,
    immediate: bool = False,
) -> BackgroundTask:
    """Call ``fn()`` every `seconds` in a greenlet of its own, first after `seconds`, or at once if `immediate`.

    Each run but an immediate one is put off by a random part of `jitter` seconds, so that many processes do not act in
    step; the schedule itself does not move. ``cancel()`` of the result ends it. `name` makes it a singleton as with
    `background`. ValueError if `seconds` is not above 0 or `jitter` is negative.
    """
    _check(fn, name, "every")
    if not (_finite(seconds, "") and seconds > 0):
        raise ValueError(f"every({seconds}): the period must be more than 0 seconds, and finite")
    if not (_finite(jitter, "jitter=") and jitter >= 0):
        raise ValueError(f"every(jitter={jitter}): jitter must be 0 seconds or more, and finite")
    label = name if name is not None else _label(fn)
    return _launch(name, lambda: PeriodicTimer(fn, label, seconds, jitter, immediate))


def _finite(seconds: float, argument: str) -> bool:
    try:
        return math.isfinite(seconds)
    except TypeError:
        kind = type(seconds).__name__
        raise TypeError(f"every({argument}{seconds!r}): must be a number of seconds, not {kind}") from None


def running() -> tuple[BackgroundTask, ...]:
    """All background tasks and timers of this process that have not ended, oldest first."""
    return _registry.all()


def stop_all(timeout: float = 5.0) -> tuple[BackgroundTask, ...]:
    """Cancel all tasks and timers of this process, on every hub, and wait for their end, at most `timeout` seconds.

    Returns those that have not ended in time; they are named in the log and forgotten: their names are free, a second
    call does not wait for them again. A task that calls this itself is left out. Tasks started meanwhile are stopped.
    """
    deadline = time.monotonic() + timeout
    here = gevent.getcurrent()
    while tasks := [task for task in running() if not task.runs_in(here)]:
        for task in tasks:
            task.cancel()
        if not all(task.wait(seconds_left(deadline)) for task in tasks):  # the first late one has used up the time
            break
    left = tuple(task for task in running() if not task.runs_in(here))
    for task in left:
        _registry.remove(task)
    if left:
        names = ", ".join(repr(task.name) for task in left)
        _log.error("%d background task(s) did not end within %g s: %s", len(left), timeout, names)
    return left


def _launch(name: str | None, make: Callable[[], BackgroundTask]) -> BackgroundTask:
    task, new = _registry.add(name, make)
    if new:
        task.start(gevent.get_hub())
    return task


def _check(fn: object, name: object, what: str) -> None:
    if not callable(fn):
        raise TypeError(f"{what}() needs a function to call, and {type(fn).__name__} cannot be called")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"{what}(name=...): the name is a str, not {type(name).__name__}")


def _label(fn: object) -> str:
    return getattr(fn, "__qualname__", None) or type(fn).__name__


def _report(name: str, error: BaseException, consequence: str) -> None:
    what = f"called sys.exit({error.code!r})" if isinstance(error, SystemExit) else "failed"
    _log.error("background task %r %s; %s", name, what, consequence, exc_info=error)


atexit.register(stop_all, 1.0)

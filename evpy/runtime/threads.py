"""Scheduler threads, and `run_on_any`, which hands a call to whichever of them is free.

A scheduler thread is an OS thread with its own gevent hub. Greenlets never move between hubs, so work that shall use
another thread has to be a call of its own: `run_on_any` puts it into one first-in-first-out queue, every registered
scheduler is woken, and the first that comes round takes it. A thread that burns CPU or sits in a C call does not come
round and takes nothing: pulling instead of assigning is what keeps one slow call from delaying the next (the same idea
as for requests, see docs/architecture.md).

Who registers: ``evrun --threads N`` offers N threads of its own, started by the first `run_on_any`; each scheduler
thread of an evserver worker registers its hub with `register_scheduler`. Without any, the call runs as a greenlet on
the caller's hub: slower perhaps, never different.

Invariants:

* A scheduler takes one call each time it comes round and then rings itself again: a call that burns CPU is alone with
  its thread, and the others take what is still queued.
* All schedulers are woken for each call. There are few of them, libev merges repeated rings, and no other rule is
  right when the one chosen to wake up may be the busy one.
* The queue outlives a scheduler that leaves; when the last one leaves, what is still queued is cancelled.
* All locks are native and held for a few instructions, never across a switch.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import time
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

import gevent
from gevent.hub import Hub
from gevent.monkey import get_original

from evpy.runtime.handles import Handle, Latch, seconds_left

__all__ = [
    "Scheduler",
    "SchedulerStatistics",
    "names",
    "offer_threads",
    "register_scheduler",
    "run_on_any",
    "statistics",
    "stop_threads",
]

P = ParamSpec("P")
T = TypeVar("T")

_native_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")
_start_native_thread: Callable[[Callable[[], None], tuple[()]], int] = get_original("_thread", "start_new_thread")
_native_ident: Callable[[], int] = get_original("_thread", "get_ident")


@dataclasses.dataclass(frozen=True, slots=True)
class SchedulerStatistics:
    """What one scheduler has done: calls `taken` since it registered and, of these, `running` at the moment."""

    name: str
    thread: int
    taken: int
    running: int


class Scheduler:
    """A hub that takes calls from the queue; made by `register_scheduler`, ended by `close`."""

    def __init__(self, pool: _Pool, hub: Hub, name: str) -> None:
        self.name = name
        self.hub = hub
        self.thread = _native_ident()
        self.taken = 0
        self.running: set[Handle[Any]] = set()
        self._pool = pool
        self._bell = hub.loop.async_()
        self._bell.start(self._come_round)

    def wake(self) -> None:
        """Have the hub look at the queue; for every thread."""
        self._bell.send()

    def _come_round(self) -> None:
        call = self._pool.take()
        if call is None:
            return
        self.taken += 1
        self.running.add(call)
        call.scheduler = self
        call.start(self.hub)
        if self._pool.jobs:
            self._bell.send()

    def close(self) -> None:
        """Take no more calls; those running go on. To be called on the hub's own thread."""
        self._pool.remove(self)
        self._bell.stop()
        self._bell.close()


class _Call(Handle[T]):
    """A handle that knows which scheduler took it."""

    scheduler: Scheduler | None = None

    def on_end(self, error: BaseException | None) -> None:
        if self.scheduler is not None:
            self.scheduler.running.discard(self)


class _Thread:
    """One scheduler thread that evrun owns."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stopping = Latch()
        self.ended = Latch()
        self.grace = 0.0

    def start(self) -> None:
        _start_native_thread(self._main, ())

    def _main(self) -> None:
        hub = gevent.get_hub()
        try:
            scheduler = register_scheduler(hub, name=self.name)
            while not self.stopping:
                try:
                    self.stopping.wait()
                except (SystemExit, KeyboardInterrupt, SystemError):
                    # Raised by a greenlet spawned here: it ends that greenlet only, as in any thread but the main one.
                    continue
            scheduler.close()
            deadline = time.monotonic() + self.grace
            running = list(scheduler.running)
            for call in running:
                call.cancel()
            for call in running:
                call.wait(seconds_left(deadline))
            hub.destroy(destroy_loop=True)
            for call in running:
                call.cancel()  # whoever waits for one that did not end in time shall not wait for ever
        finally:
            self.ended.set()


class _Pool:
    """The queue, the schedulers that take from it, and the threads that this process started for it."""

    def __init__(self) -> None:
        self.lock = _native_lock()
        self.jobs: deque[_Call[Any]] = deque()
        self.schedulers: list[Scheduler] = []
        self.offered = 0
        self.threads: list[_Thread] = []

    def submit(self, call: _Call[Any]) -> bool:
        """Queue the call; False if there is nobody to take it."""
        if len(self.threads) < self.offered:
            self._start_threads()
        with self.lock:
            if not self.schedulers and not self.threads:
                return False
            self.jobs.append(call)
            for scheduler in self.schedulers:
                scheduler.wake()
        return True

    def _start_threads(self) -> None:
        with self.lock:
            new = [_Thread(f"scheduler-{number + 1}") for number in range(len(self.threads), self.offered)]
            self.threads += new
        for thread in new:
            try:
                thread.start()
            except RuntimeError:  # the system's limit of threads
                with self.lock:
                    self.threads.remove(thread)
                raise

    def take(self) -> _Call[Any] | None:
        try:
            return self.jobs.popleft()
        except IndexError:  # another scheduler was quicker
            return None

    def add(self, scheduler: Scheduler) -> None:
        with self.lock:
            self.schedulers.append(scheduler)
        scheduler.wake()  # calls may have been waiting for the first one

    def remove(self, scheduler: Scheduler) -> None:
        orphans: list[_Call[Any]] = []
        with self.lock:
            if scheduler in self.schedulers:
                self.schedulers.remove(scheduler)
            if not self.schedulers:
                orphans = list(self.jobs)
                self.jobs.clear()
        for call in orphans:
            call.cancel()


_pool = _Pool()


def _forget() -> None:
    # After fork only the calling thread exists in the child, and a lock may have been copied in its locked state. The
    # offer remains: the child starts threads of its own when it needs them.
    global _pool  # noqa: PLW0603
    offered = _pool.offered
    _pool = _Pool()
    _pool.offered = offered


os.register_at_fork(after_in_child=_forget)


def run_on_any(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Handle[T]:
    """Call ``fn(*args, **kwargs)`` in a greenlet on whichever scheduler thread is free first.

    Returns a handle at once; its ``result()`` (or ``get()``) switches greenlets until the call has ended, then returns
    its value or raises its exception. The call sees a copy of the caller's contextvars. Without scheduler threads it
    runs as a greenlet here. What several threads share needs the usual care; the interpreter lock still admits one
    thread at a time to Python code, so the gain lies in calls that release it or must not delay this thread.
    """
    if not callable(fn):
        raise TypeError(f"run_on_any() calls its first argument, and {type(fn).__name__} cannot be called")
    name = getattr(fn, "__qualname__", None) or type(fn).__name__
    call = _Call(functools.partial(fn, *args, **kwargs), copy_context(), name)
    if not _pool.submit(call):
        call.start(gevent.get_hub())
    return call


def register_scheduler(hub: Hub | None = None, *, name: str = "") -> Scheduler:
    """Let `hub` (default: that of the calling thread) take calls of `run_on_any` until ``close()`` of the result.

    To be called on the thread of the hub. From then on the hub's loop has a reason to wait: it does not end with
    ``LoopExit`` for want of work.
    """
    scheduler = Scheduler(_pool, hub or gevent.get_hub(), name or f"thread-{_native_ident()}")
    _pool.add(scheduler)
    return scheduler


def offer_threads(count: int) -> None:
    """Offer `count` scheduler threads of our own; they start with the first `run_on_any`."""
    if count < 0:
        raise ValueError(f"the number of scheduler threads is 0 or more, not {count}")
    _pool.offered = count


def statistics() -> tuple[SchedulerStatistics, ...]:
    """One entry per registered scheduler, in the order of registration."""
    with _pool.lock:
        schedulers = list(_pool.schedulers)
    return tuple(SchedulerStatistics(each.name, each.thread, each.taken, len(each.running)) for each in schedulers)


def names() -> dict[int, str]:
    """Thread identifier -> name of each registered scheduler. Takes no lock: it serves signal handlers."""
    return {each.thread: each.name for each in tuple(_pool.schedulers)}


def stop_threads(timeout: float = 1.0) -> None:
    """End the threads that `offer_threads` promised; calls on them get ``GreenletExit`` and `timeout` seconds."""
    with _pool.lock:
        threads, _pool.threads = _pool.threads, []
        _pool.offered = 0
    for thread in threads:
        thread.grace = timeout
        thread.stopping.set()
    deadline = time.monotonic() + timeout + 1.0  # the calls' time and a little for the thread itself
    for thread in threads:
        thread.ended.wait(seconds_left(deadline))


# A thread still inside its event loop while the interpreter is torn down may crash it.
atexit.register(stop_threads)

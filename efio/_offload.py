"""Blocking calls of a gevent hub's greenlets, made by a few threads while the greenlet is switched out.

In a thread without a hub, and in a callback of the hub itself (where nobody could be switched to), the call is simply
made. Threads are started when all others are busy, at most WORKERS, never patched by gevent, and end with stop().

A call that has begun cannot be taken back: a greenlet that is killed meanwhile sees it after the call has ended, so
that no buffer and no descriptor is used any more when its owner goes on.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from efio._pure.parking import _original, allocate_lock
from efio.parking import Waiter

__all__ = ["WORKERS", "call", "call_async", "in_greenlet", "stop"]

T = TypeVar("T")
WORKERS = 16


class _Job:
    __slots__ = ("arguments", "done", "error", "function", "result", "waiter")

    def __init__(self, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments
        self.done = False
        self.result: Any = None
        self.error: BaseException | None = None
        self.waiter: Waiter | None = None

    def run(self) -> None:
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:  # noqa: BLE001 - raised by outcome(), where it was called
            self.error = error
        self.done = True  # before the waiter is looked at; who waits does it the other way round
        waiter = self.waiter
        if waiter is not None:
            waiter.wake()

    def outcome(self) -> Any:
        error = self.error
        if error is None:
            return self.result
        try:
            raise error
        finally:
            self.error = error = None  # no cycle through the traceback


class _Workers:
    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begins anew; in the child of a fork, where the parent's threads are not."""
        self.jobs: Any = _original("_queue", "SimpleQueue")()
        self.mutex = allocate_lock()
        self.number = 0  # of threads
        self.unfinished = 0  # jobs that wait or run
        self.ended: Any = _original("_queue", "SimpleQueue")()

    def submit(self, job: _Job) -> None:
        with self.mutex:
            self.unfinished += 1
            if self.number < min(self.unfinished, WORKERS):
                _original("_thread", "start_new_thread")(self.work, ())
                self.number += 1
            self.jobs.put(job)

    def work(self) -> None:
        while (job := self.jobs.get()) is not None:
            job.run()
            job = None
            with self.mutex:
                self.unfinished -= 1
        self.ended.put(None)

    def stop(self) -> None:
        with self.mutex:
            number, self.number = self.number, 0
        for _ in range(number):
            self.jobs.put(None)
        for _ in range(number):
            self.ended.get()


_workers = _Workers()


os.register_at_fork(after_in_child=_workers.forget)


def stop() -> None:
    """Ends the threads when what they were given is done; blocks. The next call starts new ones."""
    _workers.stop()


def in_greenlet() -> bool:
    """Whether the caller can be switched out: it is a greenlet of a hub, and not the hub."""
    module = sys.modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    return hub is not None and sys.modules["greenlet"].getcurrent() is not hub


def call(function: Callable[..., T], *arguments: Any) -> T:
    """function(*arguments); from a greenlet of a hub, in another thread while the greenlet is switched out."""
    if not in_greenlet():
        return function(*arguments)
    job = _Job(function, arguments)
    _workers.submit(job)
    interruption: BaseException | None = None
    while True:
        waiter = job.waiter = Waiter()
        if job.done:
            break
        try:
            waiter.wait()
        except BaseException as error:  # noqa: BLE001 - raised when the call has ended
            interruption = error
    if interruption is not None:
        raise interruption
    result: T = job.outcome()
    return result


async def call_async(function: Callable[..., T], *arguments: Any) -> T:
    """The same for a task of asyncio. A cancelled task sees it after the call has ended."""
    job = _Job(function, arguments)
    _workers.submit(job)
    interruption: BaseException | None = None
    while True:
        waiter = job.waiter = Waiter()
        if job.done:
            break
        try:
            await waiter.wait_async()
        except BaseException as error:  # noqa: BLE001 - raised when the call has ended
            interruption = error
    if interruption is not None:
        raise interruption
    result: T = job.outcome()
    return result

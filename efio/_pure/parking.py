"""Waiter in Python: the twin of _parking.pyx.

One mutex for each waiter decides between wake, timeout and leaving. How to resume is a function that is stored with the
state: releasing a lock on which the thread sleeps, an async watcher of the hub, a call into the asyncio loop.
"""

from __future__ import annotations

import asyncio
import math
import sys
from collections.abc import Callable
from typing import Any

from efio._gevent import original

__all__ = ["Waiter", "allocate_lock", "current_flow"]

NEW, ASLEEP, WOKEN, LEFT = range(4)


allocate_lock: Callable[[], Any] = original("_thread", "allocate_lock")
_get_ident: Callable[[], int] = original("_thread", "get_ident")


def current_flow() -> object:
    """Who runs: the greenlet when greenlets are in use, else the thread's number."""
    greenlet = sys.modules.get("greenlet")
    return greenlet.getcurrent() if greenlet is not None else _get_ident()


def _hub() -> Any:
    module = sys.modules.get("gevent._hub_local")
    return module.get_hub_if_exists() if module is not None else None


def _usable(timeout: float | None) -> float | None:
    if timeout is None:
        return None
    if math.isnan(timeout):
        raise ValueError("timeout is not a number (NaN); give seconds, or None to wait for ever")
    return None if timeout > 1e9 else max(0.0, timeout)


class Waiter:
    """See efio/_parking.pyi."""

    __slots__ = ("_mutex", "_resume", "_state", "payload", "starved")

    def __init__(self) -> None:
        self._mutex = allocate_lock()
        self._state = NEW
        self._resume: Callable[[], object] | None = None
        self.payload: Any = None
        self.starved = False

    @property
    def woken(self) -> bool:
        return self._state == WOKEN

    def wake(self) -> bool:
        with self._mutex:
            if self._state in (WOKEN, LEFT):
                return False
            asleep, self._state = self._state == ASLEEP, WOKEN
            if asleep and self._resume is not None:
                self._resume()  # inside: nobody takes it away meanwhile
        return True

    def _begin(self, resume: Callable[[], object]) -> bool | None:
        """None: sleep; else the result of the wait."""
        with self._mutex:
            if self._state in (WOKEN, LEFT):
                return self._state == WOKEN
            if self._state == ASLEEP:
                raise RuntimeError("somebody waits on this Waiter already: make one for each wait")
            self._state = ASLEEP
            self._resume = resume
        return None

    def _end(self) -> bool:
        with self._mutex:
            self._resume = None
            if self._state != WOKEN:
                self._state = LEFT
            return self._state == WOKEN

    def wait(self, timeout: float | None = None) -> bool:
        timeout = _usable(timeout)
        if self._state == WOKEN:
            return True
        hub = _hub()
        if hub is not None:
            return self._wait_hub(hub, timeout)
        lock = allocate_lock()
        lock.acquire()
        result = self._begin(lock.release)
        if result is not None:
            return result
        try:
            lock.acquire(True, -1 if timeout is None else min(timeout, 1e6))
        finally:
            self._end()
        return self.woken

    def _wait_hub(self, hub: Any, timeout: float | None) -> bool:
        me = sys.modules["greenlet"].getcurrent()
        if me is hub:
            raise RuntimeError(
                "cannot wait in a callback of the gevent hub: nobody could run meanwhile; spawn a greenlet"
            )
        if timeout == 0:
            return self._begin(int) or self._end()
        ring = hub.loop.async_()  # it keeps the hub from ending with LoopExit, too
        ring.start(me.switch)
        timer = None
        try:
            result = self._begin(ring.send)
            if result is not None:
                return result
            if timeout is not None:
                timer = hub.loop.timer(timeout)
                timer.start(self._expire, me, update=True)
            while self._state == ASLEEP:
                hub.switch()
            return self.woken
        finally:
            self._end()
            ring.stop()
            ring.close()
            if timer is not None:
                timer.stop()
                timer.close()

    def _expire(self, greenlet: Any) -> None:
        with self._mutex:
            if self._state != ASLEEP:
                return
            self._state = LEFT
        greenlet.switch()

    async def wait_async(self, timeout: float | None = None) -> bool:
        timeout = _usable(timeout)
        if self._state == WOKEN:
            return True
        if timeout == 0:
            return self._begin(int) or self._end()
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def resume() -> None:
            if not future.done():
                future.set_result(None)

        result = self._begin(lambda: loop.call_soon_threadsafe(resume))
        if result is not None:
            return result
        handle = loop.call_later(timeout, resume) if timeout is not None else None
        try:
            await future
        finally:
            if handle is not None:
                handle.cancel()
            self._end()
        return self.woken

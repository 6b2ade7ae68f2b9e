"""Lock and RLock in Python: the twins of _locks.pyx, which has the explanations.

What is one stretch under the interpreter lock there is a section of the guard here; nobody sleeps inside.
"""

from __future__ import annotations

import math
from collections import deque
from types import TracebackType
from typing import Any

from efio._pure.parking import Waiter, allocate_lock, current_flow
from efio._sync_types import LockStatistics

__all__ = ["Lock", "Mutex", "RLock", "SpinLock", "TicketLock", "checked_timeout"]

TIMEOUT_MAX = 9223372036.0  # seconds


def checked_timeout(blocking: bool, timeout: float) -> float | None:
    """None: for ever; 0: not at all. The errors of the standard locks."""
    if not blocking:
        if timeout != -1:
            raise ValueError("can't specify a timeout for a non-blocking call")
        return 0
    if timeout == -1:
        return None
    if not timeout >= 0 or math.isnan(timeout):
        raise ValueError("timeout value must be a non-negative number")
    if timeout > TIMEOUT_MAX:
        raise OverflowError("timeout value is too large")
    return timeout


class Mutex:
    def __init__(self) -> None:
        self._guard = allocate_lock()
        self._held = False
        self._calling = False
        self._waiting: deque[Waiter] = deque()

    def _take(self) -> bool:
        with self._guard:
            if self._held:
                return False
            self._held = True
            return True

    def _queue_up(self, w: Waiter) -> bool:
        """False: taken at once."""
        with self._guard:
            if not self._held:
                self._held = True
                return False
            if w.starved:
                self._waiting.appendleft(w)
            else:
                self._waiting.append(w)
            return True

    def _called(self, w: Waiter) -> bool:
        """After a wake-up: whether it is ours."""
        if w.starved:
            return True
        self._calling = False
        return self._take()

    def _lock(self, timeout: float | None) -> bool:
        starved = False
        while True:
            w = Waiter()
            w.starved = starved
            if not self._queue_up(w):
                return True
            try:
                if not w.wait(timeout):
                    self._withdraw(w)
                    return False
            except BaseException:
                self._withdraw(w)
                raise
            if self._called(w):
                return True
            starved = True

    def _withdraw(self, w: Waiter) -> None:
        with self._guard:
            if w in self._waiting:
                self._waiting.remove(w)
        if not w.woken:
            return
        if w.starved:
            self._unlock()
        else:
            self._calling = False
            if self._take():
                self._unlock()

    def _unlock(self) -> None:
        with self._guard:
            while self._waiting:
                w = self._waiting[0]
                if w.starved:
                    self._waiting.popleft()
                    if w.wake():
                        return
                elif self._calling:
                    break
                else:
                    self._waiting.popleft()
                    if w.wake():
                        self._calling = True
                        break
            self._held = False

    def locked(self) -> bool:
        return self._held

    @property
    def waiters(self) -> int:
        return len(self._waiting)

    def statistics(self) -> LockStatistics:
        return LockStatistics(self._held, len(self._waiting))

    def __repr__(self) -> str:
        state = "locked" if self._held else "unlocked"
        return f"<{state} efio.{type(self).__name__} object ({len(self._waiting)} waiting) at {id(self):#x}>"

    def _at_fork_reinit(self) -> None:
        Mutex.__init__(self)


class Lock(Mutex):
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        seconds = checked_timeout(blocking, timeout)
        return self._take() or (seconds != 0 and self._lock(seconds))

    async def acquire_async(self, timeout: float | None = None) -> bool:
        starved = False
        while True:
            w = Waiter()
            w.starved = starved
            if not self._queue_up(w):
                return True
            try:
                if not await w.wait_async(timeout):
                    self._withdraw(w)
                    return False
            except BaseException:
                self._withdraw(w)
                raise
            if self._called(w):
                return True
            starved = True

    def release(self) -> None:
        if not self._held:
            raise RuntimeError("release unlocked lock")
        self._unlock()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.release()

    async def __aenter__(self) -> bool:
        return await self.acquire_async()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.release()


class RLock(Mutex):
    def __init__(self) -> None:
        super().__init__()
        self._owner: object = None
        self._count = 0

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        seconds = checked_timeout(blocking, timeout)
        if self._is_owned():
            self._count += 1
            return True
        if not self._take() and (seconds == 0 or not self._lock(seconds)):
            return False
        self._owner, self._count = current_flow(), 1
        return True

    def release(self) -> None:
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        self._count -= 1
        if not self._count:
            self._owner = None
            self._unlock()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.release()

    def _is_owned(self) -> bool:
        return self._held and self._owner == current_flow()

    def _recursion_count(self) -> int:
        return self._count if self._is_owned() else 0

    def _release_save(self) -> Any:
        if not self._is_owned():
            raise RuntimeError("cannot release un-acquired lock")
        state = (self._count, self._owner)
        self._owner, self._count = None, 0
        self._unlock()
        return state

    def _acquire_restore(self, state: Any, /) -> None:
        if not self._take():
            self._lock(None)
        self._count = state[0]
        self._owner = current_flow()

    def _at_fork_reinit(self) -> None:
        RLock.__init__(self)


class TicketLock(Mutex):
    _overtakes = False

    def __init__(self) -> None:
        super().__init__()
        self._owner: object = None

    def _enter(self, seconds: float | None) -> bool:
        me = current_flow()
        if self._held and self._owner == me:
            raise RuntimeError(f"the caller holds this {type(self).__name__} already, and would wait for itself")
        if not self._wait_for_turn(seconds):
            return False
        self._owner = me
        return True

    def _wait_for_turn(self, seconds: float | None) -> bool:
        w = Waiter()
        w.starved = True
        with self._guard:
            if not self._held:
                self._held = True
                return True
            if seconds == 0:
                return False
            self._waiting.append(w)
        try:
            if w.wait(seconds):
                return True
        except BaseException:
            self._withdraw(w)
            raise
        self._withdraw(w)
        return False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._enter(checked_timeout(blocking, timeout))

    def release(self) -> None:
        if not self._held or self._owner != current_flow():
            raise RuntimeError(f"this {type(self).__name__} is not held by the caller")
        self._owner = None
        self._unlock()

    def __enter__(self) -> bool:
        return self._enter(None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self.release()

    def _at_fork_reinit(self) -> None:
        TicketLock.__init__(self)


class SpinLock(TicketLock):
    def _wait_for_turn(self, seconds: float | None) -> bool:
        return self._take() or (seconds != 0 and self._lock(seconds))

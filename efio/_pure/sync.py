"""Semaphore, Event, Condition and Once in Python: the twins of _sync.pyx, which has the explanations."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Any

from efio._pure.locks import RLock
from efio._pure.parking import Waiter, allocate_lock, current_flow
from efio._sync_types import ConditionStatistics, EventStatistics, OnceStatistics, SemaphoreStatistics

__all__ = ["BoundedSemaphore", "Condition", "Event", "Once", "Semaphore"]


class _Waited:
    """Who waits, and the guard of the state."""

    def __init__(self) -> None:
        self._guard = allocate_lock()
        self._waiting: deque[Waiter] = deque()

    @property
    def waiters(self) -> int:
        return len(self._waiting)

    def _wake(self, n: int) -> int:
        """Wakes up to n, inside the guard; how many it did not."""
        while n > 0 and self._waiting:
            n -= self._waiting.popleft().wake()
        return n

    def _forget(self, w: Waiter) -> None:
        with self._guard:
            if w in self._waiting:
                self._waiting.remove(w)


class Semaphore(_Waited):
    def __init__(self, value: int = 1) -> None:
        if value < 0:
            raise ValueError("semaphore initial value must be >= 0")
        super().__init__()
        self._permits = value

    def _take(self, w: Waiter | None) -> bool:
        with self._guard:
            if self._permits > 0:
                self._permits -= 1
                return True
            if w is not None:
                self._waiting.append(w)
            return False

    def _give(self, n: int) -> None:
        with self._guard:
            self._permits += self._wake(n)

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        if not blocking and timeout is not None:
            raise ValueError("can't specify timeout for non-blocking acquire")
        if not blocking:
            return self._take(None)
        w = Waiter()
        if self._take(w):
            return True
        try:
            if w.wait(timeout):
                return True
        except BaseException:
            self._forget(w)
            if w.woken:
                self._give(1)
            raise
        self._forget(w)
        return False

    async def acquire_async(self, timeout: float | None = None) -> bool:
        w = Waiter()
        if self._take(w):
            return True
        try:
            if await w.wait_async(timeout):
                return True
        except BaseException:
            self._forget(w)
            if w.woken:
                self._give(1)
            raise
        self._forget(w)
        return False

    def release(self, n: int = 1) -> None:
        if n < 1:
            raise ValueError("n must be one or more")
        self._give(n)

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

    @property
    def value(self) -> int:
        return self._permits

    def statistics(self) -> SemaphoreStatistics:
        return SemaphoreStatistics(self._permits, len(self._waiting))

    def __repr__(self) -> str:
        return f"<efio.{type(self).__name__} at {id(self):#x}: value={self._permits}>"


class BoundedSemaphore(Semaphore):
    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._most = value

    def release(self, n: int = 1) -> None:
        if n < 1:
            raise ValueError("n must be one or more")
        with self._guard:
            if self._permits + n > self._most:
                raise ValueError("Semaphore released too many times")
            self._permits += self._wake(n)

    def __repr__(self) -> str:
        return f"<efio.BoundedSemaphore at {id(self):#x}: value={self._permits}/{self._most}>"


class Event(_Waited):
    def __init__(self) -> None:
        super().__init__()
        self._flag = False

    def is_set(self) -> bool:
        return self._flag

    def set(self) -> None:
        with self._guard:
            self._flag = True
            self._wake(len(self._waiting))

    def clear(self) -> None:
        self._flag = False

    def _queue_up(self, w: Waiter) -> bool:
        with self._guard:
            if not self._flag:
                self._waiting.append(w)
            return not self._flag

    def wait(self, timeout: float | None = None) -> bool:
        w = Waiter()
        if not self._queue_up(w):
            return True
        try:
            return w.wait(timeout)
        finally:
            self._forget(w)

    async def wait_async(self, timeout: float | None = None) -> bool:
        w = Waiter()
        if not self._queue_up(w):
            return True
        try:
            return await w.wait_async(timeout)
        finally:
            self._forget(w)

    def statistics(self) -> EventStatistics:
        return EventStatistics(self._flag, len(self._waiting))

    def __repr__(self) -> str:
        return f"<efio.Event at {id(self):#x}: {'set' if self._flag else 'unset'}>"

    def _at_fork_reinit(self) -> None:
        flag = self._flag
        Event.__init__(self)
        self._flag = flag


class Condition(_Waited):
    def __init__(self, lock: Any = None) -> None:
        super().__init__()
        self._lock = RLock() if lock is None else lock
        self.acquire = self._lock.acquire
        self.release = self._lock.release

    def __enter__(self) -> bool:
        return bool(self._lock.__enter__())

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._lock.__exit__(kind, error, traceback)

    def _is_owned(self) -> bool:
        if hasattr(self._lock, "_is_owned"):
            return bool(self._lock._is_owned())
        if self._lock.acquire(False):
            self._lock.release()
            return False
        return True

    def wait(self, timeout: float | None = None) -> bool:
        if timeout is not None and math.isnan(timeout):
            raise ValueError("timeout is not a number (NaN)")
        if not self._is_owned():
            raise RuntimeError("cannot wait on un-acquired lock")
        w = Waiter()
        self._waiting.append(w)
        nested = hasattr(self._lock, "_release_save")
        state = self._lock._release_save() if nested else self._lock.release()
        try:
            return w.wait(timeout)
        except BaseException:
            self._forget(w)
            if w.woken:
                with self._guard:
                    self._wake(1)
            raise
        finally:
            self._forget(w)
            if nested:
                self._lock._acquire_restore(state)
            else:
                self._lock.acquire()

    def wait_for(self, predicate: Callable[[], Any], timeout: float | None = None) -> Any:
        deadline = None if timeout is None else time.monotonic() + timeout
        result = predicate()
        while not result:
            left = None if deadline is None else deadline - time.monotonic()
            if left is not None and left <= 0:
                break
            self.wait(left)
            result = predicate()
        return result

    def notify(self, n: int = 1) -> None:
        if not self._is_owned():
            raise RuntimeError("cannot notify on un-acquired lock")
        with self._guard:
            self._wake(n)

    def notify_all(self) -> None:
        self.notify(len(self._waiting))

    notifyAll = notify_all  # noqa: N815 - the standard's old name

    def statistics(self) -> ConditionStatistics:
        return ConditionStatistics(len(self._waiting))

    def __repr__(self) -> str:
        return f"<efio.Condition({self._lock!r}, {len(self._waiting)} waiting)>"

    def _at_fork_reinit(self) -> None:
        self._lock._at_fork_reinit()
        _Waited.__init__(self)


class Once(_Waited):
    def __init__(self) -> None:
        super().__init__()
        self.done = False
        self._runner: object = None
        self._result: Any = None

    def _is_done(self) -> bool:
        return self.done  # may have become true since it was asked

    def __call__(self, function: Callable[..., Any], /, *arguments: Any, **keywords: Any) -> Any:
        while not self.done:
            w = Waiter()
            with self._guard:
                mine = self._runner is None
                if mine:
                    self._runner = current_flow()
                elif self._runner == current_flow():
                    raise RuntimeError("the function of this Once calls the Once, and would wait for itself")
                else:
                    self._waiting.append(w)
            if not mine:
                w.wait()
                continue
            try:
                if not self._is_done():
                    self._result = function(*arguments, **keywords)
                    self.done = True
            finally:
                with self._guard:
                    self._runner = None
                    self._wake(len(self._waiting))
        return self._result

    def statistics(self) -> OnceStatistics:
        return OnceStatistics(self.done, self._runner is not None, len(self._waiting))

"""RWLock in Python: the twin of _rwlock.pyx, which has the explanations."""

from __future__ import annotations

from collections import deque
from types import TracebackType

from efio._pure.locks import checked_timeout
from efio._pure.parking import Waiter, allocate_lock, current_flow
from efio._sync_types import RWLockStatistics

__all__ = ["RWLock"]


class _Side:
    def __init__(self, lock: RWLock, writes: bool) -> None:
        self._lock, self._writes = lock, writes

    def __enter__(self) -> RWLock:
        self._lock._enter(self._writes, None)
        return self._lock

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None:
        self._lock._leave(self._writes)


class RWLock:
    def __init__(self) -> None:
        self._guard = allocate_lock()
        self._readers: dict[object, int] = {}
        self._writer: object = None
        self._waiting: deque[Waiter] = deque()

    def _enter(self, writes: bool, timeout: float | None) -> bool:
        me = current_flow()
        w = Waiter()
        w.payload = (me, writes)
        with self._guard:
            if self._writer == me:
                raise RuntimeError(
                    "the caller holds this RWLock for writing already: downgrade() lets others read"
                )  # fmt: skip
            if me in self._readers:
                if writes:
                    raise RuntimeError("the caller reads, and would wait for itself: release_read() first, then check "
                                       "again what was read")  # fmt: skip
                self._readers[me] += 1
                return True
            if not self._waiting and self._writer is None and not (writes and self._readers):
                if writes:
                    self._writer = me
                else:
                    self._readers[me] = 1
                return True
            if timeout == 0:
                return False
            self._waiting.append(w)
        try:
            if w.wait(timeout):
                return True
        except BaseException:
            with self._guard:
                if w.woken:
                    self._release(me, writes)
                else:
                    self._waiting.remove(w)
                    self._hand_over()
            raise
        with self._guard:
            if w in self._waiting:
                self._waiting.remove(w)
            self._hand_over()
        return False

    def _leave(self, writes: bool) -> None:
        me = current_flow()
        with self._guard:
            if writes and self._writer != me:
                raise RuntimeError("this RWLock is not held for writing by the caller")
            if not writes and me not in self._readers:
                raise RuntimeError("this RWLock is not held for reading by the caller")
            self._release(me, writes)

    def _release(self, me: object, writes: bool) -> None:
        if writes:
            self._writer = None
        else:
            self._readers[me] -= 1
            if self._readers[me]:
                return
            del self._readers[me]
        self._hand_over()

    def _hand_over(self) -> None:
        while self._waiting and self._writer is None:
            who, writes = self._waiting[0].payload
            if writes and self._readers:
                return
            if self._waiting.popleft().wake():
                if writes:
                    self._writer = who
                else:
                    self._readers[who] = 1

    def acquire_read(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._enter(False, checked_timeout(blocking, timeout))

    def acquire_write(self, blocking: bool = True, timeout: float = -1) -> bool:
        return self._enter(True, checked_timeout(blocking, timeout))

    def release_read(self) -> None:
        self._leave(False)

    def release_write(self) -> None:
        self._leave(True)

    def downgrade(self) -> None:
        me = current_flow()
        with self._guard:
            if self._writer != me:
                raise RuntimeError("this RWLock is not held for writing by the caller")
            self._readers[me] = 1
            self._writer = None
            self._hand_over()

    @property
    def reading(self) -> _Side:
        return _Side(self, False)

    @property
    def writing(self) -> _Side:
        return _Side(self, True)

    @property
    def waiters(self) -> int:
        return len(self._waiting)

    def statistics(self) -> RWLockStatistics:
        return RWLockStatistics(len(self._readers), self._writer is not None, len(self._waiting))

    def _at_fork_reinit(self) -> None:
        RWLock.__init__(self)

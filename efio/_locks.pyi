"""Types of the compiled module; the explanations are in _locks.pyx."""

from types import TracebackType
from typing import Any, final

from efio._sync_types import LockStatistics

class _Mutex:
    def locked(self) -> bool:
        """Whether somebody holds it."""

    @property
    def waiters(self) -> int:
        """How many wait for it."""

    def statistics(self) -> LockStatistics: ...

@final
class Lock(_Mutex):
    """A mutex with the interface of threading.Lock, between greenlets of any hubs, asyncio tasks and threads.

    Whoever waits switches its greenlet, suspends its task or blocks its thread. It may be released by anybody.
    """

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes it; False when that was not possible within ``timeout`` seconds (-1: no limit), or at once if not
        ``blocking``. ValueError and OverflowError as threading.Lock."""

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """The same for a task of asyncio; also ``async with``."""

    def release(self) -> None:
        """RuntimeError when nobody holds it."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    async def __aenter__(self) -> bool: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def _at_fork_reinit(self) -> None: ...

@final
class RLock(_Mutex):
    """A mutex that its holder may take again, with the interface of threading.RLock.

    The holder is the greenlet that took it, where greenlets are in use, else the thread; nobody else may release it.
    """

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As Lock.acquire; at once True when the caller holds it already. One release is due for each."""

    def release(self) -> None:
        """RuntimeError when the caller does not hold it."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def _is_owned(self) -> bool: ...
    def _recursion_count(self) -> int: ...
    def _release_save(self) -> Any: ...
    def _acquire_restore(self, state: Any, /) -> None: ...
    def _at_fork_reinit(self) -> None: ...

class TicketLock(_Mutex):
    """A mutex that is handed over strictly in the order of those who came for it.

    Nobody overtakes, so each hand-over is a switch: prefer ``Lock`` unless the order matters. Only its holder (greenlet
    or thread) may release it.

    Source: J. Mellor-Crummey, M. Scott, "Algorithms for scalable synchronization on shared-memory multiprocessors",
    1991 (ticket lock; the queue of parked waiters stands for the tickets).
    """

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """As Lock.acquire. RuntimeError when the caller holds it already."""

    def release(self) -> None:
        """RuntimeError when the caller does not hold it."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def _at_fork_reinit(self) -> None: ...

@final
class SpinLock(TicketLock):
    """A mutex for sections of a few instructions: gives way some times, without the interpreter lock, before it sleeps.

    Only its holder (greenlet or thread) may release it.
    """

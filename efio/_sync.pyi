"""Types of the compiled module; the explanations are in _sync.pyx."""

from collections.abc import Callable
from types import TracebackType
from typing import Any, ParamSpec, TypeVar, final

from efio._sync_types import ConditionStatistics, EventStatistics, OnceStatistics, SemaphoreStatistics

_P = ParamSpec("_P")
_T = TypeVar("_T")

class Semaphore:
    """Permits that are taken and given back, with the interface of threading.Semaphore; first come, first served."""

    def __init__(self, value: int = 1) -> None:
        """ValueError for a value below 0."""

    def acquire(self, blocking: bool = True, timeout: float | None = None) -> bool:
        """Takes a permit; False when there was none within ``timeout`` seconds, or at once if not ``blocking``."""

    async def acquire_async(self, timeout: float | None = None) -> bool:
        """The same for a task of asyncio; also ``async with``."""

    def release(self, n: int = 1) -> None:
        """Gives n permits, from any thread. ValueError when n < 1."""

    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    async def __aenter__(self) -> bool: ...
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    @property
    def value(self) -> int:
        """Permits that can be taken at once."""

    @property
    def waiters(self) -> int:
        """How many wait for one."""

    def statistics(self) -> SemaphoreStatistics: ...

class BoundedSemaphore(Semaphore):
    """One that raises ValueError when more is released than was acquired."""

@final
class Event:
    """A flag to wait for, with the interface of threading.Event."""

    def is_set(self) -> bool: ...
    def set(self) -> None:
        """Wakes all that wait, from any thread."""

    def clear(self) -> None: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until it is set, at most ``timeout`` seconds. False: timeout."""

    async def wait_async(self, timeout: float | None = None) -> bool:
        """The same for a task of asyncio."""

    @property
    def waiters(self) -> int: ...
    def statistics(self) -> EventStatistics: ...
    def _at_fork_reinit(self) -> None: ...

@final
class Condition:
    """A condition variable with the interface of threading.Condition, on an RLock of its own or the given lock.

    Notified in the order in which they began to wait. A waiter that is killed after it was notified notifies the next.
    """

    def __init__(self, lock: Any = None) -> None: ...
    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool: ...
    def release(self) -> None: ...
    def __enter__(self) -> bool: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> None: ...
    def wait(self, timeout: float | None = None) -> bool:
        """Releases the lock, waits to be notified, takes the lock again. False: timeout. RuntimeError without lock."""

    def wait_for(self, predicate: Callable[[], _T], timeout: float | None = None) -> _T:
        """Waits until the predicate is true; its last value."""

    def notify(self, n: int = 1) -> None: ...
    def notify_all(self) -> None: ...
    @property
    def waiters(self) -> int: ...
    def statistics(self) -> ConditionStatistics: ...
    def _at_fork_reinit(self) -> None: ...

@final
class Once:
    """Runs a function once, whoever comes first; the others wait for its result.

    If it raises, the error goes to who ran it, and the next one that comes (or waits) runs its own.
    RuntimeError when the function calls the Once itself.
    """

    def __call__(self, function: Callable[_P, _T], /, *arguments: _P.args, **keywords: _P.kwargs) -> _T: ...
    @property
    def done(self) -> bool: ...
    def statistics(self) -> OnceStatistics: ...

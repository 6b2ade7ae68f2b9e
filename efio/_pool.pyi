from collections.abc import Callable
from typing import ParamSpec, TypeVar

from efio._futures import Future
from efio._pool_types import PoolStatistics

_P = ParamSpec("_P")
_T = TypeVar("_T")

def exit_begins() -> None:
    """Pools accept nothing any more."""

class Core:
    """What a pool and its threads share. The threads do not know the pool, so that it may be dropped."""

    max_workers: int
    capacity: int  # calls in the queue
    submitted: int
    broken: str | None  # why it is

    def __init__(self, max_workers: int, capacity: int, starter: Callable[[Worker, int], None]) -> None: ...
    def close(self) -> None:
        """No more submissions; what is queued is still worked on."""

    def fail_queued(self, error: BaseException | None) -> None:
        """Ends what is queued with an error; with None, cancels it."""

    def break_down(self, reason: str) -> None:
        """A thread's initializer has failed."""

    def is_worker(self) -> bool:
        """Whether the caller is one of its threads."""

    def wait_for_end(self) -> None:
        """Waits until all threads have ended, or are about to."""

    def after_fork_in_child(self) -> None:
        """The threads are not here; what they had, and what was queued for them, is not run."""

    def statistics(self) -> PoolStatistics:
        """Its state at the moment."""

class Worker:
    """One thread of a pool."""

    core: Core
    def begin(self) -> None:
        """In the thread itself."""

    def run(self) -> bool:
        """Some calls; False when the pool has ended."""

    def ended(self) -> None:
        """The thread runs nothing any more."""

class BasePool:
    """submit, and an end when it is dropped."""

    _core: Core
    def _set_core(self, core: Core) -> None: ...
    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Has fn(*args, **kwargs) called by one of the threads.

        Waits while the queue is full (greenlets are switched out). Raises RuntimeError after shutdown(),
        BrokenThreadPool after an initializer has failed, queue.Full when the queue is full and the caller is one of
        the pool's own threads.
        """

    def run_native(self, function: int, argument: int = 0) -> None:
        """Has function(argument) called by one of the threads without the interpreter lock, and waits for its end.

        Both are addresses, of a C function `void (void *)` and of whatever it takes (with ctypes:
        `ctypes.cast(f, ctypes.c_void_p).value`). Who is killed or interrupted meanwhile sees it when the function has
        ended, so that its memory may be freed then. Raises as submit().
        """

    async def submit_async(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """The same for a task of asyncio, which waits for room without blocking its loop."""

"""``ThreadPool``: a concurrent.futures executor that greenlets, asyncio tasks and threads share.

Its threads are threads of the operating system, also after gevent's monkey patching, which would make greenlets of
threading.Thread. They share a Core with the pool, but do not know the pool: when it is dropped they work off what is
queued and end, as with the standard executor. At exit, the same: what was submitted is run before the interpreter ends.

The child of a fork has none of the threads. Its copy of a pool begins anew; futures of calls that were submitted before
get an error there.
"""

from __future__ import annotations

import itertools
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, _base
from typing import TYPE_CHECKING, Any

from efio._gevent import original
from efio._impl import PYTHON
from efio._pool_types import PoolStatistics

if TYPE_CHECKING or not PYTHON:
    from efio._pool import BasePool, Core, Worker, exit_begins
else:
    from efio._pure.pool import BasePool, Core, Worker, exit_begins

__all__ = ["PoolStatistics", "ThreadPool", "default_pool"]

MAX_WORKERS = 32767  # the queue counts its sleepers in 16 bits
QUEUE_SIZE = 16384  # calls, by default

_numbers = itertools.count()
_cores: weakref.WeakSet[Core] = weakref.WeakSet()
_threads: weakref.WeakKeyDictionary[Core, set[Any]] = weakref.WeakKeyDictionary()


class _Thread:
    """A thread that gevent does not know of; what of threading.Thread the pool and its users need."""

    def __init__(self, name: str, function: Callable[[], None]) -> None:
        self.name = name
        self.daemon = False
        self.ident: int | None = None
        self._function: Any = function
        self._end = original("_thread", "allocate_lock")()
        self._end.acquire()

    def start(self) -> None:
        self.ident = original("_thread", "start_new_thread")(self._run, ())

    def _run(self) -> None:
        function, self._function = self._function, None  # no cycle by way of the core
        try:
            function()
        finally:
            self._end.release()

    def is_alive(self) -> bool:
        return bool(self._end.locked())

    def join(self, timeout: float | None = None) -> None:
        if self._end.acquire(True, -1 if timeout is None else max(0.0, timeout)):
            self._end.release()


def _patched() -> bool:
    monkey = sys.modules.get("gevent.monkey")
    return monkey is not None and bool(monkey.is_module_patched("threading") or monkey.is_module_patched("_thread"))


def _work(worker: Worker, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    worker.begin()
    try:
        if initializer is not None:
            try:
                initializer(*initargs)
            except BaseException:  # noqa: BLE001 - as the standard executor: logged, and the pool is broken
                _base.LOGGER.critical("Exception in initializer:", exc_info=True)
                worker.core.break_down("A thread initializer failed, the thread pool is not usable anymore")
                return
        while worker.run():
            pass  # here the interpreter gives way to threads that wait for its lock
    finally:
        _destroy_hub()
        worker.ended()


def _destroy_hub() -> None:
    """If a call has started a gevent hub in this thread."""
    module = sys.modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    if hub is not None:
        hub.destroy(destroy_loop=True)


class ThreadPool(BasePool, ThreadPoolExecutor):
    """Runs calls in threads; concurrent.futures.ThreadPoolExecutor in every respect.

    `max_workers`: threads at most, started when they are needed; None is min(32, processors + 4).
    `queue_size`: calls that may wait, rounded up to a power of two; who submits more waits for room.
    `initializer(*initargs)` is called by each thread first; if it raises, the pool is broken (BrokenThreadPool).
    ValueError or TypeError for arguments that make no sense.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        thread_name_prefix: str = "",
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        *,
        queue_size: int = QUEUE_SIZE,
    ) -> None:
        if max_workers is None:
            cpus = getattr(os, "process_cpu_count", os.cpu_count)
            max_workers = min(32, (cpus() or 1) + 4)
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if max_workers > MAX_WORKERS:
            raise ValueError(f"max_workers={max_workers}: there can be {MAX_WORKERS} at most")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if not 1 <= queue_size <= 2**24:
            raise ValueError(f"queue_size={queue_size}: give a number of calls from 1 to {2**24}")
        prefix = thread_name_prefix or f"efio-pool-{next(_numbers)}"
        threads: set[Any] = set()

        def start(worker: Worker, number: int) -> None:
            name = f"{prefix}_{number}"
            arguments = (worker, initializer, initargs)
            thread: Any
            if _patched():
                thread = _Thread(name, lambda: _work(*arguments))
            else:
                thread = threading.Thread(name=name, target=_work, args=arguments)
            threads.add(thread)
            try:
                thread.start()
            except BaseException:
                threads.discard(thread)
                raise

        capacity = max(2, 1 << (queue_size - 1).bit_length())
        core = Core(max_workers, capacity, start)
        self._set_core(core)
        _cores.add(core)
        _threads[core] = threads
        self._threads = threads
        self._max_workers = max_workers
        self._thread_name_prefix = prefix
        self._initializer: Any = initializer
        self._initargs = initargs

    @property
    def _shutdown(self) -> bool:  # type: ignore[override]
        return self._core.statistics().is_shutdown

    @property
    def _broken(self) -> Any:  # type: ignore[override]
        return self._core.broken or False

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Accepts nothing any more, and waits until all that was submitted is done (a greenlet is switched out).

        `cancel_futures`: what has not begun is cancelled. RuntimeError when one of the pool's own threads would wait.
        """
        core = self._core
        core.close()
        if cancel_futures:
            core.fail_queued(None)
        if wait:
            if core.is_worker():
                raise RuntimeError("a thread of the pool cannot wait for the end of the pool: shutdown(wait=False)")
            core.wait_for_end()
            for thread in list(self._threads):
                thread.join()

    def is_worker(self) -> bool:
        """Whether the caller is one of its threads."""
        return self._core.is_worker()

    def statistics(self) -> PoolStatistics:
        """Its state at the moment."""
        return self._core.statistics()


_default: ThreadPool | None = None


def default_pool() -> ThreadPool:
    """The pool that everything shares that has none of its own. Made at the first call; ends at exit."""
    global _default  # noqa: PLW0603
    if _default is None or _default._shutdown:  # somebody has ended it
        _default = ThreadPool(thread_name_prefix="efio")
    return _default


def end_default_pool() -> None:
    """Ends it when what it was given is done; waits. The next who asks for it gets a new one."""
    if _default is not None:
        _default.shutdown()


def at_exit() -> bool:
    """Whether the interpreter ends, and pools accept nothing any more."""
    return _exiting


_exiting = False


def _at_exit() -> None:
    global _exiting  # noqa: PLW0603
    _exiting = True
    exit_begins()
    cores = list(_cores)
    for core in cores:
        core.close()
    for core in cores:
        for thread in list(_threads.get(core, ())):
            thread.join()


def _after_fork_in_child() -> None:
    for core in list(_cores):
        _threads[core].clear()
        core.after_fork_in_child()


threading._register_atexit(_at_exit)  # type: ignore[attr-defined]
os.register_at_fork(after_in_child=_after_fork_in_child)

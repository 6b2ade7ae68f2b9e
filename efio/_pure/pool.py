"""The pool's queue and the loop of its threads in Python: the twin of _pool.pyx. A queue with a mutex, and calls."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable
from concurrent.futures.thread import BrokenThreadPool
from queue import Empty, Full
from typing import Any

from efio._pool_types import PoolStatistics
from efio._pure.futures import Future
from efio._pure.parking import _get_ident, allocate_lock
from efio._pure.queues import Queue
from efio._pure.sync import Event
from efio._queues_types import ShutDown

__all__ = ["BasePool", "Core", "Worker", "exit_begins"]

LOGGER = logging.getLogger("concurrent.futures")
_exiting = False


def exit_begins() -> None:
    global _exiting  # noqa: PLW0603
    _exiting = True


class _Call:
    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.future: Future[Any] = Future()
        self.function: Callable[..., Any] | None = function
        self.args = args
        self.kwargs = kwargs

    def run(self) -> None:
        future, function, args, kwargs = self.future, self.function, self.args, self.kwargs
        del self.function, self.args, self.kwargs
        if function is None or not future.set_running_or_notify_cancel():
            return
        value, error = None, None
        try:
            value = function(*args, **kwargs)
        except BaseException as e:  # noqa: BLE001 - it is the result
            error = e
        del function, args, kwargs
        try:
            if error is None:
                future.set_result(value)
            else:
                future.set_exception(error)
        finally:
            del error  # no cycle through the traceback


class Core:
    """See efio/_pool.pyi."""

    def __init__(self, max_workers: int, capacity: int, starter: Callable[[Worker, int], None]) -> None:
        self.max_workers = max_workers
        self.capacity = capacity
        self.broken: str | None = None
        self._starter = starter
        self._forget()

    def _forget(self) -> None:
        self._mutex = allocate_lock()
        self._queue: Any = Queue(self.capacity)
        self._workers: list[Worker] = []
        self._started = 0
        self._end = Event()
        self._end.set()
        self._unfinished = 0
        self.submitted = 0
        self._closed = False

    def submit(self, call: _Call) -> None:
        self._prepare()
        if self._queue.full() and self.is_worker():
            raise Full(
                f"the pool's queue has room for {self.capacity} calls, and one of its own threads would wait for "
                "itself: submit less from inside, or make the pool with a larger queue_size"
            )
        try:
            self._queue.put(call)
        except BaseException as error:
            self._withdraw(error)
            raise
        self._accepted()

    async def submit_async(self, call: _Call) -> None:
        self._prepare()
        try:
            await self._queue.aput(call)
        except BaseException as error:
            self._withdraw(error)
            raise
        self._accepted()

    def _accepted(self) -> None:
        with self._mutex:
            self.submitted += 1

    def _prepare(self) -> None:
        self._check()
        with self._mutex:
            start = self._unfinished >= len(self._workers) < self.max_workers
        if start:
            self._start_worker()
        with self._mutex:
            self._unfinished += 1  # before somebody finishes it

    def _withdraw(self, error: BaseException) -> None:
        self.finished()
        if isinstance(error, ShutDown):
            self._check()

    def _check(self) -> None:
        if self.broken is not None:
            raise BrokenThreadPool(self.broken)
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self._closed:
            raise RuntimeError("cannot schedule new futures after shutdown")

    def _start_worker(self) -> None:
        worker = Worker(self)
        with self._mutex:
            self._workers.append(worker)
            self._started += 1
            number = self._started - 1
            self._end.clear()
        try:
            self._starter(worker, number)
        except BaseException:
            worker.ended()
            if not self._workers:
                raise

    def close(self) -> None:
        self._closed = True
        self._queue.shutdown()

    def fail_queued(self, error: BaseException | None) -> None:
        while True:
            try:
                call = self._queue.get_nowait()
            except (Empty, ShutDown):
                return
            self.finished()
            try:
                if error is None:
                    call.future.cancel()
                if call.future.set_running_or_notify_cancel() and error is not None:
                    call.future.set_exception(error)
            except Exception:  # set by somebody else
                LOGGER.critical("cannot cancel %r", call.future, exc_info=True)

    def break_down(self, reason: str) -> None:
        self.broken = reason
        self.close()
        self.fail_queued(BrokenThreadPool(reason))

    def finished(self) -> None:
        with self._mutex:
            self._unfinished -= 1

    def is_worker(self) -> bool:
        return any(worker.thread == _get_ident() for worker in list(self._workers))

    def wait_for_end(self) -> None:
        self._end.wait()

    def after_fork_in_child(self) -> None:
        workers, queue, closed = self._workers, self._queue, self._closed
        self._forget()
        if closed:
            self.close()
        error = RuntimeError("the process was forked: what was submitted before is run in the parent only")
        calls = [w.current for w in workers if w.current is not None and w.thread != _get_ident()]
        calls.extend(queue._items)
        for worker in workers:
            worker.gone = True
        for call in calls:
            call.future._condition = type(call.future._condition)()  # somebody may have held it
            if not call.future.done():
                call.future.set_exception(error)

    def statistics(self) -> PoolStatistics:
        queue = self._queue.statistics()
        return PoolStatistics(
            workers=len(self._workers),
            max_workers=self.max_workers,
            idle=queue.getters,
            queued=queue.size,
            queue_size=self.capacity,
            running=max(0, self._unfinished - queue.size - queue.putters),
            submitted=self.submitted,
            waiting_submitters=queue.putters,
            is_shutdown=self._closed,
        )


class Worker:
    """See efio/_pool.pyi."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.thread = 0
        self.gone = False
        self.current: _Call | None = None

    def begin(self) -> None:
        self.thread = _get_ident()

    def run(self) -> bool:
        try:
            self.current = self.core._queue.get()
        except ShutDown:
            return False
        try:
            self.current.run()
        except BaseException:  # somebody else has set its result, or a callback has failed
            LOGGER.critical("Exception in worker", exc_info=True)
        self.current = None
        if self.gone:
            return False
        self.core.finished()
        return True

    def ended(self) -> None:
        core = self.core
        with core._mutex:
            if self not in core._workers:
                return
            core._workers.remove(self)
            if not core._workers:
                core._end.set()


class BasePool:
    """See efio/_pool.pyi."""

    _core: Core

    def _set_core(self, core: Core) -> None:
        self._core = core

    def __del__(self) -> None:
        if hasattr(self, "_core"):
            self._core.close()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = _Call(fn, args, kwargs)
        self._core.submit(call)
        return call.future

    def run_native(self, function: int, argument: int = 0) -> None:
        if function == 0:
            raise ValueError("run_native: the address of the function is 0")
        future = self.submit(ctypes.CFUNCTYPE(None, ctypes.c_void_p)(function), argument)
        interruption: BaseException | None = None
        while not future.done():
            try:
                future.exception()
            except BaseException as error:  # noqa: BLE001 - raised when the function has ended
                interruption = error
        if interruption is not None:
            raise interruption
        future.result()

    async def submit_async(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        call = _Call(fn, args, kwargs)
        await self._core.submit_async(call)
        return call.future

"""Large documents without a blocked event loop.

A document of up to ``INLINE_LIMIT`` bytes is dealt with on the spot; that takes about a millisecond. With a larger one,
where an event loop would have to wait,

* what libxml2 does (parse, validate) runs in another thread, without the interpreter lock, while the caller waits in
  the way that lets its loop go on;
* what Python does (reading, writing) stays with the caller and *breathes*: every half millisecond it lets others run.

Where an event loop would have to wait is found out at each call:

* in a thread with a gevent hub: the caller's greenlet waits. The other thread is one of the executor given to
  ``use``, else of efio's default pool if the program has imported efio, else of the hub's own thread pool;
* in a function that was started by ``await asynchronously(function, ...)``, for asyncio: the whole function runs in
  another thread, and breathes there by letting go of the interpreter lock;
* anywhere else nobody waits, and everything is done on the spot.

This package imports neither gevent nor efio; it looks at what is there.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar

__all__ = [
    "INLINE_LIMIT",
    "Executor",
    "Loop",
    "asynchronously",
    "begin",
    "breathe_now",
    "current",
    "due_at",
    "pace",
    "use",
    "within",
]

P = ParamSpec("P")
T = TypeVar("T")

INLINE_LIMIT = 32 * 1024  # bytes
BREATH = 0.0005  # seconds between two breaths
_LET_GO = 0.00005  # seconds; a shorter sleep would often have the lock back before anybody else has noticed


class _Future(Protocol):
    def result(self, timeout: float | None = None) -> Any:
        """Waits for the result. Raises TimeoutError after ``timeout`` seconds."""


class Executor(Protocol):
    """What ``use`` takes: concurrent.futures executors and efio's pools. ``result()`` must not block the loop of its
    caller.
    """

    def submit(self, function: Callable[..., Any], /, *args: Any) -> _Future:
        """Starts a call."""


class Loop(Protocol):
    """An event loop that must not be blocked."""

    def elsewhere(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        """Calls in another thread and waits for the result. Raises TimeoutError after ``timeout`` seconds."""

    def breathe(self) -> None:
        """Lets others run."""


_executor: list[Executor] = []  # one or none
_state = threading.local()


def use(executor: Executor | None) -> None:
    """Chooses the executor for large documents under gevent; None goes back to the default."""
    _executor[:] = [] if executor is None else [executor]


def _pool() -> Executor | None:
    if _executor:
        return _executor[0]
    default = getattr(sys.modules.get("efio"), "default_pool", None)
    return default() if default is not None else None


class _Gevent:
    """A thread with a gevent hub."""

    def __init__(self, hub: Any) -> None:
        self._hub = hub

    def breathe(self) -> None:
        # A timer that is due at once: one whole turn of the loop. gevent.sleep(0) only runs what is ready, a thousand
        # times over before it looks at sockets and timers again.
        self._hub.wait(self._hub.loop.timer(0.0))

    def elsewhere(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        pool = _pool()
        if pool is not None:
            future = pool.submit(function, *args)
            return future.result() if timeout is None else future.result(timeout)  # type: ignore[no-any-return]
        if timeout is None:
            return self._hub.threadpool.apply(function, args)  # type: ignore[no-any-return]
        done = self._hub.threadpool.spawn(function, *args)
        if not done.wait(timeout) and not done.ready():
            raise TimeoutError
        return done.get()  # type: ignore[no-any-return]


class _Thread:
    """A thread of its own beside an asyncio loop."""

    @staticmethod
    def elsewhere(function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        return function(*args) if timeout is None else within(timeout, function, *args)

    @staticmethod
    def breathe() -> None:
        time.sleep(_LET_GO)


_thread = _Thread()


def within(timeout: float, function: Callable[..., T], *args: Any) -> T:
    """Calls in a thread of its own and waits for the result. Raises TimeoutError after ``timeout`` seconds; the thread
    cannot be stopped and goes on to its end, for nobody.
    """
    future: concurrent.futures.Future[T] = concurrent.futures.Future()

    def run() -> None:
        try:
            future.set_result(function(*args))
        except BaseException as error:  # noqa: BLE001 - it is the caller's
            future.set_exception(error)

    threading.Thread(target=run, name="schema: within a time budget", daemon=True).start()
    return future.result(timeout)


def current() -> Loop | None:
    """The loop that would have to wait for this caller; None when there is none."""
    if getattr(_state, "beside_a_loop", False):
        return _thread
    local = sys.modules.get("gevent._hub_local")
    if local is None:
        return None
    hub = local.get_hub_if_exists()
    return None if hub is None else _Gevent(hub)


async def asynchronously(function: Callable[P, T], *args: P.args, **options: P.kwargs) -> T:
    """Calls in a thread of asyncio's default executor, such as ``await asynchronously(s.from_xml, data)``."""

    def call() -> T:
        _state.beside_a_loop = True
        try:
            return function(*args, **options)
        finally:
            _state.beside_a_loop = False

    return await asyncio.get_running_loop().run_in_executor(None, call)


class _Pace(threading.local):
    due = 0.0


_pace = _Pace()


def begin() -> None:
    """Called before paced work: the first breath is due in half a millisecond."""
    _pace.due = time.perf_counter() + BREATH


def due_at() -> float:
    """When this thread's next breath is due, by ``time.perf_counter`` (on Linux CLOCK_MONOTONIC)."""
    return _pace.due


def breathe_now() -> float:
    """Lets others run. Returns when the next breath is due."""
    loop = current()
    if loop is not None:
        loop.breathe()
    due = _pace.due = time.perf_counter() + BREATH
    return due


def rest(size: int) -> None:
    """Lets others run between two long steps with a document of ``size`` bytes, if it is a large one."""
    if size > INLINE_LIMIT and (loop := current()) is not None:
        loop.breathe()


def pace(items: Iterable[T]) -> Iterator[T]:
    """The items, with a breath whenever the last one of this thread was half a millisecond ago."""
    clock, state = time.perf_counter, _pace
    for item in items:
        yield item
        if clock() >= state.due:
            breathe_now()

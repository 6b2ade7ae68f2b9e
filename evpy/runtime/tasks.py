"""Concurrency within one hub: `spawn`, `gather`, `sleep` and `timeout`.

The shapes are asyncio's (``gather``, ``timeout``) and trio's (nothing started here is left behind), without the colour
of functions: every function may be called concurrently, because whatever blocks switches greenlets.

Invariants:

* A greenlet started here sees a copy of its creator's contextvars, hence ``evpy.current_request()`` works in it, and
  what it sets stays its own.
* When `gather` returns or raises, none of its calls is running. The one exception: a second interruption (a kill, a
  deadline) that arrives while the cancelled calls are still cleaning up passes at once; a deadline is a deadline.
* A time limit travels through the block as ``gevent.Timeout``, which is no ``Exception``: an ``except Exception`` in a
  retry loop cannot swallow it. Only the ``with`` statement that set it turns it into ``DeadlineExceeded``, so nested
  limits do not mistake each other's for their own.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from contextvars import copy_context
from types import TracebackType
from typing import Any, Literal, ParamSpec, Self, TypeVar, overload

import gevent
import gevent.event

from evpy.errors import DeadlineExceeded

__all__ = ["TimeLimit", "gather", "sleep", "spawn", "timeout"]

P = ParamSpec("P")
T = TypeVar("T")


def spawn(fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> gevent.Greenlet[P, T]:
    """Start ``fn(*args, **kwargs)`` in a greenlet of this hub and return the greenlet (`gevent.Greenlet`).

    It begins when the caller next waits. ``get()`` waits for its result or raises its exception, ``join()`` only waits,
    ``kill()`` ends it. As with every gevent greenlet, an exception is printed when it happens, read or not.
    """
    greenlet: gevent.Greenlet[P, T] = gevent.Greenlet(fn, *args, **kwargs)
    greenlet.gr_context = copy_context()
    greenlet.start()
    return greenlet


def sleep(seconds: float = 0.0) -> None:
    """Let other greenlets run for `seconds` (any fraction; 0 yields once). ValueError if negative or not finite."""
    gevent.sleep(_duration(seconds, "sleep"))


def timeout(seconds: float | None) -> TimeLimit:
    """Limit the time of a ``with`` block: ``with evpy.timeout(1.5): ...`` raises ``DeadlineExceeded`` after 1.5 s.

    None sets no limit. ``DeadlineExceeded`` is a ``TimeoutError``; ``expired`` of the object that ``with`` yields tells
    whether it was this limit. Time runs out where the block waits: code that computes without ever switching greenlets
    is not interrupted. ValueError if `seconds` is negative or not finite.
    """
    return TimeLimit(None if seconds is None else _duration(seconds, "timeout"))


class TimeLimit:
    """The context manager of `timeout`; may be used again, but not within itself."""

    __slots__ = ("_timer", "expired", "seconds")

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self.expired = False
        self._timer: gevent.Timeout | None = None

    def __enter__(self) -> Self:
        if self._timer is not None:
            raise RuntimeError("this timeout() is in use already; make a second one for the inner block")
        self.expired = False
        self._timer = gevent.Timeout.start_new(self.seconds)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        timer, self._timer = self._timer, None
        if timer is None:
            return
        timer.close()
        if error is timer:
            self.expired = True
            # With the traceback of the block, so that it tells where the time ran out.
            raise DeadlineExceeded(f"the time limit of {self.seconds:g} s is over").with_traceback(tb) from None


@overload
def gather(
    *callables: Callable[[], T], return_exceptions: Literal[False] = False, limit: int | None = None
) -> list[T]: ...
@overload
def gather(*callables: Callable[[], T], return_exceptions: bool, limit: int | None = None) -> list[T | Exception]: ...
def gather(*callables: Callable[[], Any], return_exceptions: bool = False, limit: int | None = None) -> list[Any]:
    """Call all `callables` concurrently, each in a greenlet of its own, and return their results in order.

    At most `limit` of them at a time (None: all at once). The first exception ends it: calls not yet begun never begin,
    the running ones get ``GreenletExit`` and their end is awaited, then that very exception object is raised. The same
    happens to the calls if the caller itself is killed or its time is over. With `return_exceptions` an ``Exception``
    takes the place of its call's result and disturbs nobody; ``SystemExit`` and the like are raised as before.

    TypeError or ValueError, before anything runs, if an argument cannot be called or `limit` is below 1.
    """
    for position, call in enumerate(callables, 1):
        if not callable(call):
            raise TypeError(
                f"gather() takes functions to call, but argument {position} is {type(call).__name__}; "
                "wrap a call with arguments in lambda or functools.partial"
            )
    if limit is not None and limit < 1:
        raise ValueError(f"gather(limit={limit}): at least one call must be allowed to run")
    if not callables:
        return []
    gathering = _Gathering(callables, return_exceptions)
    return gathering.run(limit or len(callables))


class _Gathering:
    """The state of one `gather`: who waits for his turn, who runs, what came out."""

    def __init__(self, callables: tuple[Callable[[], Any], ...], return_exceptions: bool) -> None:
        self.context = copy_context()
        self.return_exceptions = return_exceptions
        self.todo = deque(enumerate(callables))
        self.results: list[Any] = [None] * len(callables)
        self.running: set[gevent.Greenlet[..., Any]] = set()
        self.failure: BaseException | None = None
        self.stopping = False
        self.wake = gevent.event.Event()

    def run(self, limit: int) -> list[Any]:
        try:
            for _ in range(min(limit, len(self.todo))):
                self.start_next()
            self.wake.wait()
        finally:
            # Ended, failed or interrupted: in the first case this finds nothing to do.
            self.stopping = True
            rest = list(self.running)
            gevent.killall(rest, block=False)
            gevent.joinall(rest)
        if self.failure is not None:
            try:
                raise self.failure
            finally:
                del self.failure  # the traceback of the exception leads to this frame: no cycle, please
        return self.results

    def start_next(self) -> None:
        greenlet: gevent.Greenlet[..., Any] = gevent.Greenlet(self.call, *self.todo.popleft())
        greenlet.gr_context = self.context.copy()
        self.running.add(greenlet)
        greenlet.start()

    def call(self, position: int, fn: Callable[[], Any]) -> None:
        try:
            self.results[position] = fn()
        except gevent.GreenletExit as error:
            if not self.stopping:
                self.fail(error)
        except Exception as error:  # noqa: BLE001 - handed to the caller
            if self.return_exceptions:
                self.results[position] = error
            else:
                self.fail(error)
        except BaseException as error:  # noqa: BLE001 - SystemExit, KeyboardInterrupt: for the caller
            self.fail(error)
        self.running.discard(gevent.getcurrent())
        if self.todo and not self.stopping:
            self.start_next()
        elif not self.running:
            self.wake.set()

    def fail(self, error: BaseException) -> None:
        if self.stopping:
            # A second failure, for instance in a clean-up: the hub reports it as that of any other greenlet.
            self.running.discard(gevent.getcurrent())
            raise error
        self.stopping = True
        self.failure = error
        self.wake.set()


def _duration(seconds: float, what: str) -> float:
    try:
        valid = math.isfinite(seconds) and seconds >= 0  # whatever has __float__ or __index__ will do
    except TypeError:
        raise TypeError(f"{what}({seconds!r}): seconds must be a number, not {type(seconds).__name__}") from None
    if not valid:
        raise ValueError(f"{what}({seconds}): seconds must be 0 or more, and finite")
    return seconds

"""Results that a greenlet of any thread may wait for.

gevent's own events belong to one hub: setting one from another thread, or waiting for it there, is at best a special
case. A worker of evpy has several hubs, one per scheduler thread, and hands work between them. The two classes here
are the meeting point:

* `Latch` is a one-way flag. ``set`` may be called by any thread; ``wait`` parks the calling greenlet and leaves its hub
  free to run the others.
* `Handle` is one call whose outcome is fetched elsewhere, in the shape of `concurrent.futures.Future`.

How a wait works: every waiting greenlet starts an *async watcher* on its own hub (the only libev object that another
thread may touch) and only then puts it on the latch's list; the setter sends to each watcher on the list.

Invariants:

* The watcher runs before it is on the list: a send to a watcher that has not been started would be forgotten.
* Senders and leavers hold the native lock, hence nobody sends to a watcher that its owner has closed.
* The lock is a native one (monkey-patched locks know only the greenlets of one hub) and is never held across a switch.
* A started watcher counts as work for its loop, therefore a hub with nothing else to do waits instead of failing with
  ``LoopExit``.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable
from concurrent.futures import CancelledError
from contextvars import Context
from typing import Any, Generic, TypeVar

import gevent
from gevent.hub import Hub, Waiter
from gevent.monkey import get_original

from evpy.errors import DeadlineExceeded

__all__ = ["CancelledError", "Handle", "Latch"]

T = TypeVar("T")

_native_lock: Callable[[], Any] = get_original("_thread", "allocate_lock")
_log = logging.getLogger("evpy.runtime")


class Latch:
    """A flag that goes up once and stays up; settable and awaitable from every thread."""

    __slots__ = ("_lock", "_set", "_watchers")

    def __init__(self) -> None:
        self._lock = _native_lock()
        self._set = False
        self._watchers: list[Any] = []

    def __bool__(self) -> bool:
        return self._set

    def set(self) -> None:
        """Raise the flag and wake every waiting greenlet, whatever its thread. Further calls change nothing."""
        with self._lock:
            self._set = True
            watchers, self._watchers = self._watchers, []
            for watcher in watchers:
                watcher.send()

    def wait(self, timeout: float | None = None) -> bool:
        """Park the calling greenlet until the flag is up, at most `timeout` seconds; whether the flag is up."""
        if self._set:
            return True
        if timeout is not None and timeout <= 0:
            return False
        hub = gevent.get_hub()
        watcher = hub.loop.async_()
        waiter: Waiter[None] = Waiter(hub)
        watcher.start(waiter.switch, None)
        limit = gevent.Timeout.start_new(timeout)
        try:
            with self._lock:
                already = self._set
                if not already:
                    self._watchers.append(watcher)
            if not already:
                waiter.get()
        except gevent.Timeout as expired:
            if expired is not limit:
                raise
        finally:
            limit.close()
            with self._lock:
                if watcher in self._watchers:
                    self._watchers.remove(watcher)
                watcher.stop()
                watcher.close()
        return self._set


class Handle(Generic[T]):
    """One call that runs in a greenlet somewhere, and its outcome.

    `call` runs once in the given `context`, on the hub that `start` names. All methods may be used from every thread;
    those that wait switch greenlets. An exception that nobody asks for is logged (logger ``evpy.runtime``) when the
    handle is dropped, so that none is lost.
    """

    def __init__(self, call: Callable[[], T], context: Context, name: str) -> None:
        self.name = name
        self._call: Callable[[], T] | None = call
        self._context = context
        self._lock = _native_lock()
        self._ended = Latch()
        self._cancelled = False
        self._asked = False
        self._value: T
        self._error: BaseException | None = None
        self._greenlet: gevent.Greenlet[[], None] | None = None
        self._hub: Hub | None = None

    def __repr__(self) -> str:
        state = "running" if self._greenlet is not None else "waiting for a scheduler thread"
        if self._ended:
            state = "done" if self._error is None else f"failed with {type(self._error).__name__}"
        return f"<{type(self).__name__} {self.name!r}: {state}>"

    def done(self) -> bool:
        """Whether the call has ended: returned, raised or been cancelled."""
        return bool(self._ended)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the call has ended, at most `timeout` seconds; whether it has."""
        return self._ended.wait(timeout)

    def result(self, timeout: float | None = None) -> T:
        """Wait for the call and return what it returned.

        Raises the exception of the call (the very object), ``CancelledError`` (of `concurrent.futures`) if it was
        cancelled, ``DeadlineExceeded`` (a ``TimeoutError``) if it takes longer than `timeout` seconds from now.
        """
        error = self.exception(timeout)
        if error is not None:
            try:
                raise error
            finally:
                del error  # else this frame, in the traceback of the exception, would keep the exception alive
        return self._value

    get = result

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the call and return its exception, None if it returned; may raise ``DeadlineExceeded``."""
        if not self._ended.wait(timeout):
            raise DeadlineExceeded(f"{self.name} has not ended within {timeout:g} s")
        self._asked = True
        return self._error

    def cancel(self) -> bool:
        """Ask the call to end: one not yet started never starts, a running one gets ``GreenletExit`` where it waits.

        Returns at once, `wait` waits for the end. False if the call had ended already.
        """
        with self._lock:
            if self._ended:
                return False
            first, self._cancelled = not self._cancelled, True
            greenlet, hub = self._greenlet, self._hub
        if greenlet is None or hub is None or hub.loop is None:  # a destroyed hub has no loop; its greenlets are gone
            self._end(CancelledError())
        elif first:
            with contextlib.suppress(AttributeError, ValueError):  # destroyed since
                hub.loop.run_callback_threadsafe(greenlet.kill, gevent.GreenletExit, False)
        return True

    def runs_in(self, greenlet: object) -> bool:
        """Whether `greenlet` is the one in which the call runs."""
        return self._greenlet is greenlet

    def start(self, hub: Hub) -> None:
        """Let the call begin on `hub`; to be called once, on the thread of that hub."""
        greenlet: gevent.Greenlet[[], None] = gevent.Greenlet(self._run)
        greenlet.gr_context = self._context
        greenlet.name = self.name
        with self._lock:
            if self._cancelled:
                return
            self._greenlet, self._hub = greenlet, hub
        # Killed before its first step, a greenlet never reaches _run, but its links are called.
        greenlet.rawlink(lambda _: self._end(CancelledError()))
        greenlet.start()

    def _run(self) -> None:
        call, self._call = self._call, None
        assert call is not None
        try:
            self._value = call()
        except gevent.GreenletExit as error:
            self._end(CancelledError() if self._cancelled else error)
        except KeyboardInterrupt as error:
            self._end(error)
            self._asked = True
            raise  # Ctrl-C is for the whole program: the hub passes it to the main greenlet
        except BaseException as error:  # noqa: BLE001 - it is handed to whoever asks for the result
            drop_frames(error, 1)
            self._end(error)
        else:
            self._end(None)

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self._ended:
                return
            self._error = error
            self._call = None
            self._ended.set()
        self.on_end(error)

    def on_end(self, error: BaseException | None) -> None:
        """Called once at the end of the call; for subclasses."""

    def __del__(self) -> None:
        error = getattr(self, "_error", None)
        if error is None or self._asked or isinstance(error, (CancelledError, gevent.GreenletExit)):
            return
        # Finalizers run anywhere, also inside a hub, where a contended log lock cannot be waited for.
        with contextlib.suppress(Exception):
            _log.error("%s failed and nobody asked for its result", self.name, exc_info=error)


def seconds_left(deadline: float | None) -> float | None:
    """Seconds from now to `deadline` (of `time.monotonic`), never negative; None stays None."""
    return None if deadline is None else max(0.0, deadline - time.monotonic())


def drop_frames(error: BaseException, count: int) -> None:
    """Take our own first `count` frames off the traceback of `error`, so that it begins where the user's code does."""
    for _ in range(count):
        if error.__traceback__ is not None:
            error.__traceback__ = error.__traceback__.tb_next

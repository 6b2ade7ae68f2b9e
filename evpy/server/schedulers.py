"""The scheduler threads of one worker: each an OS thread with a gevent hub that claims requests.

Thread 0 is the main thread, which serves while its main greenlet waits for the end. The others, and the *spares* that
stand in for a blocked thread, are native threads (a patched one would be a greenlet).

A spare serves until the thread that it stands in for has come round again and the spare itself has nothing left to do;
then it ends, for an application that was written for one thread shall not stay on two. Invariant: at most one spare
for each blocked thread, and at most `SPARES` of them.
"""

from __future__ import annotations

import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

import gevent
from gevent.hub import Hub
from gevent.monkey import get_original

from evpy._core import Scheduler, Worker, set_time_slice
from evpy.http.request import Request, _current
from evpy.http.results import send_error, send_result
from evpy.runtime import threads
from evpy.runtime.handles import Latch
from evpy.server.settings import Settings

__all__ = ["SPARES", "Schedulers", "nap", "undisturbed"]

SPARES = 2  # scheduler threads beyond --threads for which the segment has room
SPARE_POLL = 0.02  # seconds
END_WAIT = 1.0  # seconds for threads that have nothing to do any more

_log = logging.getLogger(__name__)
_start_native_thread: Callable[..., int] = get_original("_thread", "start_new_thread")
_native_ident: Callable[[], int] = get_original("_thread", "get_ident")
_native_id: Callable[[], int] = get_original("_thread", "get_native_id")


class _Thread:
    """One scheduler thread, from its start to its end."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.ident = 0
        self.scheduler: Scheduler | None = None
        self.runner: threads.Scheduler | None = None
        self.attached = Latch()
        self.leaving = Latch()
        self.ended = Latch()
        self.stands_in_for: int | None = None


class Schedulers:
    """All scheduler threads of this worker. To be made, started and stopped on the main thread."""

    def __init__(
        self, worker: Worker, app: Callable[[Any], Any], settings: Settings, *, threads: int, spares: int = SPARES
    ) -> None:
        self._worker = worker
        self._count = threads
        self._spares = spares
        self._concurrency = settings.concurrency
        self._time_slice = settings.time_slice
        self._app = app
        self._send_error = functools.partial(send_error, debug=True) if settings.debug else send_error
        self._threads: dict[int, _Thread] = {}

    def start(self) -> None:
        """Starts all threads and returns when each of them serves."""
        main = self._threads[0] = _Thread(0)
        for index in range(1, self._count):
            self._start(index)
        for thread in list(self._threads.values()):
            if thread is not main:
                thread.attached.wait()
        self._attach(main)

    def stop(self) -> None:
        """Ends all threads, which have nothing to do any more."""
        everyone = list(self._threads.values())
        for thread in everyone:
            thread.leaving.set()
        for thread in everyone:
            if thread.index == 0:
                self._detach(thread)
            else:
                thread.ended.wait(END_WAIT)

    # --- for the control thread, which holds no hub

    def ident_of(self, index: int) -> int | None:
        """The identifier of the OS thread, as in ``sys._current_frames()``."""
        thread = self._threads.get(index)
        return thread.ident if thread is not None and thread.ident else None

    def requests_of(self, index: int) -> list[Request]:
        """The requests that run on this thread."""
        thread = self._threads.get(index)
        return thread.scheduler.requests() if thread is not None and thread.scheduler is not None else []

    def start_spare(self, blocked: int) -> int | None:
        """Starts a thread that stands in for a blocked one; its index, or None when there is one or no room for one."""
        standing_in = {thread.stands_in_for for thread in self._threads.values()}
        room = [i for i in range(self._count, self._count + self._spares) if i not in self._threads]
        if blocked in standing_in or not room:
            return None
        try:
            self._start(room[0], blocked)
        except RuntimeError:  # the system's limit of threads: the watchdog's second limit will do
            return None
        return room[0]

    def retire_spare(self, recovered: int) -> None:
        """The thread has come round: whoever stands in for it leaves as soon as it has nothing to do."""
        for thread in list(self._threads.values()):
            if thread.stands_in_for == recovered:
                thread.leaving.set()

    # --- on the threads

    def _start(self, index: int, stands_in_for: int | None = None) -> None:
        thread = _Thread(index)
        thread.stands_in_for = stands_in_for
        self._threads[index] = thread
        try:
            _start_native_thread(self._run, (thread,))
        except RuntimeError:
            del self._threads[index]
            raise

    def _run(self, thread: _Thread) -> None:
        hub: Hub = gevent.get_hub()
        try:
            _name_thread(f"evpy:sched-{thread.index}")
            self._attach(thread)
            thread.attached.set()
            undisturbed(thread.leaving.wait)
            if thread.scheduler is not None:
                thread.scheduler.pause()
            # A request that streams is told of room and data by its own scheduler: no detaching before it is done.
            while thread.scheduler is not None and thread.scheduler.active:
                undisturbed(lambda: nap(SPARE_POLL))
            self._detach(thread)
            hub.destroy(destroy_loop=True)
        finally:
            self._threads.pop(thread.index, None)
            thread.ended.set()

    def _attach(self, thread: _Thread) -> None:
        thread.ident = _native_ident()
        if self._time_slice:
            set_time_slice(self._time_slice)
        thread.scheduler = Scheduler(
            self._worker, thread.index, self._app, Request, send_result, self._send_error, self._concurrency, _current
        )
        thread.runner = threads.register_scheduler(name=f"scheduler-{thread.index}")
        gevent.get_hub().print_exception = _log_greenlet_error  # type: ignore[method-assign, assignment]
        thread.scheduler.attach()

    def _detach(self, thread: _Thread) -> None:
        if thread.scheduler is not None:
            thread.scheduler.detach()
        if thread.runner is not None:
            thread.runner.close()


def nap(seconds: float) -> bool:
    """A pause that says that it is over."""
    gevent.sleep(seconds)
    return True


def undisturbed(wait: Callable[[], Any]) -> None:
    """Calls ``wait`` in the main greenlet of a thread until it has succeeded.

    A greenlet of the application that calls ``sys.exit()`` interrupts the main greenlet; that shall end nothing else.
    """
    while True:
        try:
            if wait():
                return
        except (SystemExit, KeyboardInterrupt, SystemError) as error:
            _log.error("a greenlet raised %r, which ends that greenlet only", error)


def _log_greenlet_error(context: object, kind: Any, value: Any, traceback: Any) -> None:
    """What gevent would print on stderr when a greenlet of the application fails, as a line of the log."""
    _log.error("a greenlet failed: %s", context, exc_info=(kind, value, traceback))


def _name_thread(name: str) -> None:
    with contextlib.suppress(OSError), open(f"/proc/self/task/{_native_id()}/comm", "w") as file:
        file.write(name)

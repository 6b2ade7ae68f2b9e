"""Waiting for a descriptor: on the gevent hub of this thread if there is one, else by poll(2).

``Waits`` belongs to a connection. It keeps the watchers of each hub in which the connection has been used, since
making one for each wait costs more than waiting. So a connection may be used from one hub now and from another one
later, and by plain threads in between: nothing but the watchers knows of a hub.
"""

from __future__ import annotations

import math
import select
import weakref
from time import monotonic
from typing import Any

from greenlet import getcurrent

from efio._gevent import hub_to_wait_on, in_greenlet, original, sleep

__all__ = ["READ", "WRITE", "Waits", "hub_to_wait_on", "in_greenlet", "poll", "poller", "sleep"]

READ, WRITE = 1, 2  # as gevent's loops and psycopg have them
_POLL = {READ: select.POLLIN, WRITE: select.POLLOUT, READ | WRITE: select.POLLIN | select.POLLOUT}
_TIMEOUT = object()


class Waits:
    """Waits for one descriptor. ``close()`` it before the descriptor is closed."""

    __slots__ = ("_fd", "_place", "_places")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._places: dict[Any, _Place] = {}  # by hub
        self._place = _NOWHERE  # the one used last

    def wait(self, events: int, timeout: float | None = None) -> int:
        """Waits for READ, WRITE or both; those that are ready, 0 after ``timeout`` seconds.

        Raises what ends a greenlet.
        """
        current = getcurrent()
        place = self._place
        hub: Any = current.parent  # of a greenlet, unless it is the first one of its thread
        if hub is not place.hub:
            hub = hub_to_wait_on()
            if hub is None:
                return poll(self._fd, events, timeout)
            if hub is not place.hub:
                place = self._enter(hub)
        watcher = place.watchers[events]
        if watcher is None:
            watcher = place.watchers[events] = hub.loop.io(self._fd, events)
        if timeout is None:
            hub.wait(watcher)
        elif place.greenlet is not None:
            return _wait_beside(hub, watcher, events, timeout)
        else:
            place.deadline = deadline = monotonic() + timeout
            if deadline < place.due:
                place.set_alarm(deadline, timeout)
            place.greenlet = current
            watcher.start(current.switch, True)
            try:
                woken = hub.switch()
                while woken is not True and woken is not _TIMEOUT:  # whatever else switches here is not meant
                    woken = hub.switch()
            finally:
                watcher.stop()
                place.greenlet = None
            if woken is _TIMEOUT:
                return 0
        return events if events != READ | WRITE else poll(self._fd, events, 0) or events

    def _enter(self, hub: Any) -> _Place:
        place = self._places.get(hub)
        if place is None:
            place = self._places[hub] = _Place(hub)
            for old in [h for h in self._places if h.loop is None]:  # destroyed
                del self._places[old]
        self._place = place
        return place

    def close(self) -> None:
        """Forgets the watchers."""
        places, self._places = self._places, {}
        self._place = _NOWHERE
        for hub, place in places.items():
            if hub.loop is not None:
                for watcher in place.watchers:
                    if watcher is not None:
                        watcher.stop()
                        watcher.close()
                # What runs in the loop of another thread must not be touched: it ends by itself.
                if place.timer is not None and hub is hub_to_wait_on():
                    if place.greenlet is None:
                        place.end_alarm()
                    else:
                        place.timer.ref = True  # nothing else will wake whoever waits


class _Place:
    """What a descriptor has in one hub: its watchers, and who waits until when.

    There is one timer. It is left running when a wait is over, since most are far shorter than their timeout: when it
    goes off too early for whoever waits then, it is set again; when nobody does, it is not.
    """

    __slots__ = ("__weakref__", "deadline", "due", "greenlet", "hub", "timer", "watchers")

    def __init__(self, hub: Any) -> None:
        self.hub = hub
        self.watchers: list[Any] = [None, None, None, None]  # by events
        self.greenlet: Any = None  # waits ...
        self.deadline = 0.0  # ... until then
        self.timer: Any = None
        self.due = math.inf  # when it goes off

    def set_alarm(self, due: float, seconds: float) -> None:
        self.end_alarm()
        self.due = due
        # Whoever waits has another watcher, which keeps the loop going; and a loop that has ended keeps nothing of us.
        self.timer = self.hub.loop.timer(seconds, ref=False)
        self.timer.start(_ring, weakref.ref(self))

    def end_alarm(self) -> None:
        timer, self.timer, self.due = self.timer, None, math.inf
        if timer is not None:
            timer.stop()
            timer.close()


_NOWHERE = _Place(object())


def _ring(found: weakref.ref[_Place]) -> None:
    place = found()
    if place is None:
        return
    place.end_alarm()
    if place.greenlet is not None:
        left = place.deadline - monotonic()
        if left > 0:
            place.set_alarm(place.deadline, left)
        else:
            place.greenlet.switch(_TIMEOUT)


def _wait_beside(hub: Any, watcher: Any, events: int, timeout: float) -> int:
    """While another greenlet waits for the same descriptor."""
    current = getcurrent()
    timer = hub.loop.timer(timeout)
    watcher.start(current.switch, True)
    timer.start(current.switch, _TIMEOUT)
    try:
        woken = None
        while woken is not True and woken is not _TIMEOUT:
            woken = hub.switch()
    finally:
        watcher.stop()
        timer.stop()
        timer.close()
    return 0 if woken is _TIMEOUT else events


def poller() -> select.poll:
    """poll(2) itself. gevent's would make a hub, and leave it behind, in any thread."""
    made: select.poll = original("select", "poll")()
    return made


def poll(fd: int, events: int, timeout: float | None) -> int:
    """READ and WRITE as far as they are ready; an error or hang-up counts as what was waited for."""
    looking = poller()
    looking.register(fd, _POLL[events])
    found = looking.poll(None if timeout is None else max(0, timeout) * 1000)
    if not found:
        return 0
    got = found[0][1]
    ready = (READ if got & select.POLLIN else 0) | (WRITE if got & select.POLLOUT else 0)
    return ready or events

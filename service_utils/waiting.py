"""Waiting for a descriptor: on the gevent hub of this thread if there is one, else by poll(2).

``Waits`` belongs to a connection. It keeps the watchers of each hub in which the connection has been used, since
making one for each wait costs more than waiting. So a connection may be used from one hub now and from another one
later, and by plain threads in between: nothing but the watchers knows of a hub.
"""

from __future__ import annotations

import select
import sys
from typing import Any

from efio._gevent import hub_to_wait_on, in_greenlet, original, sleep

__all__ = ["READ", "WRITE", "Waits", "hub_to_wait_on", "in_greenlet", "poll", "poller", "sleep"]

READ, WRITE = 1, 2  # as gevent's loops and psycopg have them
_POLL = {READ: select.POLLIN, WRITE: select.POLLOUT, READ | WRITE: select.POLLIN | select.POLLOUT}
_TIMEOUT = object()
_modules = sys.modules


class Waits:
    """Waits for one descriptor. ``close()`` it before the descriptor is closed."""

    __slots__ = ("_fd", "_hubs")

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._hubs: dict[Any, dict[int, Any]] = {}  # hub: events: watcher

    def wait(self, events: int, timeout: float | None = None) -> int:
        """Waits for READ, WRITE or both; those that are ready, 0 after ``timeout`` seconds.

        Raises what ends a greenlet.
        """
        hub = hub_to_wait_on()
        if hub is None:
            return poll(self._fd, events, timeout)
        watchers = self._hubs.get(hub)
        if watchers is None:
            watchers = self._hubs[hub] = {}
            for old in [h for h in self._hubs if h.loop is None]:  # destroyed
                del self._hubs[old]
        watcher = watchers.get(events)
        if watcher is None:
            watcher = watchers[events] = hub.loop.io(self._fd, events)
        if timeout is None:
            hub.wait(watcher)
        else:
            timer = hub.loop.timer(timeout)
            current = _modules["greenlet"].getcurrent()
            watcher.start(current.switch, True)
            timer.start(current.switch, _TIMEOUT)
            try:
                woken = None
                while woken is not True and woken is not _TIMEOUT:  # whatever else switches here is not meant
                    woken = hub.switch()
                if woken is _TIMEOUT:
                    return 0
            finally:
                watcher.stop()
                timer.stop()
                timer.close()
        return events if events != READ | WRITE else poll(self._fd, events, 0) or events

    def close(self) -> None:
        """Forgets the watchers."""
        hubs, self._hubs = self._hubs, {}
        for hub, watchers in hubs.items():
            if hub.loop is not None:
                for watcher in watchers.values():
                    watcher.stop()
                    watcher.close()


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

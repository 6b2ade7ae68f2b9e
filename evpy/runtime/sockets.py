"""Sockets that are used on several hubs: a connection out of a pool goes where it is needed.

A socket of gevent belongs to the hub on which it was made: waiting for it on another thread fails with "Cannot switch
to a different thread", and closing it there touches a loop that somebody else runs. Here a socket moves to the hub on
which it is next waited for or closed. If somebody is waiting for it on its old hub (one greenlet reads, another one
writes), it stays there, and the newcomer waits with a watcher of his own.
"""

from __future__ import annotations

from typing import Any

import gevent
from gevent import _socket3, _socketcommon  # type: ignore[attr-defined]

__all__ = ["let_sockets_move"]

_Mixin: Any = _socketcommon.SocketMixin
_wait_here = _Mixin._wait
_close_here = _Mixin._drop_events_and_close
READ, WRITE = 1, 2  # events of a watcher


def _idle(sock: Any) -> bool:
    return all(watcher is None or watcher.callback is None for watcher in (sock._read_event, sock._write_event))


def _move(sock: Any, hub: Any) -> None:
    """Nobody waits for it, so its watchers are in no loop."""
    fileno = sock._sock.fileno()
    sock._read_event, sock._write_event = hub.loop.io(fileno, READ), hub.loop.io(fileno, WRITE)
    sock.hub = hub


def _wait(self: Any, watcher: Any, timeout_exc: Any = None) -> Any:
    hub = gevent.get_hub()
    if self.hub is hub or watcher is None or watcher not in (self._read_event, self._write_event):
        return _wait_here(self, watcher, timeout_exc)
    reads = watcher is self._read_event
    if _idle(self):
        _move(self, hub)
        return _wait_here(self, self._read_event if reads else self._write_event, timeout_exc)
    error = timeout_exc if timeout_exc is not None else _socketcommon.timeout("timed out")
    own = hub.loop.io(self._sock.fileno(), READ if reads else WRITE)
    try:
        with gevent.Timeout._start_new_or_dummy(self.timeout, error):  # type: ignore[attr-defined]
            hub.wait(own)
    finally:
        own.close()
    return None


def _drop_events_and_close(self: Any, closefd: bool = True, **more: Any) -> None:
    hub = gevent.get_hub()
    if self.hub is hub or self.hub is None:
        _close_here(self, closefd, **more)
    elif _idle(self):
        self.hub = hub
        _close_here(self, closefd, **more)
    else:  # who waits for it is told where he waits
        self.hub.loop.run_callback_threadsafe(lambda: _close_here(self, closefd, **more))


def let_sockets_move() -> None:
    """To be called once, after gevent has patched ``socket``; that of ``ssl`` derives from it."""
    kind: Any = _socket3.socket
    kind._wait = _wait
    kind._drop_events_and_close = _drop_events_and_close

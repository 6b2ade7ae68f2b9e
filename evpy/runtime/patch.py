"""The monkey patching of evrun and of every worker: gevent's, with what it gets wrong put right.

* ``os.close``. Since gevent 25.8 it only marks a pipe, socket or device for closing, and the hub closes it when it
  next comes round, lest a watcher of the loop be left with a dead descriptor. Code that goes on without switching finds
  it open: a reader of the pipe never sees its end (a blocking read hangs for ever), a writer gets no ``EPIPE``, a loop
  that opens and closes runs out of descriptors. `close` defers only if there *is* such a watcher, which is gevent's own
  rule for closing sockets.
"""

from __future__ import annotations

import os
from typing import Any

import gevent.os
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

__all__ = ["close", "patch_all"]

_native_close = monkey.get_original("os", "close")
_deferred_close: Any = getattr(gevent.os, "close", None)
_being_closed: Any = getattr(gevent.os, "_closing_fd_to_event", {})


def patch_all() -> None:
    """Make the standard library cooperative. To be called once, on the main thread, before anything is imported."""
    monkey.patch_all()
    if _deferred_close is not None:
        os.close = close


def close(fd: int) -> None:
    """``os.close``: at once, or, if a greenlet of this thread waits for `fd`, when the hub next comes round."""
    hub = get_hub_if_exists()
    if hub is not None and (fd in _being_closed or hub.loop.closing_fd(fd)):
        _deferred_close(fd)
    else:
        _native_close(fd)

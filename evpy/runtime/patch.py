"""The monkey patching of evrun and of every worker: gevent's, with what it gets wrong put right.

* ``os.close``. Since gevent 25.8 it only marks a pipe, socket or device for closing, and the hub closes it when it
  next comes round, lest a watcher of the loop be left with a dead descriptor. Code that goes on without switching finds
  it open: a reader of the pipe never sees its end (a blocking read hangs for ever), a writer gets no ``EPIPE``, a loop
  that opens and closes runs out of descriptors. `close` defers only if there *is* such a watcher, which is gevent's own
  rule for closing sockets.
* What several threads share, each with a hub of its own: locks (locks.py), sockets (sockets.py), and children, which
  gevent sees on the main thread only (children.py).
* Start-up time. For each of its 25 steps gevent looks for plug-ins in the metadata of all installed packages, which
  takes twice as long as the patching itself and grows with their number. One look by `has_plugins` says whether there
  are any; hardly anybody has.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import Any

import gevent.events
import gevent.os
from gevent import monkey
from gevent._hub_local import get_hub_if_exists

from evpy.runtime.children import see_children_everywhere
from evpy.runtime.locks import share_locks
from evpy.runtime.multiproc import change_when_imported
from evpy.runtime.sockets import let_sockets_move

__all__ = ["close", "has_plugins", "patch_all"]

_native_close = monkey.get_original("os", "close")
_deferred_close: Any = getattr(gevent.os, "close", None)
_being_closed: Any = getattr(gevent.os, "_closing_fd_to_event", {})


def patch_all() -> None:
    """Make the standard library cooperative. To be called once, on the main thread, before anything is imported."""
    see_children_everywhere()
    with contextlib.nullcontext() if has_plugins(sys.path) else _without_plugins():
        monkey.patch_all(Event=False, queue=False)
    share_locks()
    let_sockets_move()
    change_when_imported()
    if _deferred_close is not None:
        os.close = close


def close(fd: int) -> None:
    """``os.close``: at once, or, if a greenlet of this thread waits for `fd`, when the hub next comes round."""
    hub = get_hub_if_exists()
    if hub is not None and (fd in _being_closed or hub.loop.closing_fd(fd)):
        _deferred_close(fd)
    else:
        _native_close(fd)


def has_plugins(path: Iterable[str]) -> bool:
    """Whether a package in one of these directories, other than gevent, declares an entry point for its patching.

    gevent's own only warns of patching ``signal`` without ``os``.
    """
    for directory in path:
        with contextlib.suppress(OSError), os.scandir(directory or ".") as entries:
            for entry in entries:
                is_package = entry.name.endswith(("-info", ".egg")) and not entry.name.startswith("gevent-")
                if is_package and _declares_plugin(entry.path):
                    return True
    return False


def _declares_plugin(package: str) -> bool:
    for metadata in (package, os.path.join(package, "EGG-INFO")):
        with contextlib.suppress(OSError), open(os.path.join(metadata, "entry_points.txt"), "rb") as file:
            return b"gevent.plugins." in file.read()
    return False


@contextlib.contextmanager
def _without_plugins() -> Iterator[None]:
    events: Any = gevent.events
    original = events.notify_and_call_entry_points
    events.notify_and_call_entry_points = events.notify
    try:
        yield
    finally:
        events.notify_and_call_entry_points = original

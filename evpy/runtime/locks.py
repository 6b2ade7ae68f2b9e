"""The locks of patched processes: efio's in place of gevent's, so that several scheduler threads can share them.

Each scheduler thread has a hub of its own. A lock of gevent that a greenlet of one hub releases while one of another
hub waits for it is handed over when the *releasing* hub next comes round: if its thread burns CPU for two seconds, so
long nobody has the lock, and whoever waits is held up by a request that does not concern him. So it is with gevent's
``threading.Event``; its queues are not made for several hubs at all. efio's locks wake who waits at once, in whatever
hub or thread (efio/_locks.pyx).

The standard library's own classes do the rest: ``Condition``, ``Semaphore``, ``Barrier`` and ``Event`` take their locks
from the names that are replaced here, and so does the queue module.
"""

from __future__ import annotations

import _thread
import queue
import sys
import threading
from typing import Any

import efio

__all__ = ["share_locks"]


def share_locks() -> None:
    """To be called once, right after gevent has patched all but ``Event`` and ``queue``, still with one thread."""
    lower: Any = _thread
    higher: Any = threading
    lower.allocate_lock = lower.allocate = efio.Lock
    higher.Lock = higher._allocate_lock = efio.Lock
    higher.RLock = higher._CRLock = efio.RLock
    # Locks that exist and are taken on every thread. Nobody holds them: there is one thread, and it is here.
    higher._active_limbo_lock = efio.RLock()
    if hasattr(higher, "_shutdown_locks_lock"):  # until Python 3.12
        higher._shutdown_locks_lock = efio.Lock()
    pools: Any = sys.modules.get("concurrent.futures.thread")
    if pools is not None and hasattr(pools, "_global_shutdown_lock"):
        pools._global_shutdown_lock = efio.Lock()
    logging: Any = sys.modules.get("logging")
    if logging is not None:
        logging._lock = efio.RLock()
        for reference in logging._handlerList:
            handler = reference()
            if handler is not None and handler.lock is not None:
                handler.lock = efio.RLock()
    queues: Any = queue
    queues.SimpleQueue = queues._PySimpleQueue  # a deque and a Semaphore

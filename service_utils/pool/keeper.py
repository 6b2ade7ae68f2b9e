"""The keeper: one thread that sees to the idle connections of all pools of this process.

It sleeps until something is due, and leaves the work itself (closing, connecting) to the threads of
``efio.default_pool()``, so that one server that does not answer keeps nobody else waiting. It is started with the first
connection, and ends when there is no pool any more.
"""

from __future__ import annotations

import logging
import weakref
from time import monotonic
from typing import TYPE_CHECKING, Any

from efio import Event, default_pool
from efio.pool import at_exit
from service_utils.pool.native import native_lock, start_thread

if TYPE_CHECKING:
    from service_utils.pool.core import Pool

__all__ = ["after_fork", "forget", "hurry", "watch"]

LONGEST = 30.0  # seconds until it looks whether a pool was dropped without being closed
SHORTEST = 0.05

log = logging.getLogger("service_utils.pool")
_watched: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()
_lock = native_lock()
_bell = Event()
_runs = False


def watch(pool: Pool[Any]) -> None:
    """Sees to this pool from now on."""
    global _runs
    if pool in _watched and _runs:
        return
    with _lock:
        _watched.add(pool)
        start, _runs = not _runs, True
    if start:
        start_thread(_keep)
    _bell.set()


def forget(pool: Pool[Any]) -> None:
    with _lock:
        _watched.discard(pool)
    _bell.set()


def hurry() -> None:
    """Something is due now."""
    if _runs:
        _bell.set()


def _keep() -> None:
    global _runs  # noqa: PLW0603 - there is one keeper for the process
    while not at_exit():
        _bell.clear()
        with _lock:
            pools = list(_watched)
            if not pools:
                _runs = False
                return
        now = monotonic()
        due = now + LONGEST
        for pool in pools:
            try:
                due = min(due, pool._maintain(now, default_pool().submit))
            except Exception:
                if at_exit():  # the default pool takes nothing any more
                    return
                log.exception("%s: the keeper failed", pool.name)
        pools.clear()
        del pool
        _bell.wait(max(SHORTEST, due - now))


def after_fork() -> None:
    """In the child, which has no keeper."""
    global _lock, _bell, _runs
    _lock, _bell, _runs = native_lock(), Event(), False
    _watched.clear()

"""Locks and threads of the operating system, also after gevent's monkey patching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from efio._gevent import original

__all__ = ["native_lock", "native_rlock", "start_thread"]


def native_lock() -> Any:
    """A lock that never switches greenlets: for a few instructions in which nothing is called that could."""
    return original("_thread", "allocate_lock")()


def native_rlock() -> Any:
    """The same, for those who may be called by the garbage collector while they have it."""
    return original("_thread", "RLock")()


def start_thread(function: Callable[[], None]) -> None:
    """Runs it in a thread that the interpreter does not wait for."""
    original("_thread", "start_new_thread")(function, ())

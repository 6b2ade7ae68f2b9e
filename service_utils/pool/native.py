"""Locks and threads of the operating system, also after gevent's monkey patching."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from efio._gevent import original

__all__ = ["native_lock", "start_thread"]


def native_lock() -> Any:
    """A lock that never switches greenlets: for a few instructions in which nothing is called that could."""
    return original("_thread", "allocate_lock")()


def start_thread(function: Callable[[], None]) -> None:
    """Runs it in a thread that the interpreter does not wait for."""
    original("_thread", "start_new_thread")(function, ())

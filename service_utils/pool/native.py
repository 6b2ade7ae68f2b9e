"""Locks and threads of the operating system, also after gevent's monkey patching."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["native_lock", "start_thread"]


def _original(module: str, name: str) -> Any:
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    __import__(module)
    return getattr(sys.modules[module], name)


def native_lock() -> Any:
    """A lock that never switches greenlets: for a few instructions in which nothing is called that could."""
    return _original("_thread", "allocate_lock")()


def start_thread(function: Callable[[], None]) -> None:
    """Runs it in a thread that the interpreter does not wait for."""
    _original("_thread", "start_new_thread")(function, ())

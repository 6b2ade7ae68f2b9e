"""Telling a server to stop what nobody waits for any more.

That takes a connection of its own, and so as long as the network likes; whoever was interrupted does not wait for it.
It has threads of its own, a few of them: those of ``efio.default_pool()`` would all be gone when a server is cut off,
and many who waited for it are interrupted. What does not get its turn soon enough is not told; the server finds out
when it has something to send.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable
from typing import Any

from service_utils.pool.native import native_rlock, start_thread

__all__ = ["tell"]

AT_ONCE = 4
MOST = 1000  # that wait for their turn
log = logging.getLogger("service_utils.db")


class _Desk:
    def __init__(self) -> None:
        self.lock = native_rlock()  # connections may be ended by the garbage collector, which runs anywhere
        self.line: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque(maxlen=MOST)
        self.threads = 0


_desk = _Desk()


def tell(function: Callable[..., object], *arguments: Any) -> None:
    """Calls ``function(*arguments)`` soon, in another thread. Waits for nothing."""
    desk = _desk
    with desk.lock:
        desk.line.append((function, arguments))
        starts = desk.threads < AT_ONCE
        desk.threads += starts
    if starts:
        try:
            start_thread(lambda: _work(desk))
        except RuntimeError as error:  # no more threads, or at exit
            with desk.lock:
                desk.threads -= 1
            log.debug("a statement cannot be cancelled: %r", error)


def _work(desk: _Desk) -> None:
    while True:
        with desk.lock:
            if not desk.line:
                desk.threads -= 1
                return
            function, arguments = desk.line.popleft()
        try:
            function(*arguments)
        except Exception as error:  # noqa: BLE001 - whatever it is: the statement goes on
            log.debug("a statement cannot be cancelled: %r", error)


def _after_fork() -> None:
    global _desk  # noqa: PLW0603 - there is one for the process
    _desk = _Desk()


os.register_at_fork(after_in_child=_after_fork)

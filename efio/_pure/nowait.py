"""Reads that never wait for the disk, in Python: the twin of _files.pyx."""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["read_nowait", "readinto_nowait"]

TURN = 0.00035  # seconds that a hub's greenlets may read from the page cache before the hub comes round


class _Reading(threading.local):
    round = 0.0  # the hub's time, which stands still while it does not come round
    since = 0.0  # our clock, when that was first seen


_reading = _Reading()


def _give_turn() -> None:
    module: Any = sys.modules.get("gevent._hub_local")
    hub = module.get_hub_if_exists() if module is not None else None
    if hub is None or sys.modules["greenlet"].getcurrent() is hub:
        return
    now, clock = hub.loop.now(), time.perf_counter()
    if now != _reading.round:
        _reading.round, _reading.since = now, clock
    if clock - _reading.since >= TURN:
        timer = hub.loop.timer(0.0)  # it has expired, so the hub comes round once
        try:
            hub.wait(timer)
        finally:
            timer.close()


def readinto_nowait(fd: int, target: Buffer) -> int | None:
    with memoryview(target) as view, view.cast("B") as octets:
        try:
            got = os.preadv(fd, [octets], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
    _give_turn()
    return got


def read_nowait(fd: int, n: int) -> bytes | None:
    target = bytearray(n)
    got = readinto_nowait(fd, target)
    return None if got is None else bytes(target[:got])

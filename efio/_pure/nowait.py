"""Reads that never wait for the disk, in Python: the twin of _files.pyx."""

from __future__ import annotations

import errno
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["CachedReads"]

_UNSUPPORTED = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)  # this file system cannot tell
TURN = 0.0003  # seconds that a hub's greenlets may read from the page cache before the hub comes round


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


class CachedReads:
    """The reads of one file that the page cache can answer. Not for use after the descriptor is closed: ``stop()``."""

    __slots__ = ("_fd", "_possible", "count")

    def __init__(self, fd: int, possible: bool) -> None:
        self._fd, self._possible = fd, possible
        self.count = 0

    def stop(self) -> None:
        """From now on every answer is None."""
        self._possible = False

    def read(self, size: object) -> bytes | None:
        """At most ``size`` bytes at the file's offset, fewer where the page cache ends; None: not from here."""
        if not self._possible or type(size) is not int or size <= 0:
            return None
        target = bytearray(size)
        got = self.readinto(target)
        return None if got is None else bytes(target[:got])

    def readinto(self, target: Buffer) -> int | None:
        """The same into a writable buffer; the number of bytes, or None."""
        if self._possible:
            _give_turn()
        if not self._possible:
            return None
        with memoryview(target) as view, view.cast("B") as octets:
            try:
                got = os.preadv(self._fd, [octets], -1, os.RWF_NOWAIT)
            except BlockingIOError:
                return None
            except OSError as error:
                if error.errno not in _UNSUPPORTED:
                    raise
                self._possible = False
                return None
        self.count += 1
        return got

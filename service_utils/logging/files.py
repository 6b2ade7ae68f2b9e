"""Lines to files that rotate, and to descriptors.

Any number of processes may append to one file and rotate it: who finds that it is time takes a lock (flock on
``.NAME.lock`` beside it) and looks again; the others see before their next batch that the path leads to another file.
The same way a file is followed that logrotate has moved.

``shop.log`` becomes ``shop.log.1``, that one ``shop.log.2`` and so on; ``keep`` of them stay.
"""

from __future__ import annotations

import fcntl
import os
import select
import stat
import time
from collections.abc import Callable
from pathlib import Path

from evpy.server.log_sink import original
from service_utils.logging.sinks import CAPACITY, Sink

__all__ = ["ConsoleSink", "FileSink"]

# Not blocking: a pipe that nobody reads would hold up whoever opens it, and then the thread that writes.
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
_PERIODS = {"minute": 60, "hour": 3600, "day": 86400, "week": 7 * 86400}
WRITE = 256 * 1024  # bytes of one system call, so that lines of several processes do not mix and rotation is in time


class ConsoleSink(Sink):
    """To a descriptor, stderr by default. Waits for whoever reads it."""

    def __init__(self, fd: int = 2, form: str = "text", *, capacity: int = CAPACITY) -> None:
        super().__init__(f"descriptor {fd}", form, capacity=capacity)
        self._fd = fd

    def _write(self, lines: list[bytes]) -> int:
        data, sent = b"".join(lines), 0
        while sent < len(data):
            try:
                sent += os.write(self._fd, data[sent : sent + WRITE])
            except BlockingIOError:  # somebody has made it non-blocking
                if self._closing:
                    break
                poll = original("select", "poll")()
                poll.register(self._fd, select.POLLOUT)
                poll.poll(500)
        return _whole(lines, sent)


class FileSink(Sink):
    """To a file that is appended to.

    It rotates before it would pass ``max_bytes``, and with the first line of a new period of UTC (``every``: minute,
    hour, day, week). OSError if it cannot be opened now; if that happens later, lines are dropped until it can.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        form: str = "json",
        *,
        max_bytes: int = 0,
        every: str = "",
        keep: int = 5,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.time,
    ) -> None:
        if every and every not in _PERIODS:
            raise ValueError(f"every={every!r}: it is one of {', '.join(_PERIODS)}")
        if keep < 1 or max_bytes < 0:
            raise ValueError("keep is at least 1, max_bytes at least 0 (which means: any size)")
        self.path = Path(os.path.abspath(path))
        super().__init__(str(self.path), form, capacity=capacity)
        self.max_bytes = max_bytes
        self.keep = keep
        self._period = _PERIODS.get(every, 0)
        self._clock = clock
        self._inode = (0, 0)
        self._fd = -1
        self._torn = False  # the last line was cut short: the next one begins on a line of its own
        self._open()

    def _open(self) -> None:
        fd = os.open(self.path, _FLAGS, 0o640)
        about = os.fstat(fd)
        if not stat.S_ISREG(about.st_mode) and (self.max_bytes or self._period):
            os.close(fd)
            raise OSError(f"{self.path} is not a file: it cannot rotate")
        if self._fd >= 0:
            os.close(self._fd)
        self._fd, self._torn = fd, False
        self._inode = (about.st_dev, about.st_ino)

    def _write(self, lines: list[bytes]) -> int:
        written = 0
        try:
            while written < len(lines):
                self._follow()
                end = self._fitting(lines, written)
                written += self._put_out(lines[written:end])
                if written < end:  # the disk is full
                    self._error = f"{self.path}: no room for {end - written} lines"
                    break
        except OSError as error:
            self._error = f"{type(error).__name__}: {error}"
        return written

    def _put_out(self, lines: list[bytes]) -> int:
        """With one system call; how many were written whole."""
        start = b"\n" if self._torn else b""
        sent = os.write(self._fd, start + b"".join(lines)) - len(start)
        if sent < 0:
            return 0
        whole = _whole(lines, sent)
        self._torn = sent > sum(map(len, lines[:whole]))
        return whole

    def _fitting(self, lines: list[bytes], start: int) -> int:
        """Up to which line the next write goes: at least one, and not beyond what the file may hold. Rotates first if
        it is time."""
        about = os.fstat(self._fd)
        if about.st_size and self._due(about.st_size, about.st_mtime, len(lines[start])):
            self._rotate(len(lines[start]))
            about = os.fstat(self._fd)
        room = min(WRITE, self.max_bytes - about.st_size) if self.max_bytes else WRITE
        end = start
        while end < len(lines) and (end == start or room >= len(lines[end])):
            room -= len(lines[end])
            end += 1
        return end

    def _due(self, size: int, last: float, more: int) -> bool:
        if self.max_bytes and size + more > self.max_bytes:
            return True
        return bool(self._period) and self._clock() // self._period > last // self._period

    def _follow(self) -> None:
        """Opens the path anew if it leads to another file than it did."""
        try:
            about = os.stat(self.path)
        except FileNotFoundError:
            self._open()
            return
        if (about.st_dev, about.st_ino) != self._inode:
            self._open()

    def _rotate(self, more: int) -> None:
        """If it cannot be done (a folder that may not be written to), the file goes on growing."""
        try:
            lock = os.open(self.path.with_name(f".{self.path.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            self._trouble = f"cannot rotate: {error}"
            return
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self._follow()  # another process may have done it
            about = os.fstat(self._fd)
            if about.st_size and self._due(about.st_size, about.st_mtime, more):
                for number in range(self.keep - 1, 0, -1):
                    older = self.path.with_name(f"{self.path.name}.{number}")
                    if older.exists():
                        older.replace(self.path.with_name(f"{self.path.name}.{number + 1}"))
                self.path.replace(self.path.with_name(f"{self.path.name}.1"))
                self._open()
            self._trouble = ""
        except OSError as error:
            self._trouble = f"cannot rotate: {error}"
        finally:
            os.close(lock)

    def _shut(self) -> None:
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _whole(lines: list[bytes], sent: int) -> int:
    """How many of the lines the first ``sent`` bytes hold."""
    for number, line in enumerate(lines):
        sent -= len(line)
        if sent < 0:
            return number
    return len(lines)

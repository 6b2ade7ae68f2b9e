"""Where log lines go: a descriptor that is written without locks and without waiting.

One line is one system call, so lines of several threads and processes do not mix, and no lock is needed that a signal
handler or a gevent hub could get stuck on. Only primitives that gevent never patches are used. What cannot be written
at once (full disk, reader gone, pipe full) is dropped and counted; the count is reported when writing works again.

How not to wait depends on what the descriptor is, since O_NONBLOCK belongs to the open file, which stderr shares with
our parent and its other children; we must not set it there:

* regular file: plain write; the kernel waits for the disk at worst
* pipe, terminal: opened anew through /proc/self/fd, non-blocking, which leaves the shared one alone; where that is not
  allowed (a pipe of another user), poll first and write no more than PIPE_BUF bytes, which cannot block after POLLOUT
  unless another writer fills the pipe in between
* socket (stderr of a systemd service): send with MSG_DONTWAIT

Invariant: lines written + ``dropped`` = lines given to ``write``.
"""

from __future__ import annotations

import _socket
import errno
import importlib
import os
import select
import stat
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["LineSink", "original"]

OPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
REOPEN_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK


def original(module: str, name: str) -> Any:
    """An attribute of the standard library as it was before gevent patched it, if it has."""
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None:
        return monkey.get_original(module, name)
    return getattr(importlib.import_module(module), name)


class LineSink:
    """Writes lines to a file that is appended to, or to a descriptor that somebody else has opened.

    OSError when the file cannot be opened; after that nothing raises, and ``write`` says whether it worked. Any
    number of OS threads, greenlets and signal handlers may use one sink.
    """

    def __init__(self, path: str | None = None, fd: int = 2) -> None:
        self.path = None if path is None else os.path.abspath(path)
        self._get_ident: Callable[[], int] = original("_thread", "get_ident")
        self._drops: dict[int, int] = {}  # per OS thread, so that each number has one writer
        self._reported = 0
        self._reporter = deque([None])  # whoever pops it may report: a lock that is only ever tried
        self._torn = False  # the last line was cut short: the next one starts on a line of its own
        self._own = True
        self._socket: _socket.socket | None = None
        if self.path is not None:
            self._fd = os.open(self.path, OPEN_FLAGS, 0o666)
            self._send: Callable[[bytes], int] = self._write
        else:
            self._fd, self._own, self._send = self._borrow(fd)

    @property
    def dropped(self) -> int:
        """Lines that could not be written, ever."""
        return sum(list(self._drops.values()))

    def write(self, line: bytes) -> bool:
        """Writes one line, which ends with a newline; False when it was dropped and counted. Never raises OSError."""
        if self._try(line):
            return True
        ident = self._get_ident()
        self._drops[ident] = self._drops.get(ident, 0) + 1
        return False

    def report(self, render: Callable[[int], bytes]) -> None:
        """If lines were dropped since the last report, writes ``render(how many)``, which is never counted itself."""
        if not self._drops:
            return
        try:
            self._reporter.pop()
        except IndexError:
            return  # somebody else is at it
        try:
            total = self.dropped
            if total > self._reported and self._try(render(total - self._reported)):
                self._reported = total
        finally:
            self._reporter.append(None)

    def reopen(self) -> None:
        """Opens the path anew, for a rotated file; OSError leaves the old one in use. A borrowed descriptor stays.

        The new file takes the old one's descriptor number in one step (dup2), so a thread in the middle of a write
        needs no lock, and a signal handler may call this.
        """
        if self.path is None:
            return
        fresh = os.open(self.path, OPEN_FLAGS, 0o666)
        try:
            os.dup2(fresh, self._fd, inheritable=False)
        finally:
            os.close(fresh)
        self._torn = False

    def close(self) -> None:
        if self._own:
            self._own = False
            self._send = _refuse
            if self._socket is not None:
                self._socket.close()
            else:
                os.close(self._fd)

    def _try(self, line: bytes) -> bool:
        if self._torn:
            line = b"\n" + line
        try:
            sent = self._send(line)
        except OSError:
            return False
        self._torn = sent < len(line)
        return not self._torn

    def _borrow(self, fd: int) -> tuple[int, bool, Callable[[bytes], int]]:
        """(descriptor, whether it is ours to close, how to write to it)"""
        try:
            mode = os.fstat(fd).st_mode
        except OSError:  # started with stderr closed: the number may soon be somebody's socket
            return os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), True, self._write
        if stat.S_ISREG(mode):
            return fd, False, self._write
        if stat.S_ISSOCK(mode):
            self._socket = _socket.socket(fileno=os.dup(fd))
            return self._socket.fileno(), True, self._write_socket
        try:
            return os.open(f"/proc/self/fd/{fd}", REOPEN_FLAGS), True, self._write
        except OSError:
            return fd, False, self._write_polled

    def _write(self, line: bytes) -> int:
        return os.write(self._fd, line)

    def _write_socket(self, line: bytes) -> int:
        assert self._socket is not None
        return self._socket.send(line, _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL)

    def _write_polled(self, line: bytes) -> int:
        sent = 0
        while sent < len(line) and _writable(self._fd):
            sent += os.write(self._fd, line[sent : sent + select.PIPE_BUF])
        if not sent:
            raise BlockingIOError(errno.EAGAIN, "the reader is behind")
        return sent


def _writable(fd: int) -> bool:
    poll = original("select", "poll")()
    poll.register(fd, select.POLLOUT)
    return any(events & select.POLLOUT for _, events in poll.poll(0))


def _refuse(line: bytes) -> int:
    raise OSError(errno.EBADF, "the log is closed")

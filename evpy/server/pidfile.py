"""The pid file: says which process to signal, and that there is only one server of this name.

A file that is left over from a crash is replaced; one that belongs to a living process is not. Telling them apart by
the number alone mistakes a stranger for the old server after a reboot, when numbers start again from small ones; so the
file is held locked (flock(2)) by the server that lives, and the lock goes with the process, however it dies.

Files written by others (another server, a shell script) are not locked; there the number decides.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

from evpy.errors import StartupError

__all__ = ["PidFile"]


class PidFile:
    """Written and locked by the constructor. StartupError when a living process owns it or it cannot be written."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        try:
            self._fd = self._open()
        except OSError as error:
            raise StartupError(f"cannot write the pid file {path!r}: {error.strerror}; choose another --pid") from None

    def _open(self) -> int:
        while True:
            fd = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                if not self._lock(fd):
                    raise StartupError(f"{self._owner(fd)} is running with the pid file {self.path!r}; stop it first")
                if not self._current(fd):  # the owner removed it between our open and our lock
                    os.close(fd)
                    continue
                pid = _number(fd)
                if pid is not None and pid != os.getpid() and _is_server(pid):
                    raise StartupError(f"process {pid} is running with the pid file {self.path!r}; stop it first")
                os.ftruncate(fd, 0)
                os.pwrite(fd, b"%d\n" % os.getpid(), 0)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.close(fd)
                raise
            return fd

    @staticmethod
    def _lock(fd: int) -> bool:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _current(self, fd: int) -> bool:
        try:
            there, here = os.stat(self.path), os.fstat(fd)
        except FileNotFoundError:
            return False
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

    @staticmethod
    def _owner(fd: int) -> str:
        pid = _number(fd)
        return "another server" if pid is None else f"process {pid}"

    def remove(self) -> None:
        """Removes the file, unless somebody has replaced it. May be called twice."""
        if self._fd < 0:
            return
        if self._current(self._fd):
            with contextlib.suppress(OSError):
                os.unlink(self.path)
        os.close(self._fd)
        self._fd = -1


def _number(fd: int) -> int | None:
    text = os.pread(fd, 64, 0).strip()
    return int(text) if text.isdigit() and 0 < int(text) < 1 << 31 else None


def _is_server(pid: int) -> bool:
    """Whether the process is alive and looks like a server of ours: without a lock, any number may be a stranger's."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            words = file.read().split(b"\0")
    except OSError:
        return False
    # Whole names only: a pager or an editor is no server because it has evserver.log or evserver.toml open.
    return any(word.rpartition(b"/")[2] == b"evserver" for word in words) or (b"-m" in words and b"evpy" in words)

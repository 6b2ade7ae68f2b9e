"""Replacing a file as a whole, without blocking a hub."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from typing import IO, Any

from efio import _offload, files

__all__ = ["atomic_write"]


@contextlib.contextmanager
def atomic_write(
    path: str | os.PathLike[str],
    mode: str = "w",
    *,
    sync: bool = True,
    permissions: int | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
) -> Iterator[IO[Any]]:
    """A file to write (mode "w" or "wb") that takes the place of `path` at the end of the `with` block, all or nothing.

    Whoever opens `path` sees the old contents or the new ones, never a part, also after a crash of the machine: the
    data is on the disk before the name is changed (rename(2)), and the directory afterwards; `sync=False` leaves that
    out. A block that raises changes nothing. `permissions` (default: those of the old file, else as `open` would make
    them) are those of the new one; a symbolic link is followed. ValueError for another mode; OSError.
    """
    if mode not in ("w", "wb", "wt"):
        raise ValueError(f"atomic_write(mode={mode!r}): 'w' or 'wb', since the file is written anew as a whole")
    target = _offload.call(os.path.realpath, os.fspath(path))
    folder = os.path.dirname(target)
    fd, temporary = _offload.call(tempfile.mkstemp, ".tmp", f".{os.path.basename(target)}.", folder)
    try:
        try:
            file = files.open(fd, mode, encoding=encoding, errors=errors, newline=newline)
        except BaseException:
            os.close(fd)
            raise
        with file:
            yield file
            file.flush()
            _offload.call(_finish, file.fileno(), target, permissions, sync)
        _offload.call(os.replace, temporary, target)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            _offload.call(os.unlink, temporary)
        raise
    if sync:
        from efio.os import fsync_directory

        fsync_directory(folder)


def _finish(fd: int, target: str, permissions: int | None, sync: bool) -> None:
    if permissions is None:
        try:
            permissions = stat.S_IMODE(os.stat(target).st_mode)
        except FileNotFoundError:
            permissions = 0o666 & ~_umask()
    os.fchmod(fd, permissions)
    if sync:
        os.fsync(fd)


def _umask() -> int:
    with open("/proc/self/status") as status:  # umask(2) could tell only by changing it
        return next(int(line.split()[1], 8) for line in status if line.startswith("Umask:"))

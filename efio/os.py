"""Functions of `os` and `shutil` that wait for the disk: as they are in a plain thread, in a thread for a greenlet.

Arguments, results and errors are those of the standard library. For a task of asyncio:
``await efio.run_blocking_async(os.stat, path)`` with the standard library's own.
"""

from __future__ import annotations

import errno
import functools
import os
import shutil
import stat as stat_
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from efio import _offload

__all__ = [
    "access", "chmod", "chown", "copy", "exists", "fsync_directory", "isdir", "isfile", "link", "listdir", "lstat",
    "makedirs", "mkdir", "move", "readlink", "remove", "rename", "replace", "rmdir", "rmtree", "scandir", "sendfile",
    "stat", "statvfs", "symlink", "truncate", "unlink", "utime",
]  # fmt: skip

P = ParamSpec("P")
T = TypeVar("T")
PIECE = 8 << 20  # bytes that one call copies


def _cooperative(function: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(function)
    def method(*arguments: P.args, **named: P.kwargs) -> T:
        return _offload.call(functools.partial(function, *arguments, **named))

    return method


access = _cooperative(os.access)
chmod = _cooperative(os.chmod)
chown = _cooperative(os.chown)
exists = _cooperative(os.path.exists)
isdir = _cooperative(os.path.isdir)
isfile = _cooperative(os.path.isfile)
link = _cooperative(os.link)
listdir = _cooperative(os.listdir)
lstat = _cooperative(os.lstat)
makedirs = _cooperative(os.makedirs)
mkdir = _cooperative(os.mkdir)
move = _cooperative(shutil.move)
readlink = _cooperative(os.readlink)
remove = _cooperative(os.remove)
rename = _cooperative(os.rename)
replace = _cooperative(os.replace)
rmdir = _cooperative(os.rmdir)
rmtree = _cooperative(shutil.rmtree)
stat = _cooperative(os.stat)
statvfs = _cooperative(os.statvfs)
symlink = _cooperative(os.symlink)
truncate = _cooperative(os.truncate)
unlink = _cooperative(os.unlink)
utime = _cooperative(os.utime)


def scandir(path: Any = ".") -> list[os.DirEntry[Any]]:
    """The entries of a directory, read at once: a list, where `os.scandir` gives an iterator."""

    def read() -> list[os.DirEntry[Any]]:
        with os.scandir(path) as entries:
            return list(entries)

    return _offload.call(read)


def fsync_directory(path: str | os.PathLike[str]) -> None:
    """Makes sure that names that were made, changed or removed in a directory are on the disk. fsync(2), OSError."""

    def sync() -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    _offload.call(sync)


def copy(source: str | os.PathLike[str], target: str | os.PathLike[str], *, exclusive: bool = False) -> int:
    """Copies contents and permissions of a file; the number of bytes. An existing target is replaced.

    By copy_file_range(2), which lets the file system share the blocks where it can, else by reading and writing. With
    `exclusive`, FileExistsError when the target exists. `shutil.SameFileError` when both are one file; OSError. A copy
    that fails leaves what it has written.
    """

    def work() -> int:
        with open(source, "rb", buffering=0) as reader:
            there = os.fstat(reader.fileno())
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | (os.O_EXCL if exclusive else 0)
            fd = os.open(target, flags, there.st_mode & 0o777)
            try:
                here = os.fstat(fd)
                if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino):
                    raise shutil.SameFileError(f"{os.fspath(source)!r} and {os.fspath(target)!r} are the same file")
                if stat_.S_ISREG(here.st_mode):
                    os.ftruncate(fd, 0)
                total = _copy_range(reader.fileno(), fd)
                os.fchmod(fd, there.st_mode & 0o777)
            finally:
                os.close(fd)
            return total

    return _offload.call(work)


def _copy_range(source: int, target: int) -> int:
    total = 0
    try:
        while n := os.copy_file_range(source, target, PIECE):
            total += n
    except OSError as error:
        # Two file systems, or one that cannot; some say so only for special files.
        if error.errno not in (errno.EXDEV, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF) or total:
            raise
    else:
        if total:
            return total  # of some files of /proc it copies nothing: then read
    while data := os.read(source, 1 << 20):
        view = memoryview(data)
        while view:
            written = os.write(target, view)
            view = view[written:]
            total += written
    return total


def sendfile(out: int, source: int, offset: int, count: int) -> int:
    """sendfile(2) from a file to a descriptor, all `count` bytes or to the file's end; how many bytes went.

    For a blocking `out`; a greenlet is switched out meanwhile. OSError.
    """

    def work() -> int:
        at, end = offset, offset + count
        while at < end:
            n = os.sendfile(out, source, at, min(end - at, PIECE))
            if not n:
                break
            at += n
        return at - offset

    return _offload.call(work)

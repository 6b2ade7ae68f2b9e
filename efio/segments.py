"""Memory that processes share: without a name and inherited, or found by its name; and nothing left behind.

A segment without a name is a memfd: it goes with the last process that has it. Children get it by fork, by
multiprocessing (it is pickled as its descriptor) or by passing the descriptor. It is sealed: nobody can shrink it under
the others.

A segment with a name is POSIX shared memory (shm_overview(7)): the file ``efio.NAME`` in /dev/shm. The last process
that closes it removes the name. When all that had it have been killed, the name stays behind, stale, until the next one
opens it (he gets a fresh segment) or opens any other (stale names of this user are removed then), or until
`remove_stale_segments` is called.

Who opens, closes or removes a name holds flock(2) of the file meanwhile, so that the last one who leaves and the next
one who comes do not miss each other. A lock goes with its process, however that ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from efio import _peers
from efio._peers import Memory

__all__ = ["FOLDER", "PREFIX", "Segment", "remove_stale_segments"]

FOLDER = "/dev/shm"
PREFIX = "efio."
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
T = TypeVar("T")
Enter = Callable[[Memory, tuple[int, int, int, int]], T]


class Segment:
    """One mapping. ``memory``: the bytes; ``name``: None without one; ``shape``: what its kind says of its size."""

    def __init__(self, fd: int, name: str | None, memory: Memory, shape: tuple[int, int, int, int]) -> None:
        self.fd = fd
        self.name = name
        self.memory = memory
        self.shape = shape

    @classmethod
    def anonymous(cls, kind: int, size: int, shape: tuple[int, ...]) -> Segment:
        """A fresh one without a name. OSError when there is no memory."""
        fd = os.memfd_create("efio", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.ftruncate(fd, size)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
            memory = Memory(fd, size)
        except BaseException:
            os.close(fd)
            raise
        _peers.publish(memory, kind, shape)
        return cls(fd, None, memory, _peers.check(memory, kind))

    @classmethod
    def of_descriptor(cls, fd: int, kind: int, name: str | None = None) -> Segment:
        """The one behind a descriptor, which then belongs to it. ValueError when that is no segment of this kind."""
        try:
            if name is None and fcntl.fcntl(fd, fcntl.F_GET_SEALS) & SEALS != SEALS:
                raise ValueError(f"descriptor {fd} is no segment of efio: it is not sealed")
            memory = Memory(fd, os.fstat(fd).st_size)
            return cls(fd, name, memory, _peers.check(memory, kind))
        except BaseException as error:
            os.close(fd)
            if isinstance(error, OSError) and error.errno == errno.EINVAL:
                raise ValueError(f"descriptor {fd} is no segment of efio: it is no memfd") from None
            raise

    @classmethod
    def named(
        cls, name: str, kind: int, size: int, shape: tuple[int, ...], enter: Enter[T], *, create: bool = True
    ) -> tuple[Segment, T]:
        """The one of this name, made if need be; and what ``enter(memory, shape)`` gave, which takes a place in it.

        ValueError for an impossible name, or one that something else has; OSError as opening a file raises it;
        FileNotFoundError when there is none and `create` is False.
        """
        path = path_of(name)
        remove_stale_segments()
        while True:
            with contextlib.ExitStack() as stack:
                try:
                    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
                except FileNotFoundError:
                    if not create:
                        raise FileNotFoundError(
                            errno.ENOENT, f"shared memory {name!r} is gone: all that had it open have closed it"
                        ) from None
                    fd = cls._create(path, kind, size, shape, stack)
                    if fd < 0:
                        continue
                else:
                    stack.callback(os.close, fd)
                    stack.enter_context(locked(fd))
                    if not is_named(fd, path):  # removed between our opening and our lock
                        continue
                    if is_stale(fd):
                        os.unlink(path)
                        continue
                segment = cls.of_descriptor(os.dup(fd), kind, name)
                try:
                    return segment, enter(segment.memory, segment.shape)
                except BaseException:
                    segment.close()
                    raise

    @staticmethod
    def _create(path: str, kind: int, size: int, shape: tuple[int, ...], stack: contextlib.ExitStack) -> int:
        """A finished segment appears under its name at once, locked, or not at all; -1 when another one was faster."""
        fd = os.open(FOLDER, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, fd)
        os.ftruncate(fd, size)
        os.posix_fallocate(fd, 0, _peers.TABLE)
        _peers.publish(Memory(fd, size), kind, shape)
        stack.enter_context(locked(fd))
        folder = os.open(FOLDER, os.O_PATH | os.O_CLOEXEC)
        stack.callback(os.close, folder)
        try:
            # With a descriptor for the folder it is linkat(2) that is called, which can follow the link to the file.
            os.link(f"/proc/self/fd/{fd}", os.path.basename(path), dst_dir_fd=folder, follow_symlinks=True)
        except FileExistsError:
            return -1
        return fd

    def reserve(self, offset: int, length: int) -> None:
        """Makes sure that there is memory behind these bytes. OSError (ENOSPC) now, instead of SIGBUS later.

        /dev/shm is a file system with a limit of its own, in containers a small one.
        """
        if self.name is not None:
            try:
                os.posix_fallocate(self.fd, offset, length)
            except OSError as error:
                raise OSError(
                    error.errno, f"no room in {FOLDER} for {length} bytes of {self.name!r}: {error.strerror}"
                ) from None

    def leave(self, leave: Callable[[], None]) -> None:
        """Calls ``leave``, which gives up the place of this process; the last one removes the name."""
        if self.name is None:
            leave()
            return
        with locked(self.fd):
            leave()
            path = path_of(self.name)
            if _peers.alive(self.memory) == 0 and is_named(self.fd, path):
                os.unlink(path)

    def __del__(self) -> None:
        self.close()  # of one in which there was no place, say

    def close(self) -> None:
        """Closes the descriptor; may be called twice. The mapping lives for as long as somebody uses the memory."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def path_of(name: str) -> str:
    """Where the segment of this name lies. ValueError for an impossible name."""
    if not name or "/" in name or "\0" in name or len(os.fsencode(name)) > 200:
        raise ValueError(f"{name!r} cannot be the name of shared memory: 1 to 200 bytes, without '/'")
    return f"{FOLDER}/{PREFIX}{name}"


@contextlib.contextmanager
def locked(fd: int) -> Iterator[None]:
    """Holds flock(2) of the file, by a description of its own: a forked child shares that of the descriptor."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(own, fcntl.LOCK_EX)
        yield
    finally:
        os.close(own)


def is_named(fd: int, path: str) -> bool:
    """Whether the path still leads to this file."""
    try:
        there, here = os.stat(path, follow_symlinks=False), os.fstat(fd)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)


def is_stale(fd: int) -> bool:
    """Whether nobody who has it open lives any more; the lock is held.

    False for what is no segment, and for one of another pid namespace, whose processes look dead from here.
    """
    if os.fstat(fd).st_size < _peers.TABLE:
        return False
    memory = Memory(fd, _peers.TABLE)
    return _peers.is_of_here(memory) and _peers.alive(memory) == 0


def remove_stale_segments() -> list[str]:
    """Removes the names of this user's segments whose processes have all been killed; returns these names.

    Not those that somebody is just opening, nor those of other pid namespaces (which cannot be told from dead ones).
    """
    removed = []
    with os.scandir(FOLDER) as entries:
        found = [entry.path for entry in entries if entry.name.startswith(PREFIX)]
    for path in found:
        with contextlib.suppress(OSError):
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                if os.fstat(fd).st_uid == os.geteuid() and _remove_if_stale(fd, path):
                    removed.append(os.path.basename(path).removeprefix(PREFIX))
            finally:
                os.close(fd)
    return removed


def _remove_if_stale(fd: int, path: str) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    if not is_named(fd, path) or not is_stale(fd):
        return False
    os.unlink(path)
    return True


def reduce(
    segment: Segment, rebuild: Callable[..., Any], *arguments: Any
) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """For ``__reduce__``: the descriptor travels by multiprocessing's own means, to a child or over a connection."""
    from multiprocessing.reduction import DupFd

    return rebuild, (None if segment.name is not None else DupFd(segment.fd), segment.name, *arguments)

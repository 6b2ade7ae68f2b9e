"""efio.open: io.open for greenlets. What is in the page cache is read at once, the rest while the greenlet is away.

FileIO is io.FileIO with another way of reading and writing; modes, positions, errors and messages are inherited. A read
first asks preadv2(RWF_NOWAIT) on the calling thread, and goes to a thread of _offload.py only for what is not cached.
On file systems without RWF_NOWAIT every read of a greenlet goes there; in a plain thread nothing ever does.

The standard library's buffers hold a lock that belongs to the thread while they call the raw file. A greenlet that is
switched out inside would make every other greenlet of the thread fail with "reentrant call". So each layer takes an
efio.RLock, which belongs to the greenlet, before it enters the layer of the standard library: the others wait for their
turn. A layer enters those below it in one order only, hence no deadlock.
"""

from __future__ import annotations

import io
import os
import stat
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any

from efio import _offload
from efio._impl import PYTHON
from efio.locks import RLock

if PYTHON:
    from efio._pure.nowait import CachedReads
else:
    from efio._files import CachedReads  # type: ignore[assignment]

__all__ = [
    "BufferedRandom",
    "BufferedReader",
    "BufferedWriter",
    "FileIO",
    "FileStatistics",
    "TextIOWrapper",
    "open",
    "run_blocking",
    "run_blocking_async",
]

run_blocking = _offload.call
run_blocking_async = _offload.call_async


@dataclass(frozen=True, slots=True)
class FileStatistics:
    """What a file has done since it was opened."""

    cached_reads: int  # that the page cache answered at once
    blocking_calls: int  # all others: reads that it could not answer, writes, and the rest
    switched: int  # of those: how many were made while a greenlet was switched out


class FileIO(io.FileIO):
    """io.FileIO; a greenlet that would wait for the disk is switched out meanwhile. Same arguments, same errors."""

    _lock: Any = None
    _on_disk = False
    _cached = CachedReads(-1, False)
    _blocking_calls = _switched = 0

    def __init__(
        self,
        file: Any,
        mode: str = "r",
        closefd: bool = True,
        opener: Callable[[Any, int], int] | None = None,
    ) -> None:
        _offload.call(io.FileIO.__init__, self, file, mode, closefd, opener)
        self._lock = RLock()
        kind = os.fstat(self.fileno()).st_mode
        self._on_disk = stat.S_ISREG(kind) or stat.S_ISBLK(kind)
        self._cached = CachedReads(self.fileno(), self._on_disk and self.readable())

    def _blocking(self, function: Callable[..., Any], *arguments: Any) -> Any:
        # What close() must not overtake: another file could get the number of the descriptor.
        self._blocking_calls += 1
        if not _offload.in_greenlet():
            return function(self, *arguments)
        self._switched += 1
        with self._lock:
            if not self._on_disk and function in _READS and os.get_blocking(self.fileno()):
                hub = sys.modules["gevent"].get_hub()
                try:
                    watcher = hub.loop.io(self.fileno(), 1)
                    try:
                        hub.wait(watcher)
                    finally:
                        watcher.close()
                except OSError:  # cannot be watched
                    pass
                else:
                    return function(self, *arguments)
            return _offload.call(function, self, *arguments)

    def read(self, size: int | None = -1, /) -> Any:
        data = self._cached.read(size)
        if data is not None:
            return data if len(data) == size or not data else self._rest(data, size)
        if self._on_disk and (size is None or size < 0) and self.readable():
            return self.readall()
        return self._blocking(io.FileIO.read, size)

    def read_cached(self, size: int) -> bytes | None:
        """`read`, if the page cache holds all of it (or the file ends); None, and nothing is read, if not."""
        data = self._cached.read(size)
        if data and len(data) < size and self.tell() < os.fstat(self.fileno()).st_size:
            self.seek(-len(data), os.SEEK_CUR)
            return None
        return data

    def _rest(self, data: bytes, size: Any) -> bytes:
        # The page cache ended, or the file: reads of files are not short but at their end.
        rest = self._cached.read(size - len(data))
        if rest is None:
            rest = self._blocking(io.FileIO.read, size - len(data))
        else:
            self._cached.count -= 1  # for whoever asked this was one read
        return data + rest if rest else data

    def readinto(self, buffer: Any, /) -> Any:
        got = self._cached.readinto(buffer)
        if got is None:
            return self._blocking(io.FileIO.readinto, buffer)
        if type(buffer) is memoryview and got == buffer.nbytes:
            return got
        with memoryview(buffer) as view, view.cast("B") as octets:
            if got in (0, len(octets)):
                return got
            rest = self._cached.readinto(octets[got:])
            if rest is None:
                rest = self._blocking(io.FileIO.readinto, octets[got:])
            else:
                self._cached.count -= 1  # for whoever asked this was one read
            return got + rest

    def readall(self) -> Any:
        if not self._on_disk or not self.readable() or not _offload.in_greenlet():
            return self._blocking(io.FileIO.readall)
        chunks = []
        size = max(os.fstat(self.fileno()).st_size - self.tell(), 0) + 1
        while chunk := self.read(size):
            chunks.append(chunk)
            size = 65536
        return b"".join(chunks) if len(chunks) != 1 else chunks[0]

    def write(self, data: Any, /) -> Any:
        return self._blocking(io.FileIO.write, data)

    def truncate(self, size: int | None = None, /) -> int:
        result: int = self._blocking(io.FileIO.truncate, size)
        return result

    def sync(self, data_only: bool = False) -> None:
        """Returns when the file (with ``data_only``: what is needed to read it) is on the disk. fsync(2), OSError."""
        self._blocking(_sync, data_only)

    def pread(self, size: int, offset: int) -> bytes:
        """At most ``size`` bytes from ``offset``; the position stays. pread(2), OSError."""
        result: bytes = self._blocking(_pread, size, offset)
        return result

    def pwrite(self, data: Any, offset: int) -> int:
        """Writes at ``offset``; the number of bytes written. The position stays. pwrite(2), OSError."""
        result: int = self._blocking(_pwrite, data, offset)
        return result

    def preadv(self, buffers: Any, offset: int) -> int:
        """Fills writable buffers, one after the other, from ``offset``; bytes read. preadv(2), OSError."""
        result: int = self._blocking(_preadv, buffers, offset)
        return result

    def pwritev(self, buffers: Any, offset: int) -> int:
        """Writes buffers, one after the other, at ``offset``; bytes written. pwritev(2), OSError."""
        result: int = self._blocking(_pwritev, buffers, offset)
        return result

    def readahead(self, offset: int, size: int) -> None:
        """Asks the system to have this part in the page cache soon; waits for nothing. posix_fadvise(2), OSError."""
        self._blocking(_readahead, offset, size)

    def allocate(self, offset: int, size: int) -> None:
        """Makes sure that there is room on the disk for this part. posix_fallocate(3); OSError (ENOSPC)."""
        self._blocking(_allocate, offset, size)

    def statistics(self) -> FileStatistics:
        """Reads and other calls since it was opened. Of a buffered file: ``file.raw.statistics()``."""
        return FileStatistics(self._cached.count, self._blocking_calls, self._switched)

    def close(self) -> None:
        if self.closed or self._lock is None or not _offload.in_greenlet():
            self._cached.stop()
            io.FileIO.close(self)
            return
        with self._lock:
            self._cached.stop()
            io.FileIO.close(self)


_READS = (io.FileIO.read, io.FileIO.readinto, io.FileIO.readall)


def _sync(file: FileIO, data_only: bool) -> None:
    (os.fdatasync if data_only else os.fsync)(file.fileno())


def _pread(file: FileIO, size: int, offset: int) -> bytes:
    return os.pread(file.fileno(), size, offset)


def _pwrite(file: FileIO, data: Any, offset: int) -> int:
    return os.pwrite(file.fileno(), data, offset)


def _preadv(file: FileIO, buffers: Any, offset: int) -> int:
    return os.preadv(file.fileno(), buffers, offset)


def _pwritev(file: FileIO, buffers: Any, offset: int) -> int:
    return os.pwritev(file.fileno(), buffers, offset)


def _readahead(file: FileIO, offset: int, size: int) -> None:
    os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)


def _allocate(file: FileIO, offset: int, size: int) -> None:
    os.posix_fallocate(file.fileno(), offset, size)


def _in_turn(base: type, name: str) -> Callable[..., Any]:
    inherited = getattr(base, name)

    def method(self: Any, *arguments: Any, **named: Any) -> Any:
        lock = self.__dict__.get("_turn")
        if lock is None:  # not initialised, or already taken apart
            return inherited(self, *arguments, **named)
        with lock:
            return inherited(self, *arguments, **named)

    method.__name__ = name
    method.__qualname__ = f"{base.__name__}.{name}"
    method.__doc__ = inherited.__doc__
    return method


def _flush_all(self: Any) -> None:
    """Returns when the file below has it all, and a file that is written behind the system, too. OSError."""
    _flush_buffer(self)
    self.raw.flush()  # io.BufferedWriter only writes to it


def _layer(base: type) -> type:
    """The standard library's class, entered by one greenlet or thread at a time."""

    def initialise(self: Any, *arguments: Any, **named: Any) -> None:
        base.__init__(self, *arguments, **named)  # type: ignore[misc]
        self._turn = RLock()

    names = (
        "read", "read1", "readinto", "readinto1", "readline", "peek", "write", "seek", "tell", "truncate", "flush",
        "close", "detach", "reconfigure",
    )  # fmt: skip
    body: dict[str, Any] = {name: _in_turn(base, name) for name in names if hasattr(base, name)}
    body |= {"__init__": initialise, "__module__": __name__, "__doc__": base.__doc__}
    return type(base.__name__, (base,), body)


BufferedReader: Any = _layer(io.BufferedReader)
BufferedWriter: Any = _layer(io.BufferedWriter)
_flush_buffer = BufferedWriter.flush
BufferedWriter.flush = _flush_all
BufferedRandom: Any = _layer(io.BufferedRandom)
TextIOWrapper: Any = _layer(io.TextIOWrapper)


def _buffer_size(raw: FileIO) -> int:
    size: int = getattr(raw, "_blksize", io.DEFAULT_BUFFER_SIZE)
    return size if size > 1 else io.DEFAULT_BUFFER_SIZE


def open(
    file: Any,
    mode: str = "r",
    buffering: int = -1,
    encoding: str | None = None,
    errors: str | None = None,
    newline: str | None = None,
    closefd: bool = True,
    opener: Callable[[Any, int], int] | None = None,
    *,
    write_behind: int | None = None,
) -> IO[Any]:
    """io.open: same arguments, results and errors; a greenlet is switched out where a thread would wait for the disk.

    One file may be used by several greenlets and threads; each call is made as a whole. With `write_behind`, up to so
    many bytes may wait to be written by a thread while write() has returned; a late error is raised by every call that
    follows, and by close(): see `WriteBehind`. ValueError when the file is not only for writing then.
    """
    if not isinstance(file, int):
        file = os.fspath(file)
    for name, value in (("mode", mode), ("encoding", encoding), ("errors", errors)):
        if not isinstance(value, str) and (name == "mode" or value is not None):
            raise TypeError(f"open() argument {name!r} must be str, not {type(value).__name__}")
    letters = set(mode)
    if letters - set("axrwb+t") or len(mode) > len(letters):
        raise ValueError(f"invalid mode: {mode!r}")
    binary = "b" in letters
    if binary and "t" in letters:
        raise ValueError("can't have text and binary mode at once")
    if len(letters & set("axrw")) != 1:
        raise ValueError("must have exactly one of create/read/write/append mode")
    if binary:
        for name, value in (("encoding", encoding), ("errors", errors), ("newline", newline)):
            if value is not None:
                raise ValueError(f"binary mode doesn't take {'a' if name == 'newline' else 'an'} {name} argument")
        if buffering == 1:
            warnings.warn(
                "line buffering (buffering=1) isn't supported in binary mode, the default buffer size will be used",
                RuntimeWarning,
                stacklevel=2,
            )
    elif encoding is None:
        encoding = io.text_encoding(encoding)
    if write_behind is not None and ("r" in letters or "+" in letters):
        raise ValueError(f"write_behind is for files that are only written, not for mode {mode!r}")
    raw: Any = FileIO(file, "".join(letter for letter in mode if letter in "axrw+"), closefd, opener)
    result: Any = raw
    try:
        if write_behind is not None:
            from efio.behind import WriteBehind

            result = raw = WriteBehind(raw, write_behind)
        line_buffering = not binary and (buffering == 1 or (buffering < 0 and raw.isatty()))
        if buffering in (-1, 1) or buffering < 0:
            buffering = _buffer_size(raw)
        if buffering == 0:
            if binary:
                return raw  # type: ignore[no-any-return]
            raise ValueError("can't have unbuffered text I/O")
        if "+" in letters:
            result = BufferedRandom(raw, buffering)
        else:
            result = (BufferedReader if "r" in letters else BufferedWriter)(raw, buffering)
        if binary:
            return result  # type: ignore[no-any-return]
        result = TextIOWrapper(result, encoding, errors, newline, line_buffering)
        result.mode = mode
    except BaseException:
        result.close()
        raise
    return result  # type: ignore[no-any-return]

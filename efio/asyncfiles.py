"""Files for tasks of asyncio: the methods of efio.open's files, to be awaited.

A call that may wait for the disk is made by a thread of the default pool. Reads of a file without a buffer are first
tried on the loop's own thread with preadv2(RWF_NOWAIT), which answers what the page cache holds.

The calls of one file are made one after the other, in the order in which they were asked for. ``async for`` gets many
lines from a thread at a time; whoever then does something else with the file finds it where the last line ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Self, TypeVar

from efio import _offload, files
from efio.locks import Lock

__all__ = ["AsyncFile", "aopen"]

T = TypeVar("T")
LINES = 65536  # bytes or characters of the lines that one call gets


class AsyncFile:
    """A file of `efio.open`, with methods to be awaited by tasks of asyncio: same arguments, results and errors.

    ``async with``, ``async for line in file``. A task that is cancelled in a call sees it when the call has ended.
    """

    def __init__(self, file: Any) -> None:
        self._file = file
        self._lock = Lock()
        self._lines: deque[Any] = deque()  # that `async for` has got and not yet given
        self._start: Any = None  # the position before those lines, and how many have been given since
        self._given = 0
        self._raw = file if isinstance(file, files.FileIO) else None

    # --- one call

    async def _call(self, function: Callable[..., T], *arguments: Any) -> T:
        async with self._lock:
            return await _offload.call_async(self._made, function, *arguments)

    def _made(self, function: Callable[..., T], *arguments: Any) -> T:
        # In a thread, the only one for this file. Lines that were got ahead are not read yet, for all others.
        if self._lines:
            self._lines.clear()
            self._file.seek(self._start)
            for _ in range(self._given):
                self._file.readline()
        self._start = None
        return function(*arguments)

    # --- reading

    async def read(self, size: int | None = -1) -> Any:
        """As the file's."""
        raw = self._raw
        if raw is not None and size is not None and size > 0 and not self._lock.locked() and not self._lines:
            data = raw.read_cached(size)
            if data is not None:
                return data
        return await self._call(self._file.read, size)

    async def read1(self, size: int = -1) -> bytes:
        """As the file's; binary files with a buffer only."""
        result: bytes = await self._call(self._file.read1, size)
        return result

    async def readinto(self, buffer: Any) -> int:
        """As the file's; binary files only."""
        result: int = await self._call(self._file.readinto, buffer)
        return result

    async def readline(self, size: int = -1) -> Any:
        """As the file's."""
        return await self._call(self._file.readline, size)

    async def readlines(self, hint: int = -1) -> list[Any]:
        """As the file's."""
        return await self._call(self._some_lines, hint)

    async def peek(self, size: int = 0) -> bytes:
        """As the file's; binary files with a buffer only."""
        result: bytes = await self._call(self._file.peek, size)
        return result

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        if not self._lines:
            async with self._lock:
                if not self._lines:
                    await _offload.call_async(self._more_lines)
            if not self._lines:
                raise StopAsyncIteration
        self._given += 1
        return self._lines.popleft()

    def _more_lines(self) -> None:
        if not self._file.seekable():  # what is not wanted could not be given back
            line = self._file.readline()
            self._lines.extend([line] if line else [])
            return
        self._start, self._given = self._file.tell(), 0
        self._lines.extend(self._some_lines(LINES))

    def _some_lines(self, hint: int | None) -> list[Any]:
        if hint is None or hint <= 0:
            return list(self._file.readlines())
        lines = []
        size = 0
        while size < hint and (line := self._file.readline()):  # readlines(hint) would forbid tell()
            lines.append(line)
            size += len(line)
        return lines

    # --- writing, and the rest

    async def write(self, data: Any) -> int:
        """As the file's."""
        result: int = await self._call(self._file.write, data)
        return result

    async def writelines(self, lines: Iterable[Any]) -> None:
        """As the file's."""
        await self._call(self._file.writelines, lines)

    async def seek(self, offset: int, whence: int = 0) -> int:
        """As the file's."""
        result: int = await self._call(self._file.seek, offset, whence)
        return result

    async def tell(self) -> int:
        """As the file's."""
        result: int = await self._call(self._file.tell)
        return result

    async def truncate(self, size: int | None = None) -> int:
        """As the file's."""
        result: int = await self._call(self._file.truncate, size)
        return result

    async def flush(self) -> None:
        """As the file's."""
        await self._call(self._file.flush)

    async def sync(self, data_only: bool = False) -> None:
        """Returns when what was written is on the disk. fsync(2), or fdatasync(2) with `data_only`; OSError."""
        await self._call(self._synced, data_only)

    def _synced(self, data_only: bool) -> None:
        self._file.flush()
        raw = self._file
        while not hasattr(raw, "sync"):
            raw = raw.raw if hasattr(raw, "raw") else raw.buffer
        raw.sync(data_only)

    async def pread(self, size: int, offset: int) -> bytes:
        """As `FileIO.pread`; files without a buffer only."""
        result: bytes = await self._call(self._file.pread, size, offset)
        return result

    async def pwrite(self, data: Any, offset: int) -> int:
        """As `FileIO.pwrite`; files without a buffer only."""
        result: int = await self._call(self._file.pwrite, data, offset)
        return result

    async def close(self) -> None:
        """As the file's: what is in the buffer is written first."""
        async with self._lock:
            self._lines.clear()
            await _offload.call_async(self._file.close)

    # --- what waits for nothing

    @property
    def file(self) -> Any:
        """The file of `efio.open` below."""
        return self._file

    @property
    def closed(self) -> bool:
        """Whether it is closed."""
        result: bool = self._file.closed
        return result

    @property
    def name(self) -> Any:
        """As the file's."""
        return self._file.name

    @property
    def mode(self) -> str:
        """As the file's."""
        result: str = self._file.mode
        return result

    def fileno(self) -> int:
        """As the file's."""
        result: int = self._file.fileno()
        return result

    def __repr__(self) -> str:
        return f"<efio.AsyncFile {self._file!r}>"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()


class _Opening:
    """``file = await aopen(...)``, or ``async with aopen(...) as file``."""

    def __init__(self, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        self._arguments, self._named = arguments, named
        self._file: AsyncFile | None = None

    async def _open(self) -> AsyncFile:
        return AsyncFile(await _offload.call_async(lambda: files.open(*self._arguments, **self._named)))

    def __await__(self) -> Generator[Any, None, AsyncFile]:
        return self._open().__await__()

    async def __aenter__(self) -> AsyncFile:
        self._file = await self._open()
        return self._file

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._file is not None:
            await self._file.close()


def aopen(
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
) -> _Opening:
    """`efio.open` for a task of asyncio: ``await`` it, or ``async with aopen(...) as file``; an `AsyncFile`."""
    return _Opening((file, mode, buffering, encoding, errors, newline, closefd, opener), {"write_behind": write_behind})

"""Writing behind: write() returns at once, a thread writes; what goes wrong late is not lost."""

from __future__ import annotations

import io
import os
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from efio.files import FileIO
from efio.locks import Lock
from efio.sync import Condition

__all__ = ["WriteBehind", "WriteBehindStatistics"]

GATHER = 64  # chunks that one writev(2) gets


@dataclass(frozen=True, slots=True)
class WriteBehindStatistics:
    """A file that is written behind, at one moment."""

    pending: int  # bytes that are not yet written
    watermark: int  # bytes that may be
    written: int  # bytes, since it was opened
    waits: int  # how often write() had to wait for room
    failed: bool  # a late write has failed


class WriteBehind(io.RawIOBase):
    """A raw file for writing, on top of a `FileIO`, that keeps up to `watermark` bytes which are not yet written.

    `write` copies and returns; beyond the watermark it waits for the thread that writes (a greenlet is switched out).
    `flush` waits until all is written, `sync` until it is on the disk. When a late write fails, what follows it is
    dropped, every later call raises that error, and so does `close`, which closes in any case: nobody takes a file for
    written that is not. In a forked child the file is empty-handed: what was not yet written is the parent's to write.
    """

    def __init__(self, raw: FileIO, watermark: int = 8 << 20) -> None:
        if watermark < 1:
            raise ValueError(f"write_behind={watermark}: at least 1 byte")
        self._raw = raw
        self._watermark = watermark
        self._chunks: deque[bytes] = deque()
        self._pending = 0  # bytes that have not been written
        self._written = self._waits = 0
        self._error: BaseException | None = None
        self._changed = Condition(Lock())
        self._job: Future[None] | None = None
        self._process = os.getpid()

    @property
    def pending(self) -> int:
        """Bytes that are not yet written."""
        return self._pending

    def statistics(self) -> WriteBehindStatistics:
        """What waits to be written, and what has been."""
        return WriteBehindStatistics(
            self._pending, self._watermark, self._written, self._waits, self._error is not None
        )

    def fileno(self) -> int:
        return self._raw.fileno()

    @property
    def name(self) -> Any:
        """As of the file below."""
        return self._raw.name

    @property
    def mode(self) -> str:
        """As of the file below."""
        return self._raw.mode

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._raw.seekable()

    def isatty(self) -> bool:
        return self._raw.isatty()

    def write(self, data: Any, /) -> int:
        with memoryview(data) as view:
            chunk = view.tobytes()
        self._after_fork()
        with self._changed:
            while self._pending and self._pending + len(chunk) > self._watermark and self._error is None:
                self._waits += 1
                self._changed.wait()
            self._check()
            if not chunk:
                return 0
            self._chunks.append(chunk)
            self._pending += len(chunk)
            if self._job is None:
                self._start()
        return len(chunk)

    def _after_fork(self) -> None:
        # In a forked child: the thread that writes is the parent's, and so is what it has still to write.
        if self._process != os.getpid():
            self._process = os.getpid()
            self._changed = Condition(Lock())
            self._chunks = deque()
            self._pending = 0
            self._job = None

    def _start(self) -> None:
        from efio.pool import default_pool

        self._job = default_pool().submit(self._work)

    def _check(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        # In a thread of the pool, one at a time.
        fd = self._raw.fileno()
        while True:
            with self._changed:
                if not self._chunks:
                    self._job = None
                    self._changed.notify_all()
                    return
                batch = [self._chunks.popleft() for _ in range(min(GATHER, len(self._chunks)))]
            try:
                views = [memoryview(chunk) for chunk in batch]
                while views:
                    written = os.writev(fd, views)
                    while views and written >= len(views[0]):
                        written -= len(views.pop(0))
                    if views:
                        views[0] = views[0][written:]
            except BaseException as error:  # noqa: BLE001 - raised by whatever is called next
                with self._changed:
                    self._error = error
                    self._chunks.clear()
                    self._pending = 0
                    self._job = None
                    self._changed.notify_all()
                return
            with self._changed:
                size = sum(map(len, batch))
                self._pending -= size
                self._written += size
                self._changed.notify_all()

    def _settle(self) -> None:
        self._after_fork()
        with self._changed:
            while self._job is not None:
                self._changed.wait()

    def flush(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        self._settle()
        self._check()

    def sync(self, data_only: bool = False) -> None:
        """`flush`, then fsync(2), or fdatasync(2) with `data_only`."""
        self.flush()
        self._raw.sync(data_only)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        self.flush()
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        self.flush()
        return self._raw.tell()

    def truncate(self, size: int | None = None, /) -> int:
        self.flush()
        return self._raw.truncate(size)

    def close(self) -> None:
        if self.closed:
            return
        try:
            self._settle()
            error = self._error
        finally:
            self._error = None  # super().close() flushes
            super().close()
            self._raw.close()
        if error is not None:
            raise error

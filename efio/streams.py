"""A stream of bytes from one producer to one consumer, in chunks that are handed over without being copied.

Either end may be a greenlet, a thread or a task of asyncio; they wait for each other through efio.Waiter. Each counter
and each field is written by one end only, the chunks go through a deque, whose append and popleft are atomic: there is
no lock. Who is about to wait first says so and then looks again; who changes something first does so and then looks
whether somebody waits (Dekker's pattern; the interpreter lock gives the order).
"""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from efio.parking import Waiter

__all__ = ["ChunkedStream", "ChunkedStreamStatistics", "StreamBroken"]


class StreamBroken(OSError):
    """The other end of a ChunkedStream is gone, or ended it before all of it was there."""


@dataclass(frozen=True)
class ChunkedStreamStatistics:
    """What `ChunkedStream.statistics` tells; bytes."""

    pushed: int
    taken: int
    size: int  # that are in it now
    chunks: int
    limit: int | None
    producer_waits: int  # how often the producer waited for room
    consumer_waits: int
    ended: bool


def _find(chunks: list[memoryview], separator: bytes, looked: int) -> int:
    """Where the first separator ends, counted from the first chunk; -1: nowhere. None lies in `looked` bytes."""
    pattern = re.compile(re.escape(separator))  # finds in a memoryview without copying it
    keep = len(separator) - 1
    start = max(0, looked - keep)
    offset = 0
    tail = b""  # of the chunks before: a separator may lie across them
    for chunk in chunks:
        if offset + len(chunk) > start:
            at = (tail + bytes(chunk[:keep])).find(separator)
            if at >= 0:
                return offset - len(tail) + at + len(separator)
            if match := pattern.search(chunk, max(0, start - offset)):
                return offset + match.end()
        tail = (tail + bytes(chunk[-keep:]))[-keep:] if keep else b""
        offset += len(chunk)
    return -1


class ChunkedStream:
    """Bytes in chunks, from one producer to one consumer.

    `length`: how many bytes will come in all, if that is known: more are refused, and an end before is an error for the
    consumer. `limit`: how many bytes may be in it; a producer who goes beyond waits (None: he never does). A chunk is
    taken as a whole, so up to one chunk more may be in it.

    The producer: `push`, `apush`, then `end` or `fail`. The consumer: `read`, `readuntil`, `view`, `copy`, `erase`,
    `wait` and `close`. Chunks are kept as they are, not copied: who pushes a bytearray does not change it afterwards.
    """

    def __init__(self, length: int | None = None, limit: int | None = None) -> None:
        for name, value in (("length", length), ("limit", limit)):
            if value is not None and value < 0:
                raise ValueError(f"ChunkedStream({name}={value}): bytes cannot be less than 0")
        self.length = length
        self.limit = limit
        self._most = sys.maxsize if limit is None else max(limit, 1)
        self._chunks: deque[memoryview] = deque()
        # the producer's
        self._pushed = 0
        self._ended = False
        self._error: BaseException | None = None
        self._room_wanted: Waiter | None = None
        self._producer_waits = 0
        # the consumer's
        self._taken = 0
        self._closed = False
        self._found = -1
        self._wanted: Waiter | None = None
        self._consumer_waits = 0

    # --- both

    @property
    def size(self) -> int:
        """Bytes that are in it."""
        return self._pushed - self._taken

    def __len__(self) -> int:
        return self._pushed - self._taken

    def statistics(self) -> ChunkedStreamStatistics:
        """How it is."""
        return ChunkedStreamStatistics(
            self._pushed, self._taken, self.size, len(self._chunks), self.limit, self._producer_waits,
            self._consumer_waits, self._ended,
        )  # fmt: skip

    def __repr__(self) -> str:
        return f"<ChunkedStream {self.size} bytes in {len(self._chunks)} chunks{', ended' * self._ended}>"

    # --- the producer

    def push(self, data: Any, timeout: float | None = None) -> None:
        """Adds a chunk (any bytes-like object; an empty one adds nothing), when there is room for it.

        ValueError after the end, or beyond `length`; StreamBroken when the consumer has closed it; TimeoutError when
        there was no room for `timeout` seconds.
        """
        chunk = self._checked(data)
        if self._closed or self._pushed - self._taken >= self._most:
            while not self._has_room():
                if not self._ask_for_room().wait(timeout) and not self._has_room():
                    raise self._timed_out(timeout)
        self._add(chunk)

    async def apush(self, data: Any, timeout: float | None = None) -> None:
        """`push` for a task of asyncio."""
        chunk = self._checked(data)
        while not self._has_room():
            if not await self._ask_for_room().wait_async(timeout) and not self._has_room():
                raise self._timed_out(timeout)
        self._add(chunk)

    def push_nowait(self, data: Any) -> bool:
        """`push`, if there is room; whether there was."""
        chunk = self._checked(data)
        if not self._has_room():
            return False
        self._add(chunk)
        return True

    def end(self) -> None:
        """That was all. ValueError when it is less than `length`: use `fail` then. May be repeated."""
        if not self._ended and self.length is not None and self._pushed < self.length:
            raise ValueError(f"{self._pushed} of {self.length} bytes have been pushed: use fail() to give up")
        self._ended = True
        self._wake_consumer()

    def fail(self, error: BaseException | None = None) -> None:
        """No more will come: after what is there, the consumer gets `error` (default: StreamBroken)."""
        if not self._ended:
            self._error = error or StreamBroken(f"the producer has given up after {self._pushed} bytes")
            self._ended = True
            self._wake_consumer()

    def _checked(self, data: Any) -> memoryview:
        if self._ended:
            raise ValueError("the stream has ended: nothing can be pushed any more")
        chunk = memoryview(data) if type(data) is bytes else memoryview(data).cast("B")
        if self.length is not None and self._pushed + len(chunk) > self.length:
            raise ValueError(
                f"{self._pushed + len(chunk)} bytes would be pushed, the stream has a length of {self.length}"
            )
        return chunk

    def _has_room(self) -> bool:
        if self._closed:
            raise StreamBroken("the consumer has closed the stream")
        return self._pushed - self._taken < self._most

    def _ask_for_room(self) -> Waiter:
        self._producer_waits += 1
        waiter = self._room_wanted = Waiter()
        if self._closed or self._has_room():
            waiter.wake()
        return waiter

    def _timed_out(self, timeout: float | None) -> TimeoutError:
        return TimeoutError(f"no room for {timeout} s: {self.size} bytes wait for the consumer")

    def _add(self, chunk: memoryview) -> None:
        if chunk:
            self._chunks.append(chunk)
            self._pushed += len(chunk)
            waiter = self._wanted
            if waiter is not None:
                waiter.wake()

    def _wake_consumer(self) -> None:
        waiter = self._wanted
        if waiter is not None:
            waiter.wake()

    # --- the consumer

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until there is something to read: True, or until the end: False. TimeoutError after `timeout` seconds.

        Raises what `fail` was given, when everything before it has been taken.
        """
        while not self._settled():
            waiter = self._ask()
            if not waiter.wait(timeout) and not self._settled():
                raise TimeoutError(f"nothing came for {timeout} s")
        return bool(self._chunks)

    async def await_(self, timeout: float | None = None) -> bool:
        """`wait` for a task of asyncio."""
        while not self._settled():
            waiter = self._ask()
            if not await waiter.wait_async(timeout) and not self._settled():
                raise TimeoutError(f"nothing came for {timeout} s")
        return bool(self._chunks)

    def _settled(self) -> bool:
        if self._closed:
            raise ValueError("the stream has been closed")
        if self._chunks:
            return True
        if not self._ended or self._chunks:
            return bool(self._chunks)
        if self._error is not None:
            raise self._error
        return True

    def _ask(self, size: int = 0) -> Waiter:
        # For more than `size` bytes, or the end.
        self._consumer_waits += 1
        waiter = self._wanted = Waiter()
        if self.size > size or self._ended:
            waiter.wake()
        return waiter

    def read(self, n: int = -1, timeout: float | None = None) -> bytes:
        """Exactly `n` bytes, fewer only at the end; all that comes until the end with -1. Waits, see `wait`.

        When the wait is ended by an exception, nothing has been taken. After `fail` what is there comes first.
        """
        parts: list[memoryview] = []
        left = n
        try:
            while left and self.wait(timeout):
                part = self._take(left)
                parts.append(part)
                left -= len(part) if n >= 0 else 0
        except BaseException as error:
            if not self._comes_next_time(error, parts):
                raise
        return b"".join(parts)

    async def aread(self, n: int = -1, timeout: float | None = None) -> bytes:
        """`read` for a task of asyncio."""
        parts: list[memoryview] = []
        left = n
        try:
            while left and await self.await_(timeout):
                part = self._take(left)
                parts.append(part)
                left -= len(part) if n >= 0 else 0
        except BaseException as error:
            if not self._comes_next_time(error, parts):
                raise
        return b"".join(parts)

    def _comes_next_time(self, error: BaseException, parts: list[memoryview]) -> bool:
        """Whether what was taken is to be returned, and the error raised by the next call. Else it is put back."""
        if error is self._error:
            return bool(parts)
        if not self._closed:
            self._chunks.extendleft(reversed(parts))  # the producer is at the other end
            self._taken -= sum(map(len, parts))
        return False

    def readuntil(self, separator: bytes = b"\n", limit: int = 65536, timeout: float | None = None) -> bytes:
        """All up to and with `separator`, at most `limit` bytes; at the end, what is left without it. Waits.

        ValueError for an empty separator, and when there is none within `limit` bytes: nothing has been taken then.
        """
        looked = 0
        while True:
            size = self.size
            if self._look(separator, looked, limit, size):
                return self.read_nowait(self._found)
            looked = size
            while self._lacks(size):
                if not self._ask(size).wait(timeout) and self._lacks(size):
                    raise TimeoutError(f"no {separator!r} came for {timeout} s")

    async def areaduntil(self, separator: bytes = b"\n", limit: int = 65536, timeout: float | None = None) -> bytes:
        """`readuntil` for a task of asyncio."""
        looked = 0
        while True:
            size = self.size
            if self._look(separator, looked, limit, size):
                return self.read_nowait(self._found)
            looked = size
            while self._lacks(size):
                if not await self._ask(size).wait_async(timeout) and self._lacks(size):
                    raise TimeoutError(f"no {separator!r} came for {timeout} s")

    def _look(self, separator: bytes, looked: int, limit: int, size: int) -> bool:
        """Whether it is known how much is to be taken: `_found`. There is none in the first `looked` bytes."""
        if not separator:
            raise ValueError("readuntil(separator=b''): at least one byte")
        ended = self._ended  # before the chunks are looked at: the last one may come in between
        self._found = _find(list(self._chunks), separator, looked)
        if self._found > limit or (self._found < 0 and size > limit):
            raise ValueError(f"no {separator!r} within {limit} bytes")
        if self._found < 0 and ended and size == self.size:
            self._found = size
            if not size:
                self.wait(0)  # raises what `fail` was given
        return self._found >= 0

    def _lacks(self, size: int) -> bool:
        """Whether there is no more than `size` bytes, and more may come."""
        if self._closed:
            raise ValueError("the stream has been closed")
        return self.size <= size and not self._ended

    def transfer(self, source: ChunkedStream, timeout: float | None = None) -> int:
        """Moves what is in `source` now, without copying it; how many bytes. Waits for room, as `push`.

        The caller is the consumer of `source` and the producer of this one.
        """
        moved = 0
        for _ in range(len(source._chunks)):
            self.push(source._chunks[0], timeout)
            moved += len(source._take(-1))
        return moved

    def read_nowait(self, n: int = -1) -> bytes:
        """At most `n` bytes of what is there; b"" when there is nothing, ended or not."""
        parts = []
        while n and self._chunks:
            parts.append(self._take(n))
            n -= len(parts[-1]) if n >= 0 else 0
        return b"".join(parts)

    def view(self, n: int = -1, timeout: float | None = None) -> memoryview:
        """The next chunk, or `n` bytes of it, without copying, and takes it; an empty view at the end. Waits."""
        return self._take(n) if n and self.wait(timeout) else memoryview(b"")

    def __iter__(self) -> Iterator[memoryview]:
        """The chunks as they come, until the end."""
        chunks = self._chunks
        while (chunks and not self._closed) or self.wait():
            yield self._take(-1)

    def peek(self) -> memoryview:
        """The chunk that comes next, which stays; empty when there is none now."""
        return self._chunks[0] if self._chunks else memoryview(b"")

    def copy(self, start: int, n: int) -> bytes:
        """A copy of up to `n` bytes from `start` bytes ahead, of what is there; all of it stays."""
        if start < 0 or n < 0:
            raise ValueError(f"copy({start}, {n}): neither may be negative")
        parts = []
        for chunk in list(self._chunks):
            if start < len(chunk):
                part = chunk[start : start + n]
                parts.append(part)
                n -= len(part)
                if not n:
                    break
            start = max(0, start - len(chunk))
        return b"".join(parts)

    def erase(self, n: int) -> int:
        """Drops up to `n` bytes of what is there; how many."""
        left = n
        while left > 0 and self._chunks:
            left -= len(self._take(left))
        return n - left

    def _take(self, n: int) -> memoryview:
        # Of the first chunk, there is one; n < 0: all of it.
        chunk = self._chunks[0]
        if 0 <= n < len(chunk):
            self._chunks[0] = chunk[n:]  # the producer touches the other end only
            chunk = chunk[:n]
        else:
            self._chunks.popleft()
        self._taken += len(chunk)
        waiter = self._room_wanted
        if waiter is not None and self._pushed - self._taken < self._most:
            self._room_wanted = None
            waiter.wake()
        return chunk

    def close(self) -> None:
        """The consumer wants no more: what is there is dropped, and the producer gets StreamBroken. May be repeated."""
        self._closed = True
        self._taken = self._pushed
        self._chunks.clear()
        for waiter in (self._room_wanted, self._wanted):
            if waiter is not None:
                waiter.wake()

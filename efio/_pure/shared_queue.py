"""The queue between processes in Python, the twin of _shared_queue.pyx: the same interface, but a mutex.

The mutex is flock(2) of the segment's file, by a description of its own for each section: the kernel lets go of it when
its holder is killed. What was begun then does not count, for each step ends with one store of 8 bytes: a message is
in when `head` says so, and out when `tail` does. Who waits looks again, at intervals that grow to `LOOK`.

Lanes as there: each process puts into one of its own. Layout of the head, from `_peers.TABLE` on: `ended` (8 bytes),
then for each lane head, tail, puts and gets (8 bytes each). A message: length and tag (4 bytes each), then its bytes,
up to a multiple of 8.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import pickle
import struct
import time
from collections.abc import Callable, Iterable, Iterator
from queue import Empty, Full
from typing import Any

from efio import _peers
from efio._gevent import sleep
from efio._peers import Memory
from efio._queues_types import ShutDown
from efio.segments import Segment, locked

__all__ = ["KIND", "Core", "bytes_for", "lane_offset"]

KIND = 101  # not that of the compiled one: the two do not understand each other
HEAD = (_peers.TABLE + 8 + _peers.PLACES * 32 + 4095) // 4096 * 4096
FIRST, LOOK = 0.0002, 0.005  # seconds between two looks of somebody who waits: at first, at most
RAW, PICKLED, MSGPACK = 0, 1, 2
U64 = struct.Struct("=Q")
MESSAGE = struct.Struct("=II")


def bytes_for(lane_bytes: int) -> int:
    """Size of the segment of a queue whose lanes have so many bytes."""
    return HEAD + _peers.PLACES * lane_bytes


def lane_offset(_lane_bytes: int) -> int:
    """Where the lanes begin."""
    return HEAD


class Core:
    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bytes: Any = memoryview(memory)
        self.lane_bytes = _peers.check(memory, KIND)[0]
        self.max_message = self.lane_bytes // 2 - MESSAGE.size
        self.closed = False
        self._next = 0  # the lane to look at first
        self._enter()

    def _enter(self) -> None:
        self._lane = _peers.enter(self._memory)
        self._forks = _peers.fork_count()
        self.puts = self.gets = self.waits = 0

    def setup(
        self, segment: Segment, encode: Callable[[Any], bytes] | None, decode: Callable[[bytes], Any] | None
    ) -> None:
        self._segment = segment
        self._encode, self._decode = encode, decode
        self._reserve()

    def _reserve(self) -> None:
        self._segment.reserve(0, HEAD)
        self._segment.reserve(HEAD + self._lane * self.lane_bytes, self.lane_bytes)

    def _check(self) -> None:
        if self.closed:
            raise ValueError("this SharedQueue has been closed in this process")
        if self._forks != _peers.fork_count():  # the place is the parent's
            self._enter()
            self._reserve()

    def leave(self) -> None:
        if not self.closed:
            self.closed = True
            if self._forks == _peers.fork_count():
                _peers.leave(self._memory, self._lane)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self._segment.fd))
            except OSError:
                self._check()  # closed meanwhile
                raise
            yield

    # --- the numbers of the head

    def _number(self, lane: int, which: int) -> int:
        found: int = U64.unpack_from(self._bytes, _peers.TABLE + 8 + lane * 32 + which * 8)[0]
        return found

    def _store(self, lane: int, which: int, value: int) -> None:
        U64.pack_into(self._bytes, _peers.TABLE + 8 + lane * 32 + which * 8, value)

    @property
    def ended(self) -> int:
        found: int = U64.unpack_from(self._bytes, _peers.TABLE)[0]
        return found

    def end(self, how: int) -> None:
        self._check()
        with self._alone():
            U64.pack_into(self._bytes, _peers.TABLE, max(how, self.ended))

    def size(self) -> int:
        # Who is killed between two numbers has counted a message that is not there, or is not gone: positions decide.
        lanes = ([self._number(lane, which) for which in range(4)] for lane in range(_peers.PLACES))
        return sum(max(1, puts - gets) for head, tail, puts, gets in lanes if head != tail)

    def totals(self) -> tuple[int, int, int]:
        lanes = [[self._number(lane, which) for which in range(4)] for lane in range(_peers.PLACES)]
        return sum(n[2] for n in lanes), sum(n[3] for n in lanes), sum(n[0] - n[1] for n in lanes)

    # --- the bytes of a lane

    def _parts(self, lane: int, at: int, n: int) -> Iterator[Any]:
        """One or two views of n bytes from a position that counts on beyond the end."""
        start = HEAD + lane * self.lane_bytes
        at %= self.lane_bytes
        first = min(n, self.lane_bytes - at)
        yield self._bytes[start + at : start + at + first]
        yield self._bytes[start : start + n - first]

    def _write(self, lane: int, at: int, data: bytes) -> None:
        done = 0
        for part in self._parts(lane, at, len(data)):
            part[:] = data[done : done + len(part)]
            done += len(part)

    def _read(self, lane: int, at: int, n: int) -> bytes:
        return b"".join(self._parts(lane, at, n))

    # --- one step each

    def _try_put(self, data: bytes, tag: int) -> bool:
        if len(data) > self.max_message:
            raise ValueError(
                f"a message of {len(data)} bytes: this queue takes at most {self.max_message}; "
                f"make it with capacity={4 * len(data)} or so"
            )
        message = MESSAGE.pack(len(data), tag) + data + bytes(-len(data) % 8)
        with self._alone():
            if self.ended:
                raise ShutDown
            head, tail = self._number(self._lane, 0), self._number(self._lane, 1)
            if head - tail + len(message) > self.lane_bytes:
                return False
            self._write(self._lane, head, message)
            puts = self._number(
                self._lane, 2 if head != tail else 3
            )  # an empty lane has no message, whatever was counted
            self._store(self._lane, 2, puts + 1)
            self._store(self._lane, 0, head + len(message))
        self.puts += 1
        return True

    def _try_get(self, most: int) -> list[tuple[bytes, int]]:
        found: list[tuple[bytes, int]] = []
        with self._alone():
            if self.ended == 2:
                raise ShutDown
            for step in range(_peers.PLACES):
                lane = (self._next + step) % _peers.PLACES
                while len(found) < most and self._number(lane, 0) != self._number(lane, 1):
                    found.append(self._take(lane))
                    self._next = lane + 1
                if len(found) == most:
                    break
            if not found and self.ended:
                raise ShutDown
        self.gets += len(found)
        return found

    def _take(self, lane: int) -> tuple[bytes, int]:
        tail = self._number(lane, 1)
        size, tag = MESSAGE.unpack(self._read(lane, tail, MESSAGE.size))
        if size > self.max_message:
            raise OSError(errno.EBADMSG, "the memory of this SharedQueue is damaged: somebody has written into it")
        data = self._read(lane, tail + MESSAGE.size, size)
        self._store(lane, 3, self._number(lane, 3) + 1)
        self._store(lane, 1, tail + MESSAGE.size + size + -size % 8)
        return data, tag

    # --- messages

    def _encoded(self, item: Any) -> tuple[bytes, int]:
        if self._encode is not None:
            return self._encode(item), MSGPACK
        return (item, RAW) if type(item) is bytes else (pickle.dumps(item, 5), PICKLED)

    def _decoded(self, data: bytes, tag: int) -> Any:
        if tag == MSGPACK and self._decode is not None:
            return self._decode(data)
        if tag in (RAW, PICKLED) and self._decode is None:
            return data if tag == RAW else pickle.loads(data)
        raise ValueError(
            "a message of another kind: the process that put it opened this queue "
            + ("with type=..., this one did not" if tag == MSGPACK else "without type=..., this one has it")
        )

    # --- waiting

    def _pauses(self, block: bool, timeout: float | None, over: type[Exception]) -> Iterator[float]:
        """How long to pause before each look but the first; raises `over` when time is."""
        if timeout is not None and timeout < 0 and block:
            raise ValueError("'timeout' must be a non-negative number")
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST
        while True:
            left = None if deadline is None else deadline - time.monotonic()
            if not block or (left is not None and left <= 0):
                raise over
            self.waits += 1
            yield pause if left is None else min(pause, left)
            self._check()
            pause = min(LOOK, pause * 2)

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self._check()
        data, tag = self._encoded(item)
        pauses = self._pauses(block, timeout, Full)
        while not self._try_put(data, tag):
            sleep(next(pauses))

    async def aput(self, item: Any, timeout: float | None) -> None:
        self._check()
        data, tag = self._encoded(item)
        pauses = self._pauses(True, timeout, Full)
        while not self._try_put(data, tag):
            await asyncio.sleep(next(pauses))

    def put_many(self, items: Iterable[Any], block: bool, timeout: float | None) -> int:
        self._check()
        pauses = self._pauses(block, timeout, Full)
        total = 0
        for item in items:
            data, tag = self._encoded(item)
            try:
                while not self._try_put(data, tag):
                    sleep(next(pauses))
            except Full:
                break
            total += 1
        return total

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        return self.get_many(1, block, timeout)[0]

    def get_many(self, most: int, block: bool, timeout: float | None) -> list[Any]:
        self._check()
        if most < 1:
            raise ValueError(f"get_many({most}): at least one message must be wanted")
        pauses = self._pauses(block, timeout, Empty)
        while not (found := self._try_get(most)):
            sleep(next(pauses))
        return [self._decoded(data, tag) for data, tag in found]

    async def aget(self, timeout: float | None) -> Any:
        self._check()
        pauses = self._pauses(True, timeout, Empty)
        while not (found := self._try_get(1)):
            await asyncio.sleep(next(pauses))
        return self._decoded(*found[0])

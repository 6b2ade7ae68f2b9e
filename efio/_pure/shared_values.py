"""Counters, arenas and maps in shared segments in Python, the twins of _shared_values.pyx: the same, but with a mutex.

The mutex is flock(2) of the segment's file, of which the kernel lets go when its holder is killed. Each change ends
with one small store that makes it count: what somebody was killed in has not happened.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from efio import _peers
from efio._peers import Memory
from efio.segments import Segment, locked

__all__ = [
    "ARENA_HEAD",
    "COUNTER",
    "COUNTERS_HEAD",
    "COUNTERS_KIND",
    "MAP_KIND",
    "MEMORY_KIND",
    "Arena",
    "Counters",
    "Map",
    "map_bytes",
]

COUNTERS_KIND, MAP_KIND, MEMORY_KIND = 102, 103, 104  # not those of the compiled ones
COUNTERS_HEAD, COUNTER = _peers.TABLE, 8
ARENA_HEAD = _peers.TABLE + 64
I64 = struct.Struct("=q")
ENTRY = struct.Struct("=BBxxIIIII")  # state; which value counts; bytes of the key; bytes and tag of either value
FREE, USED, GONE = 0, 1, 2


class _Twin:
    segment: Segment  # set by whoever made it

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._bytes: Any = memoryview(memory)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with locked(self.segment.fd):
            yield


def _signed(value: int) -> int:
    """Within 64 bits; they wrap."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


class Counters(_Twin):
    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self._n = _peers.check(memory, COUNTERS_KIND)[0]

    def _at(self, index: int, *numbers: int) -> int:
        if any(not -(1 << 63) <= number < 1 << 63 for number in numbers):
            raise OverflowError("a counter has 64 bits")
        place = index + self._n if index < 0 else index
        if not 0 <= place < self._n:
            raise IndexError(f"counter {index}: there are {self._n}")
        return COUNTERS_HEAD + place * COUNTER

    def add(self, index: int, n: int) -> int:
        at = self._at(index, n)
        with self._alone():
            value = _signed(I64.unpack_from(self._bytes, at)[0] + n)
            I64.pack_into(self._bytes, at, value)
        return value

    def get(self, index: int) -> int:
        found: int = I64.unpack_from(self._bytes, self._at(index))[0]
        return found

    def set(self, index: int, value: int) -> None:
        at = self._at(index, value)
        with self._alone():
            I64.pack_into(self._bytes, at, value)

    def compare_exchange(self, index: int, old: int, new: int) -> bool:
        at = self._at(index, old, new)
        with self._alone():
            same: bool = I64.unpack_from(self._bytes, at)[0] == old
            if same:
                I64.pack_into(self._bytes, at, new)
        return same


class Arena(_Twin):
    @property
    def taken(self) -> int:
        found: int = I64.unpack_from(self._bytes, _peers.TABLE)[0]
        return found

    def take(self, size: int, align: int) -> int | None:
        with self._alone():
            at = (self.taken + align - 1) & -align
            if at + size > len(self._bytes) - ARENA_HEAD:
                return None
            I64.pack_into(self._bytes, _peers.TABLE, at + size)
        return at


def map_bytes(entries: int, key_max: int, value_max: int) -> int:
    """Size of the segment of a map."""
    return _peers.TABLE + entries * (ENTRY.size + key_max + 2 * value_max)


class Map(_Twin):
    """Open addressing. An entry has two places for its value: the new one is written beside the old one."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        entries, key_max, value_max, _ = _peers.check(memory, MAP_KIND)
        self.limits = (entries, key_max, value_max)
        self._entry_bytes = ENTRY.size + key_max + 2 * value_max

    def _entry(self, index: int) -> tuple[int, tuple[int, ...]]:
        at = _peers.TABLE + index * self._entry_bytes
        return at, ENTRY.unpack_from(self._bytes, at)

    def _key(self, at: int, size: int) -> bytes:
        return bytes(self._bytes[at + ENTRY.size : at + ENTRY.size + size])

    def _value(self, at: int, which: int) -> int:
        return at + ENTRY.size + self.limits[1] + which * self.limits[2]

    def _content(self, at: int, entry: tuple[int, ...]) -> tuple[bytes, int]:
        which = entry[1]
        start = self._value(at, which)
        return bytes(self._bytes[start : start + entry[3 + 2 * which]]), entry[4 + 2 * which]

    def _find(self, key: bytes) -> tuple[int, int]:
        """Where the key lies, or -1; and where it may be put, or -1."""
        place = -1
        first = zlib.crc32(key)
        for step in range(self.limits[0]):
            at, entry = self._entry((first + step) % self.limits[0])
            if entry[0] == USED and self._key(at, entry[2]) == key:
                return at, at
            if entry[0] != USED and place < 0:
                place = at
            if entry[0] == FREE:
                break
        return -1, place

    def _read(self, at: int) -> tuple[bytes, int] | None:
        return None if at < 0 else self._content(at, ENTRY.unpack_from(self._bytes, at))

    def __len__(self) -> int:
        return sum(self._entry(index)[1][0] == USED for index in range(self.limits[0]))

    def get(self, key: bytes) -> tuple[bytes, int] | None:
        with self._alone():
            return self._read(self._find(key)[0])

    def replace(
        self, key: bytes, value: bytes, tag: int, only_new: bool, old: tuple[bytes, int] | None
    ) -> tuple[bytes, int] | None:
        with self._alone():
            at, place = self._find(key)
            was = self._read(at)
            if not (only_new and was is not None) and (old is None or was == old):
                if place < 0:
                    raise OverflowError(
                        f"the SharedMap is full: it has room for {self.limits[0]} entries; make it with entries=..."
                    )
                self._put(place, at < 0, key, value, tag)
        return was

    def _put(self, at: int, fresh: bool, key: bytes, value: bytes, tag: int) -> None:
        entry = list(ENTRY.unpack_from(self._bytes, at))
        which = 0 if fresh else 1 - entry[1]
        start = self._value(at, which)
        self._bytes[start : start + len(value)] = value
        entry[3 + 2 * which : 5 + 2 * which] = len(value), tag
        if fresh:
            self._bytes[at + ENTRY.size : at + ENTRY.size + len(key)] = key
            entry[1], entry[2] = 0, len(key)
        ENTRY.pack_into(self._bytes, at, *entry)
        self._bytes[at + 1] = which  # these two make it count
        self._bytes[at] = USED

    def remove(self, key: bytes) -> tuple[bytes, int] | None:
        with self._alone():
            at, _ = self._find(key)
            was = self._read(at)
            if at >= 0:
                self._bytes[at] = GONE
        return was

    def items(self) -> list[tuple[bytes, bytes, int]]:
        with self._alone():
            entries = [self._entry(index) for index in range(self.limits[0])]
            return [(self._key(at, e[2]), *self._content(at, e)) for at, e in entries if e[0] == USED]

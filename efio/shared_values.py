"""Memory, counters and a map of small values that processes share; any of them may be killed at any instruction.

The algorithms: efio/native/shared_values.h. Segments, names and how they are removed: efio/segments.py.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import weakref
from collections.abc import ItemsView, Iterator, MutableMapping, ValuesView
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from efio import _peers
from efio._impl import PYTHON
from efio._peers import Memory
from efio.segments import Segment, reduce

if TYPE_CHECKING or not PYTHON:
    from efio import _shared_values
else:
    from efio._pure import shared_values as _shared_values

__all__ = ["SharedCounters", "SharedMap", "SharedMapStatistics", "SharedMemory"]

T = TypeVar("T")
B = TypeVar("B", bound="_Shared")
_known: weakref.WeakValueDictionary[int, _Shared] = weakref.WeakValueDictionary()  # by id: a mapping has no hash


class _Shared:
    """What the three have in common: a segment and a place in its table of processes."""

    KIND: int

    def _open(self, name: str | None, size: int, shape: tuple[int, ...]) -> None:
        if name is None:
            segment = Segment.anonymous(self.KIND, size, shape)
            self._begin(segment, _peers.enter(segment.memory))
            return
        segment, place = Segment.named(name, self.KIND, size, shape, lambda memory, _shape: _peers.enter(memory))
        self._begin(segment, place)
        if (found := segment.shape[: len(shape)]) != shape:
            self.close()
            raise ValueError(
                f"{type(self).__name__} {name!r} exists with {self._describe(found)}, not {self._describe(shape)}"
            )
        try:
            segment.reserve(0, size)
        except BaseException:
            self.close()
            raise

    def _begin(self, segment: Segment, place: int) -> None:
        self._segment = segment
        self._place = place
        self._closed = False
        self._attach(segment.memory)
        if PYTHON:
            cast("Any", self)._core.segment = segment  # whose file the twins lock
        _known[id(self)] = self

    def _attach(self, memory: Memory) -> None:
        raise NotImplementedError

    @staticmethod
    def _describe(shape: tuple[int, ...]) -> str:
        return f"{shape[0]}"

    @classmethod
    def of_descriptor(cls, fd: int) -> Self:
        """The one behind a descriptor that was inherited or received, and that belongs to it from now on.

        ValueError when that is something else.
        """
        return _rebuild(fd, None, cls)

    def fileno(self) -> int:
        """The descriptor of its memory, for ``pass_fds=`` of subprocess."""
        return self._segment.fd

    @property
    def name(self) -> str | None:
        """As given; None without one."""
        return self._segment.name

    @property
    def processes(self) -> tuple[int, ...]:
        """Pids of those that have it open."""
        return tuple(_peers.processes(self._segment.memory))

    def close(self) -> None:
        """This process has done with it. The last one removes the name. May be repeated."""
        if not self._closed:
            self._closed = True
            self._segment.leave(lambda: _peers.leave(self._segment.memory, self._place))
            self._segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # of one that was never whole, or at the end of the interpreter
            self.close()

    def __reduce__(self) -> Any:
        return reduce(self._segment, _rebuild, type(self))

    def _after_fork(self) -> None:
        if not self._closed:
            try:
                self._place = _peers.enter(self._segment.memory)
            except OSError:  # no place: it can be used all the same, but does not keep the name
                self._segment.name = None
                self._closed = True


def _rebuild(source: Any, name: str | None, cls: type[B]) -> B:
    made = cls.__new__(cls)
    if name is None:
        segment = Segment.of_descriptor(source if isinstance(source, int) else source.detach(), cls.KIND)
        made._begin(segment, _peers.enter(segment.memory))
        return made
    segment, place = Segment.named(name, cls.KIND, 0, (), lambda memory, _shape: _peers.enter(memory), create=False)
    made._begin(segment, place)
    return made


def _after_fork_in_child() -> None:
    for each in list(_known.values()):
        each._after_fork()


os.register_at_fork(after_in_child=_after_fork_in_child)


class SharedCounters(_Shared):
    """`n` counters (signed, 64 bits; they wrap), each changed by one atomic instruction, without any lock.

    ``counters.add(0)`` adds 1 to the first one and returns what it is then; ``counters[0]`` reads it. They begin at 0,
    and lie on cache lines of their own.

    Without `name` for the children of this process, with it for every process of this user that says it.
    ValueError: impossible `name` or `n`, or a name that is in use with another `n`. OSError: no memory or permission.
    """

    KIND = _shared_values.COUNTERS_KIND

    def __init__(self, n: int = 1, name: str | None = None) -> None:
        if not 1 <= n <= 1 << 20:
            raise ValueError(f"SharedCounters({n}): from 1 to {1 << 20} of them")
        self._open(name, _shared_values.COUNTERS_HEAD + n * _shared_values.COUNTER, (n,))

    def _attach(self, memory: Memory) -> None:
        core = _shared_values.Counters(memory)
        self._core = core
        self._n = self._segment.shape[0]
        self._add = core.add

    def add(self, index: int = 0, n: int = 1) -> int:
        """Adds `n` to a counter; its value then. IndexError when there is none, OverflowError beyond 64 bits."""
        return self._add(index, n)

    def compare_exchange(self, index: int, old: int, new: int) -> bool:
        """Makes a counter `new` if it is `old`; whether it was."""
        return self._core.compare_exchange(index, old, new)

    def __getitem__(self, index: int) -> int:
        return self._core.get(index)

    def __setitem__(self, index: int, value: int) -> None:
        self._core.set(index, value)

    def __len__(self) -> int:
        return self._n

    def __repr__(self) -> str:
        return f"<SharedCounters {self.name or ''} {[self[i] for i in range(min(self._n, 8))]}>"


class SharedMemory(_Shared):
    """`size` bytes, all zeros at first, as a memoryview (``buf``); and an arena: `take` hands out pieces of it.

    Pieces handed out to different callers, of any process, never overlap (one atomic addition); there is no giving
    back, all of it goes when the last process closes it. What is in it is ordered by nobody: that is up to its users.
    Unlike multiprocessing.shared_memory, nothing stays behind when processes are killed, and no process's end takes it
    away from the others.

    ValueError: impossible `name` or `size`, or a name that is in use with another size. OSError: no memory or
    permission.
    """

    KIND = _shared_values.MEMORY_KIND

    def __init__(self, size: int, name: str | None = None) -> None:
        if size < 1:
            raise ValueError(f"SharedMemory({size}): at least one byte")
        self._open(name, _shared_values.ARENA_HEAD + size, (size,))

    def _attach(self, memory: Memory) -> None:
        self._core = _shared_values.Arena(memory)
        head = _shared_values.ARENA_HEAD
        self.buf = memoryview(cast("Any", memory))[head : head + self._segment.shape[0]]

    @staticmethod
    def _describe(shape: tuple[int, ...]) -> str:
        return f"{shape[0]} bytes"

    @property
    def size(self) -> int:
        """Bytes."""
        return self._segment.shape[0]

    @property
    def taken(self) -> int:
        """Bytes that `take` has handed out, with the gaps for alignment."""
        return self._core.taken

    def take(self, size: int, align: int = 8) -> tuple[int, memoryview]:
        """A piece of `size` bytes that nobody else gets: its offset in ``buf``, and a view of it.

        MemoryError when there is not as much left; ValueError when `align` is no power of two.
        """
        if align < 1 or align & (align - 1) or size < 0:
            raise ValueError(f"take({size}, align={align}): a size of 0 or more, aligned to a power of two")
        at = self._core.take(size, align)
        if at is None:
            raise MemoryError(f"{size} bytes wanted, {self.size - self.taken} of {self.size} are left")
        return at, self.buf[at : at + size]

    def close(self) -> None:
        """This process has done with it. Views of it can be used on, and keep the memory. May be repeated."""
        if not self._closed:
            super().close()
            with contextlib.suppress(BufferError):
                self.buf.release()

    def __repr__(self) -> str:
        return f"<SharedMemory {self.name or ''} {self.size} bytes>"


@dataclass(frozen=True)
class SharedMapStatistics:
    """What `SharedMap.statistics` tells."""

    size: int  # entries
    entries: int  # for how many there is room
    key_bytes: int  # of the longest key
    value_bytes: int  # of the longest value
    processes: tuple[int, ...]


_RAW, _PICKLED = 0, 1


class _Items(ItemsView[str, Any]):
    """Key and value together, as they were: another process may remove a key before its value is asked for."""

    _mapping: SharedMap

    def __iter__(self) -> Iterator[tuple[str, Any]]:
        return self._mapping._entries()


class _Values(ValuesView[Any]):
    _mapping: SharedMap

    def __iter__(self) -> Iterator[Any]:
        return (value for _key, value in self._mapping._entries())


class SharedMap(_Shared, MutableMapping[str, Any]):
    """Small values by name, for several processes: settings, states, results; a `dict` of limited size.

    There is room for `entries` (a power of two is made of it), for keys of `key_bytes` (as UTF-8) and values of
    `value_bytes`: ``bytes`` as they are, anything else as a pickle, so share it only with processes that you trust. A
    value is replaced as a whole: readers, who take no lock, see the old one or the new one, also when the writer is
    killed in between. Iterating sees each entry as it is when its turn comes.

    ValueError: a key or value that is too long, an impossible name or size, a name that is in use with other sizes.
    OverflowError: a new key when it is full. OSError: no memory or permission.
    """

    KIND = _shared_values.MAP_KIND

    def __init__(
        self, name: str | None = None, *, entries: int = 1024, key_bytes: int = 64, value_bytes: int = 256
    ) -> None:
        if not (1 <= entries <= 1 << 24 and 1 <= key_bytes <= 1 << 20 and 1 <= value_bytes <= 1 << 20):
            raise ValueError(
                f"a SharedMap of {entries} entries, keys of {key_bytes} and values of {value_bytes} bytes: "
                f"there may be from 1 to {1 << 24} entries, and from 1 to {1 << 20} bytes"
            )
        shape = (1 << (entries - 1).bit_length(), key_bytes, value_bytes)
        self._open(name, _shared_values.map_bytes(*shape), shape)

    def _attach(self, memory: Memory) -> None:
        self._core = _shared_values.Map(memory)

    @staticmethod
    def _describe(shape: tuple[int, ...]) -> str:
        return f"{shape[0]} entries of {shape[1]} + {shape[2]} bytes"

    def _key(self, key: str) -> bytes:
        if not isinstance(key, str):
            raise TypeError(f"keys of a SharedMap are str, not {type(key).__name__}")
        data = key.encode()
        if len(data) > self._core.limits[1]:
            raise ValueError(f"a key of {len(data)} bytes: at most {self._core.limits[1]} here; see key_bytes")
        return data

    def _encoded(self, value: Any) -> tuple[bytes, int]:
        data, tag = (value, _RAW) if type(value) is bytes else (pickle.dumps(value, 5), _PICKLED)
        if len(data) > self._core.limits[2]:
            raise ValueError(f"a value of {len(data)} bytes: at most {self._core.limits[2]} here; see value_bytes")
        return data, tag

    def _decoded(self, found: tuple[bytes, int]) -> Any:
        return found[0] if found[1] == _RAW else pickle.loads(found[0])

    def __getitem__(self, key: str) -> Any:
        found = self._core.get(self._key(key))
        if found is None:
            raise KeyError(key)
        return self._decoded(found)

    def __setitem__(self, key: str, value: Any) -> None:
        self._core.replace(self._key(key), *self._encoded(value), False, None)

    def __delitem__(self, key: str) -> None:
        if self._core.remove(self._key(key)) is None:
            raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        for key, _value, _tag in self._core.items():
            yield key.decode()

    def __len__(self) -> int:
        return len(self._core)

    def _entries(self) -> Iterator[tuple[str, Any]]:
        for key, value, tag in self._core.items():
            yield key.decode(), self._decoded((value, tag))

    def items(self) -> ItemsView[str, Any]:
        """As of a `dict`, but a snapshot is taken when it is iterated over: others may write meanwhile."""
        return _Items(self)

    def values(self) -> ValuesView[Any]:
        """See `items`."""
        return _Values(self)

    def setdefault(self, key: str, default: Any = None) -> Any:
        """What the key has; `default`, which it has from now on, if it had nothing. One step for all processes."""
        found = self._core.replace(self._key(key), *self._encoded(default), True, None)
        return default if found is None else self._decoded(found)

    def pop(self, key: str, *default: Any) -> Any:
        """Removes a key; what it had. One step: of several callers one gets it."""
        found = self._core.remove(self._key(key))
        if found is not None:
            return self._decoded(found)
        if default:
            return default[0]
        raise KeyError(key)

    def compare_exchange(self, key: str, old: Any, new: Any) -> bool:
        """Makes a value `new` if it is `old` (compared as stored: as ``bytes`` or pickles); whether it was."""
        before = self._encoded(old)
        return self._core.replace(self._key(key), *self._encoded(new), False, before) == before

    def statistics(self) -> SharedMapStatistics:
        """How it is."""
        return SharedMapStatistics(len(self), *self._core.limits, self.processes)

    def __repr__(self) -> str:
        return f"<SharedMap {self.name or ''} {len(self)} of {self._core.limits[0]} entries>"

"""A queue between processes: many producers, many consumers, any of which may be killed at any instruction.

The algorithm and its invariants: efio/native/shared_queue.h. Segments and their names: efio/segments.py.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, cast

from efio import _peers
from efio._impl import PYTHON
from efio._peers import Memory
from efio.segments import Segment, reduce

if TYPE_CHECKING or not PYTHON:
    from efio import _shared_queue
else:
    from efio._pure import shared_queue as _shared_queue

__all__ = ["SharedQueue", "SharedQueueStatistics"]

T = TypeVar("T")
SMALLEST, LARGEST = 1 << 12, 1 << 30
DEFAULT = 1 << 20


@dataclass(frozen=True)
class SharedQueueStatistics:
    """What `SharedQueue.statistics` tells. A process that was killed may leave the sums off by one."""

    size: int  # messages that are in it
    bytes_used: int  # by them, with 8 to 15 bytes for each
    capacity: int  # bytes for each process that puts
    puts: int  # messages, by all processes, since it was made
    gets: int
    own_puts: int  # by this process
    own_gets: int
    own_waits: int  # how often this process waited
    processes: tuple[int, ...]  # pids that have it open
    ended: bool  # shutdown() was called


class SharedQueue(Generic[T]):
    """First in, first out for each process that puts; with the interface of `queue.Queue`.

    Without `name`, it is for the children of this process: forked ones have it, multiprocessing passes it on as an
    argument, and others can be given its descriptor (`fileno`, `of_descriptor`). With a name, any process of this user
    that says the name has it; see efio.segments for what becomes of the name.

    Each process that puts has `capacity` bytes of its own (a power of two is made of it; default 1 MiB), so a fast one
    does not keep others out; a message may have half of that. Memory is taken when it is first used. At most 64
    processes may have it open at a time.

    ``bytes`` travel as they are, anything else as a pickle: share a queue only with processes that you trust as you
    trust your own code. With `type`, messages are encoded with msgspec (as MessagePack) and must fit the type when they
    are got: ``SharedQueue(type=Order)``; nothing is ever unpickled then.

    `put` and `get` may be called from plain threads and from greenlets (which switch), `aput` and `aget` from tasks of
    asyncio. A process that is killed loses what it had got and not dealt with, nothing else; others go on at once, in
    rare cases after 0.05 s. One that is stopped (SIGSTOP) in the middle of `get` keeps others from the messages of one
    producer until it goes on or is killed.

    ValueError: impossible `name` or `capacity`, or a name that is in use with another capacity. OSError: no memory,
    no permission, 64 processes, another pid namespace.
    """

    def __init__(self, name: str | None = None, *, capacity: int | None = None, type: type[T] | None = None) -> None:
        if capacity is not None and not SMALLEST <= capacity <= LARGEST:
            raise ValueError(f"capacity={capacity}: must be from {SMALLEST} to {LARGEST} bytes")
        lane = 1 << ((capacity or DEFAULT) - 1).bit_length()
        size = _shared_queue.bytes_for(lane)
        if name is None:
            segment = Segment.anonymous(_shared_queue.KIND, size, (lane,))
            self._begin(segment, _shared_queue.Core(segment.memory), type)
            return
        segment, core = Segment.named(name, _shared_queue.KIND, size, (lane,), _enter)
        if capacity is not None and segment.shape[0] != lane:
            segment.leave(core.leave)
            segment.close()
            raise ValueError(
                f"the queue {name!r} exists with a capacity of {segment.shape[0]} bytes, not {lane}; "
                "leave capacity out to take it as it is"
            )
        self._begin(segment, core, type)

    def _begin(self, segment: Segment, core: _shared_queue.Core, type: type[T] | None) -> None:
        self._segment = segment
        self._core = core
        self._type = type
        try:
            core.setup(segment, *_codec(type))
        except BaseException:
            self.close()
            raise
        # The native methods themselves, without a frame of Python in between.
        self.put: Callable[..., None] = core.put
        self.get: Callable[..., T] = core.get

    @classmethod
    def of_descriptor(cls, fd: int, *, type: type[T] | None = None) -> SharedQueue[T]:
        """The queue behind a descriptor that was inherited or received; the descriptor belongs to it from now on.

        ValueError when it is not one of a queue.
        """
        return _rebuild(fd, None, type)

    def fileno(self) -> int:
        """The descriptor of its memory, for ``pass_fds=`` of subprocess."""
        return self._segment.fd

    @property
    def name(self) -> str | None:
        """As given; None without one."""
        return self._segment.name

    @property
    def capacity(self) -> int:
        """Bytes for each process that puts."""
        return self._core.lane_bytes

    def put_nowait(self, item: T) -> None:
        """`put`, if it can be done at once; else `queue.Full`."""
        self._core.put(item, False)

    def get_nowait(self) -> T:
        """`get`, if it can be done at once; else `queue.Empty`."""
        return cast("T", self._core.get(False))

    async def aput(self, item: T, timeout: float | None = None) -> None:
        """`put` for tasks of asyncio."""
        await self._core.aput(item, timeout)

    async def aget(self, timeout: float | None = None) -> T:
        """`get` for tasks of asyncio."""
        return cast("T", await self._core.aget(timeout))

    def put_many(self, items: Iterable[T], block: bool = True, timeout: float | None = None) -> int:
        """Puts all items, in order; how many were put, which is less when time is over (`timeout` seconds)."""
        return self._core.put_many(items, block, timeout)

    def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[T]:
        """What is there, at most `most` messages and at least one, for which it waits. `queue.Empty` as `get`.

        Those got stay together: a process that is killed before it has dealt with them loses them all.
        """
        return self._core.get_many(most, block, timeout)

    def qsize(self) -> int:
        """Messages that are in it, now; as an estimate, for others are at it."""
        return self._core.size()

    def empty(self) -> bool:
        """Whether there are none, now."""
        return self.qsize() == 0

    def shutdown(self, immediate: bool = False) -> None:
        """Ends it for all processes, as `queue.Queue.shutdown`: `put` raises `ShutDown`, `get` when it is empty.

        With `immediate`, `get` raises at once.
        """
        self._core.end(2 if immediate else 1)

    def statistics(self) -> SharedQueueStatistics:
        """How it is and what has passed through it."""
        core = self._core
        puts, gets, used = core.totals()
        return SharedQueueStatistics(
            size=core.size(), bytes_used=used, capacity=core.lane_bytes, puts=puts, gets=gets, own_puts=core.puts,
            own_gets=core.gets, own_waits=core.waits, processes=tuple(_peers.processes(self._segment.memory)),
            ended=core.ended > 0,
        )  # fmt: skip

    def close(self) -> None:
        """This process has done with it; what it has put stays. Whoever waits here gets ValueError. May be repeated."""
        if not self._core.closed:
            self._segment.leave(self._core.leave)
            self._segment.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # of one that was never whole, or at the end of the interpreter
            self.close()

    def __reduce__(self) -> Any:
        return reduce(self._segment, _rebuild, self._type)

    def __repr__(self) -> str:
        if self._core.closed:
            return f"<SharedQueue {self.name or ''} closed>"
        return f"<SharedQueue {self.name or f'of descriptor {self.fileno()}'}, {self.qsize()} messages>"


def _enter(memory: Memory, _shape: tuple[int, int, int, int]) -> _shared_queue.Core:
    return _shared_queue.Core(memory)


def _codec(type: type[Any] | None) -> tuple[Callable[[Any], bytes] | None, Callable[[bytes], Any] | None]:
    if type is None:
        return None, None
    import msgspec

    return msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder(type).decode


def _rebuild(source: Any, name: str | None, type: type[T] | None) -> SharedQueue[T]:
    queue: SharedQueue[T] = SharedQueue.__new__(SharedQueue)
    if name is not None:
        queue._begin(*Segment.named(name, _shared_queue.KIND, 0, (), _enter, create=False), type)
        return queue
    fd = source if isinstance(source, int) else source.detach()
    segment = Segment.of_descriptor(fd, _shared_queue.KIND)
    queue._begin(segment, _shared_queue.Core(segment.memory), type)
    return queue

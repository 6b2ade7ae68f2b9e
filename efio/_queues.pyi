"""Types of the compiled module; the explanations are in _queues.pyx."""

from collections.abc import AsyncIterator, Iterable, Iterator
from queue import Empty as Empty
from queue import Full as Full
from types import GenericAlias
from typing import Any, Generic, TypeVar, final

from efio._queues_types import QueueStatistics

_T = TypeVar("_T")

class Channel(Generic[_T]):
    """What all queues have. Between greenlets of any hubs, asyncio tasks and threads at once; nobody is overtaken.

    Timeouts are in seconds; None waits for ever. Any object is an item, None too.
    """

    @property
    def maxsize(self) -> int:
        """Items; 0 or less: no limit. May be changed; what is in it stays."""

    @maxsize.setter
    def maxsize(self, value: int) -> None: ...
    def put(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """Full when there was no room within ``timeout``, or at once if not ``block``. ShutDown after shutdown().
        ValueError for a negative timeout."""

    def get(self, block: bool = True, timeout: float | None = None) -> _T:
        """Empty when there was no item within ``timeout``, or at once if not ``block``. ShutDown when it was shut down
        and nothing is left. ValueError for a negative timeout."""

    def put_nowait(self, item: _T) -> None: ...
    def get_nowait(self) -> _T: ...
    async def aput(self, item: _T, timeout: float | None = None) -> None:
        """put() for a task of asyncio."""

    async def aget(self, timeout: float | None = None) -> _T:
        """get() for a task of asyncio."""

    def put_many(self, items: Iterable[_T], timeout: float | None = None) -> int:
        """Puts one after the other; how many it could put within ``timeout`` (None: all of them)."""

    def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[_T]:
        """Waits for an item as get() does, and takes what else is there, up to ``most`` in all."""

    async def aget_many(self, most: int, timeout: float | None = None) -> list[_T]:
        """The same for a task of asyncio."""

    def __iter__(self) -> Iterator[_T]:
        """Gets until the queue is shut down."""

    def __aiter__(self) -> AsyncIterator[_T]: ...
    def qsize(self) -> int: ...
    def empty(self) -> bool: ...
    def full(self) -> bool: ...
    def shutdown(self, immediate: bool = False) -> None:
        """Nothing can be put any more, and who waits to put gets ShutDown; get() goes on until nothing is left.

        ``immediate``: what is left is dropped, and counts as done for join().
        """

    def close(self, immediate: bool = False) -> None:
        """The same."""

    @property
    def is_shutdown(self) -> bool: ...
    def statistics(self) -> QueueStatistics: ...
    def __class_getitem__(cls, item: Any, /) -> GenericAlias: ...

@final
class SimpleQueue(Channel[_T]):
    """First in, first out, without a limit; the interface of queue.SimpleQueue, and shutdown()."""

class Queue(Channel[_T]):
    """First in, first out; the interface of queue.Queue as of Python 3.13."""

    def __init__(self, maxsize: int = 0) -> None: ...
    @property
    def unfinished_tasks(self) -> int: ...
    def task_done(self) -> None:
        """An item that was got has been dealt with. ValueError when called more often than items were put."""

    def join(self, timeout: float | None = None) -> bool:
        """Waits until every item that was put was reported as done. False: timeout."""

    async def ajoin(self, timeout: float | None = None) -> bool:
        """The same for a task of asyncio."""

class LifoQueue(Queue[_T]):
    """Last in, first out; the interface of queue.LifoQueue."""

class PriorityQueue(Queue[_T]):
    """The smallest first; the interface of queue.PriorityQueue. Items are compared while a lock is held."""

@final
class Stack(Channel[_T]):
    """Last in, first out, without task_done()."""

    def __init__(self, maxsize: int = 0) -> None: ...
    def push(self, item: _T, block: bool = True, timeout: float | None = None) -> None:
        """put()"""

    def pop(self, block: bool = True, timeout: float | None = None) -> _T:
        """get()"""

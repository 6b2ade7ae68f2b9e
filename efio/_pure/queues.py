"""Queues in Python: the twins of _queues.pyx, which has the explanations.

Each step is a section of the guard, a mutex. Nobody waits inside.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from queue import Empty, Full
from types import GenericAlias
from typing import Any

from efio._pure.parking import Waiter, allocate_lock
from efio._queues_types import QueueStatistics, ShutDown

__all__ = ["Channel", "LifoQueue", "PriorityQueue", "Queue", "SimpleQueue", "Stack"]

NOTHING, ENDED = object(), object()


def _usable(timeout: float | None) -> float | None:
    if timeout is not None and timeout < 0:
        raise ValueError("'timeout' must be a non-negative number")
    return timeout


class Channel:
    def __init__(self, maxsize: int = 0) -> None:
        self._limit = maxsize
        self.unfinished_tasks = 0
        self._guard = allocate_lock()
        self._items: Any = deque()
        self._getters: deque[Waiter] = deque()
        self._putters: deque[Waiter] = deque()
        self._joiners: deque[Waiter] = deque()
        self._puts = 0
        self._ended = self._dropped = False

    # --- storage, inside the guard

    def _store(self, item: Any) -> None:
        self._items.append(item)

    def _store_back(self, item: Any) -> None:
        self._items.appendleft(item)

    def _fetch(self) -> Any:
        return self._items.popleft()

    # --- one step each

    def _offer(self, item: Any, waiting: Waiter | None = None) -> bool:
        with self._guard:
            if self._ended:
                raise ShutDown
            if 0 < self._limit <= len(self._items):
                if waiting is not None:
                    self._putters.append(waiting)
                return False
            self._accept(item)
            return True

    def _accept(self, item: Any) -> None:
        while self._getters:
            w = self._getters.popleft()
            w.payload = item
            if w.wake():
                break
        else:
            self._store(item)
        self._puts += 1
        self.unfinished_tasks += 1

    def _poll(self, waiting: Waiter | None = None) -> Any:
        with self._guard:
            if not self._items:
                if self._ended:
                    raise ShutDown
                if waiting is not None:
                    self._getters.append(waiting)
                return NOTHING
            item = self._fetch()
            self._admit()
            return item

    def _admit(self) -> None:
        while self._putters and not self.full():
            w = self._putters.popleft()
            if w.wake():
                self._accept(w.payload)

    def _give_back(self, item: Any) -> None:
        if item is ENDED:
            return
        with self._guard:
            while self._getters:
                w = self._getters.popleft()
                w.payload = item
                if w.wake():
                    return
            if not self._dropped:
                self._store_back(item)
                return
        self._finished(1)

    def _finished(self, n: int) -> None:
        with self._guard:
            self.unfinished_tasks = max(0, self.unfinished_tasks - n)
            while not self.unfinished_tasks and self._joiners:
                self._joiners.popleft().wake()

    def _forget(self, waiters: deque[Waiter], w: Waiter) -> None:
        with self._guard:
            if w in waiters:
                waiters.remove(w)

    # --- waiting

    def _put(self, item: Any, timeout: float | None) -> None:
        w = Waiter()
        w.payload = item
        if not self._offer(item, w):
            try:
                woken = w.wait(timeout)
            finally:
                self._forget(self._putters, w)
            self._end_put(w, woken)

    @staticmethod
    def _end_put(w: Waiter, woken: bool) -> None:
        if not woken:
            raise Full
        if w.payload is ENDED:
            raise ShutDown

    def _get(self, timeout: float | None) -> Any:
        w = Waiter()
        item = self._poll(w)
        if item is not NOTHING:
            return item
        try:
            woken = w.wait(timeout)
        except BaseException:
            self._end_get(w)
            raise
        return self._got(w, woken)

    def _end_get(self, w: Waiter) -> None:
        self._forget(self._getters, w)
        if w.woken:
            self._give_back(w.payload)

    def _got(self, w: Waiter, woken: bool) -> Any:
        self._forget(self._getters, w)
        if not woken:
            raise Empty
        if w.payload is ENDED:
            raise ShutDown
        return w.payload

    # --- the interface

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        timeout = _usable(timeout) if block else None
        if not self._offer(item):
            if not block:
                raise Full
            self._put(item, timeout)

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        timeout = _usable(timeout) if block else None
        item = self._poll()
        if item is not NOTHING:
            return item
        if not block:
            raise Empty
        return self._get(timeout)

    def put_nowait(self, item: Any) -> None:
        self.put(item, block=False)

    def get_nowait(self) -> Any:
        return self.get(block=False)

    async def aput(self, item: Any, timeout: float | None = None) -> None:
        w = Waiter()
        w.payload = item
        if not self._offer(item, w):
            try:
                woken = await w.wait_async(_usable(timeout))
            finally:
                self._forget(self._putters, w)
            self._end_put(w, woken)

    async def aget(self, timeout: float | None = None) -> Any:
        w = Waiter()
        item = self._poll(w)
        if item is not NOTHING:
            return item
        try:
            woken = await w.wait_async(_usable(timeout))
        except BaseException:
            self._end_get(w)
            raise
        return self._got(w, woken)

    def put_many(self, items: Iterable[Any], timeout: float | None = None) -> int:
        n = 0
        for item in items:
            try:
                self.put(item, timeout=timeout)
            except Full:
                break
            n += 1
        return n

    def _more(self, item: Any, most: int) -> list[Any]:
        items = [item]
        try:
            while len(items) < most and (item := self._poll()) is not NOTHING:
                items.append(item)
        except ShutDown:
            pass
        except BaseException:
            while items:
                self._give_back(items.pop())
            raise
        return items

    def get_many(self, most: int, block: bool = True, timeout: float | None = None) -> list[Any]:
        if most < 1:
            raise ValueError(f"get_many: at least one, not {most}")
        return self._more(self.get(block, timeout), most)

    async def aget_many(self, most: int, timeout: float | None = None) -> list[Any]:
        if most < 1:
            raise ValueError(f"aget_many: at least one, not {most}")
        return self._more(await self.aget(timeout), most)

    def __iter__(self) -> Iterator[Any]:
        while True:
            try:
                item = self.get()
            except ShutDown:
                return
            yield item

    async def __aiter__(self) -> AsyncIterator[Any]:
        while True:
            try:
                item = await self.aget()
            except ShutDown:
                return
            yield item

    def qsize(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        return not self._items

    def full(self) -> bool:
        return 0 < self._limit <= len(self._items)

    def shutdown(self, immediate: bool = False) -> None:
        dropped = 0
        with self._guard:
            self._ended = True
            if immediate:
                self._dropped = True
                dropped = len(self._items)
                self._items.clear()
            for waiters in (self._putters, self._getters):
                while waiters:
                    w = waiters.popleft()
                    w.payload = ENDED
                    w.wake()
        self._finished(dropped)

    def close(self, immediate: bool = False) -> None:
        self.shutdown(immediate)

    @property
    def maxsize(self) -> int:
        return self._limit

    @maxsize.setter
    def maxsize(self, value: int) -> None:
        with self._guard:
            self._limit = value
            self._admit()

    @property
    def is_shutdown(self) -> bool:
        return self._ended

    def statistics(self) -> QueueStatistics:
        unfinished = self.unfinished_tasks if isinstance(self, Queue) else 0
        return QueueStatistics(
            len(self._items), self._limit, len(self._getters), len(self._putters), unfinished, self._puts, self._ended
        )

    __class_getitem__: Any = classmethod(GenericAlias)


class SimpleQueue(Channel):
    def __init__(self) -> None:
        super().__init__()


class Queue(Channel):
    def task_done(self) -> None:
        if self.unfinished_tasks <= 0:
            raise ValueError("task_done() called too many times")
        self._finished(1)

    def _queue_up(self, w: Waiter) -> bool:
        with self._guard:
            if self.unfinished_tasks:
                self._joiners.append(w)
                return True
            return False

    def join(self, timeout: float | None = None) -> bool:
        w = Waiter()
        while self._queue_up(w):
            try:
                if not w.wait(_usable(timeout)):
                    return False
            finally:
                self._forget(self._joiners, w)
            w = Waiter()
        return True

    async def ajoin(self, timeout: float | None = None) -> bool:
        w = Waiter()
        while self._queue_up(w):
            try:
                if not await w.wait_async(_usable(timeout)):
                    return False
            finally:
                self._forget(self._joiners, w)
            w = Waiter()
        return True


class _LastInFirstOut(Channel):
    def _fetch(self) -> Any:
        return self._items.pop()

    def _store_back(self, item: Any) -> None:
        self._items.append(item)


class LifoQueue(_LastInFirstOut, Queue):
    pass


class Stack(_LastInFirstOut):
    def push(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        self.put(item, block, timeout)

    def pop(self, block: bool = True, timeout: float | None = None) -> Any:
        return self.get(block, timeout)


class PriorityQueue(Queue):
    def __init__(self, maxsize: int = 0) -> None:
        super().__init__(maxsize)
        self._items = []

    def _store(self, item: Any) -> None:
        heapq.heappush(self._items, item)

    _store_back = _store

    def _fetch(self) -> Any:
        return heapq.heappop(self._items)

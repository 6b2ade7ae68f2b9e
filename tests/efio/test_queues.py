"""Queues: the standard library's own tests; between hubs, tasks and threads each item comes once and in order."""

import asyncio
import contextlib
import gc
import itertools
import queue
import threading
import time
import unittest
import weakref
from collections import Counter
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from efio import queues
from efio._impl import PYTHON
from efio.queues import Empty, Full, LifoQueue, PriorityQueue, Queue, ShutDown, SimpleQueue, Stack

standard = pytest.importorskip("test.test_queue", reason="this Python comes without its tests")

BOUNDED = [Queue, LifoQueue, PriorityQueue, Stack]
bounded = pytest.mark.parametrize("kind", BOUNDED)
every = pytest.mark.parametrize("kind", [SimpleQueue, *BOUNDED])


# --- the standard library's own tests. Not run: FailingQueueTest (overrides Queue._put and _get, which are no part of
# the interface), and what compares the classes with those of the module itself (test_is_default).


class TestStandardQueue(standard.QueueTest, unittest.TestCase):  # type: ignore[name-defined,misc]
    queue = queues


class TestStandardLifoQueue(standard.LifoQueueTest, unittest.TestCase):  # type: ignore[name-defined,misc]
    queue = queues


class TestStandardPriorityQueue(standard.PriorityQueueTest, unittest.TestCase):  # type: ignore[name-defined,misc]
    queue = queues


class TestStandardSimpleQueue(standard.BaseSimpleQueueTest, unittest.TestCase):  # type: ignore[name-defined,misc]
    queue = queues

    def setUp(self) -> None:
        self.type2test = SimpleQueue
        super().setUp()

    if not PYTHON:
        test_reentrancy = standard.CSimpleQueueTest.test_reentrancy


# --- one flow of control


@every
def test_none_and_false_are_items(kind: Any) -> None:
    q = kind()
    values: list[Any] = [0] if kind is PriorityQueue else [None, False, 0, "", Empty, NotImplemented]
    for value in values:
        q.put(value)
        assert q.get() is value
    q.put(values[0])
    assert q.get_many(9) == values[:1]


def test_order() -> None:
    kinds: dict[Any, list[int]] = {
        Queue: [3, 1, 2], SimpleQueue: [3, 1, 2], LifoQueue: [2, 1, 3], Stack: [2, 1, 3], PriorityQueue: [1, 2, 3]
    }  # fmt: skip
    for kind, expected in kinds.items():
        q = kind()
        assert q.put_many([3, 1, 2]) == 3
        assert q.get_many(5) == expected
    stack = Stack[int]()
    stack.push(1)
    stack.push(2)
    assert (stack.pop(), stack.pop()) == (2, 1)
    with pytest.raises(Empty):
        stack.pop(block=False)
    stack = Stack(1)
    stack.push(1)
    with pytest.raises(Full):
        stack.push(1, timeout=0)


@every
def test_against_a_model(kind: Any) -> None:
    """Whatever one thread puts and gets: as a list would have it. The ring grows and shrinks meanwhile."""
    import random

    chance = random.Random(5)
    q, model = kind(), list[int]()
    numbers = itertools.count()
    for burst in (3, 20, 5000, 40, 3):
        for _ in range(8):
            for _ in range(chance.randrange(burst)):
                n = next(numbers)
                q.put(n)
                model.append(n)
            for _ in range(chance.randrange(burst)):
                if not model:
                    with pytest.raises(Empty):
                        q.get_nowait()
                    break
                assert q.get() == model.pop(-1 if kind in (LifoQueue, Stack) else 0)
            assert q.qsize() == len(model)
            assert q.empty() == (not model)
    assert q.get_many(10**6, block=False) == (model[::-1] if kind in (LifoQueue, Stack) else model) if model else True


@bounded
def test_limit(kind: Any) -> None:
    q = kind(2)
    q.put(1)
    q.put(2)
    assert q.full()
    for attempt in (
        lambda: q.put_nowait(3), lambda: q.put(3, block=False),
        lambda: q.put(3, timeout=0), lambda: q.put(3, timeout=0.001),
    ):  # fmt: skip
        with pytest.raises(Full):
            attempt()
    assert q.put_many([3, 4], timeout=0) == 0
    assert sorted(q.get_many(9)) == [1, 2]
    assert q.maxsize == 2
    assert q.put_many([1, 2, 3], timeout=0.001) == 2
    with pytest.raises(ValueError, match="at least one"):
        q.get_many(0)


@every
def test_references(kind: Any) -> None:
    class Item:
        def __lt__(self, other: object) -> bool:
            return id(self) < id(other)

    q = kind()
    refs = []
    for _ in range(50):
        item = Item()
        refs.append(weakref.ref(item))
        q.put(item)
    del item
    for _ in range(20):
        q.get()
    assert sum(r() is not None for r in refs) == 30
    q.shutdown(immediate=True)
    assert not any(r() for r in refs)


@every
def test_a_queue_that_contains_itself_is_collected(kind: Any) -> None:
    class Item:
        queue: Any

    q, item = kind(), Item()
    item.queue = q
    ref = weakref.ref(item)
    q.put(item)
    del q, item
    gc.collect()
    assert ref() is None


@pytest.mark.skipif(PYTHON, reason="the twins have a mutex, as queue.Queue has")
@pytest.mark.parametrize("kind", [SimpleQueue, Queue, LifoQueue, Stack])
def test_from_destructors(kind: Any) -> None:
    """A garbage collection may come in anywhere, and put and get."""
    q = kind()
    numbers = itertools.count()

    class Node:
        me: Any

        def __del__(self) -> None:
            q.put(next(numbers))
            q.put(next(numbers))
            q.get()

    threshold = gc.get_threshold()
    gc.set_threshold(2)
    try:
        for _ in range(2000):
            node = Node()
            node.me = node
            del node
            q.put(next(numbers))
            with contextlib.suppress(Empty):
                q.get(timeout=0)
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    left = q.get_many(10**6)
    assert len(set(left)) == len(left) == 2000


# --- between all kinds of flows


@every
def test_wait_for_an_item(kind: Any) -> None:
    q = kind()
    waiting = [
        in_thread(q.get), in_thread(q.get, hub=True),
        in_thread(lambda: asyncio.run(q.aget())), in_thread(lambda: next(iter(q))),
    ]  # fmt: skip
    until(lambda: q.statistics().getters == 4)
    for n in range(4):
        q.put(n)
    assert sorted(w.result(PATIENCE) for w in waiting) == [0, 1, 2, 3]


@bounded
def test_wait_for_room(kind: Any) -> None:
    q = kind(1)
    q.put(0)
    waiting = [
        in_thread(lambda: q.put(1)), in_thread(lambda: q.put(2), hub=True), in_thread(lambda: asyncio.run(q.aput(3)))
    ]  # fmt: skip
    until(lambda: q.statistics().putters == 3)
    assert sorted(q.get(timeout=PATIENCE) for _ in range(4)) == [0, 1, 2, 3]
    for w in waiting:
        w.result(PATIENCE)
    assert q.empty()


@bounded
def test_a_raised_limit_lets_in_who_waits(kind: Any) -> None:
    q = kind(1)
    q.put(0)
    waiting = [in_thread(lambda n=n: q.put(n), hub=n % 2 == 1) for n in range(1, 4)]
    until(lambda: q.statistics().putters == 3)
    q.maxsize = 3
    until(lambda: q.qsize() == 3)
    q.maxsize = 0
    for w in waiting:
        w.result(PATIENCE)
    assert sorted(q.get_many(9)) == [0, 1, 2, 3]


def test_nobody_is_overtaken() -> None:
    """Getters are served in the order in which they came, whatever they are; putters, too."""
    q, got = Queue[int](1), list[tuple[int, int]]()
    waiting = []
    for n in range(6):
        waiting.append(in_thread(lambda n=n: got.append((n, q.get())), hub=n % 2 == 1))
        until(lambda n=n: q.statistics().getters == n + 1)
    for n in range(6):
        q.put(n)
    for w in waiting:
        w.result(PATIENCE)
    assert sorted(got) == [(n, n) for n in range(6)]
    q.put(0)
    waiting.clear()
    for n in range(1, 5):
        waiting.append(in_thread(lambda n=n: q.put(n), hub=n % 2 == 1))
        until(lambda n=n: q.statistics().putters == n)
    assert [q.get() for _ in range(5)] == list(range(5))
    for w in waiting:
        w.result(PATIENCE)


@pytest.mark.parametrize("maxsize", [0, 1, 7])
@pytest.mark.parametrize("kind", [SimpleQueue, Queue])
def test_each_item_once_and_in_the_order_of_its_producer(kind: Any, maxsize: int) -> None:
    if kind is SimpleQueue and maxsize:
        pytest.skip("has no limit")
    q = kind(maxsize) if maxsize else kind()
    each = 400 if PYTHON else 2000

    def produce(who: int) -> None:
        for n in range(each):
            q.put((who, n))

    async def produce_async(who: int) -> None:
        for n in range(each):
            await q.aput((who, n))

    def consume() -> list[tuple[int, int]]:
        return list(q)

    def consume_many() -> list[tuple[int, int]]:
        got: list[tuple[int, int]] = []
        with contextlib.suppress(ShutDown):
            while True:
                got += q.get_many(5)
        return got

    def consume_with_timeouts() -> list[tuple[int, int]]:
        got = []
        for n in itertools.count():
            try:
                got.append(q.get(timeout=n % 5 * 1e-5))
            except Empty:
                pass
            except ShutDown:
                return got
        return got

    async def consume_async() -> list[tuple[int, int]]:
        return [item async for item in q]

    def greenlets(function: Any) -> list[tuple[int, int]]:
        parts = [gevent.spawn(function) for _ in range(3)]
        gevent.joinall(parts, raise_error=True)
        return list(itertools.chain.from_iterable(p.value for p in parts))

    consuming = [
        in_thread(consume), in_thread(consume_many, hub=True), in_thread(lambda: greenlets(consume), hub=True),
        in_thread(lambda: asyncio.run(consume_async())), in_thread(consume_with_timeouts, hub=True),
    ]  # fmt: skip
    producing = [
        in_thread(lambda: produce(0)), in_thread(lambda: produce(1), hub=True),
        in_thread(lambda: asyncio.run(produce_async(2))),
    ]  # fmt: skip
    for p in producing:
        p.result(PATIENCE * 2)
    q.shutdown()
    got = [c.result(PATIENCE * 2) for c in consuming]
    count = Counter(itertools.chain.from_iterable(got))
    assert count == Counter((who, n) for who in range(3) for n in range(each))
    for part in (got[0], got[1], got[3], got[4]):  # by one consumer each
        for who in range(3):
            numbers = [n for w, n in part if w == who]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("kind", [PriorityQueue, LifoQueue, Stack])
def test_each_item_once(kind: Any) -> None:
    q, each = kind(3), 500

    def produce(who: int) -> None:
        for n in range(each):
            q.put(who * each + n)

    consuming = [in_thread(lambda: list(q), hub=hub) for hub in (False, True)]
    producing = [
        in_thread(lambda who=who, hub=hub: produce(who), hub=hub) for who, hub in enumerate((False, True, True))
    ]
    for p in producing:
        p.result(PATIENCE)
    q.shutdown()
    assert sorted(itertools.chain.from_iterable(c.result(PATIENCE) for c in consuming)) == list(range(3 * each))


# --- those who do not come through


def test_killed_getter_gives_its_item_back() -> None:
    """It was handed over while the hub did not come round; then the greenlet is killed."""
    q = Queue[str]()

    def serve() -> list[str]:
        got: list[str] = []
        killed = gevent.spawn(lambda: got.append(q.get() + " by the killed one"))
        gevent.sleep(0)
        in_thread(lambda: (q.put("first"), q.put("second"))).result(PATIENCE)
        killed.kill(block=False)
        killed.join()
        return got + q.get_many(2)

    got = in_thread(serve, hub=True).result(PATIENCE)
    assert got in (["first", "second"], ["first by the killed one", "second"])


def test_killed_putter() -> None:
    """Killed before it was served, its item is in no queue; the one behind it is served."""
    q = Queue[int](1)
    q.put(0)

    def serve() -> list[int]:
        killed, other = gevent.spawn(q.put, 1), gevent.spawn(q.put, 2)
        gevent.sleep(0)
        assert q.statistics().putters == 2
        killed.kill()
        got = [q.get(), q.get(timeout=PATIENCE)]
        other.get()
        return got

    assert in_thread(serve, hub=True).result(PATIENCE) == [0, 2]
    assert q.empty()
    assert q.statistics().putters == 0


def test_killed_putter_of_a_priority_queue_lets_the_next_one_try() -> None:
    q = PriorityQueue[int](1)
    q.put(0)

    def serve() -> None:
        killed, other = gevent.spawn(q.put, 1), gevent.spawn(q.put, 2)
        gevent.sleep(0)
        in_thread(q.get).result(PATIENCE)  # calls the first one; this hub has not come round
        killed.kill(block=False)
        gevent.sleep(0)
        with contextlib.suppress(Empty):
            while True:
                q.get(timeout=0.05)
        other.get(timeout=PATIENCE)

    in_thread(serve, hub=True).result(PATIENCE)


def test_cancelled_tasks() -> None:
    async def main() -> None:
        q = Queue[int](1)
        task = asyncio.ensure_future(q.aget())
        await asyncio.sleep(0)
        q.put(1)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert q.qsize() == 1, "given back"
        task = asyncio.ensure_future(q.aput(2))
        await asyncio.sleep(0)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert q.get_nowait() == 1
        assert q.empty()
        with pytest.raises(Empty):
            await q.aget(0.001)
        await q.aput(1)
        with pytest.raises(Full):
            await q.aput(2, 0.001)
        assert await q.aget_many(4) == [1]
        assert q.statistics().getters == q.statistics().putters == 0

    asyncio.run(main())


@bounded
def test_timeouts_race_with_items(kind: Any) -> None:
    q = kind(1)
    each = 300

    def produce() -> int:
        put = 0
        for n in range(each):
            with contextlib.suppress(Full):
                q.put(n, timeout=n % 7 * 2e-5)
                put += 1
        return put

    def consume() -> int:
        got = 0
        for n in range(each):
            with contextlib.suppress(Empty):
                q.get(timeout=n % 5 * 2e-5)
                got += 1
        return got

    consuming = [in_thread(consume, hub=hub) for hub in (False, True)]
    producing = [in_thread(produce, hub=hub) for hub in (False, True)]
    put, got = sum(p.result(PATIENCE) for p in producing), sum(c.result(PATIENCE) for c in consuming)
    assert got + q.qsize() == put == q.statistics().puts
    assert q.statistics().getters == q.statistics().putters == 0


# --- the end


@every
def test_shutdown(kind: Any) -> None:
    q = kind()
    q.put(1)
    q.put(2)
    q.shutdown()
    assert q.is_shutdown
    with pytest.raises(ShutDown):
        q.put(3)
    assert sorted([q.get(), q.get()]) == [1, 2]
    for get in (q.get, q.get_nowait, lambda: q.get(timeout=1), lambda: q.get_many(2), lambda: asyncio.run(q.aget())):
        with pytest.raises(ShutDown):
            get()
    assert list(q) == []
    q.close()
    if hasattr(queue, "ShutDown"):
        assert ShutDown is queue.ShutDown


def ends(function: Any, *arguments: Any) -> bool:
    """Whether it raises ShutDown. (What leaves a greenlet by an exception keeps its frames for gevent's traceback.)"""
    try:
        function(*arguments)
    except ShutDown:
        return True
    return False


@every
def test_shutdown_wakes_everybody(kind: Any) -> None:
    q = kind()
    waiting = [
        in_thread(lambda: ends(q.get)), in_thread(lambda: ends(q.get), hub=True),
        in_thread(lambda: ends(lambda: asyncio.run(q.aget()))),
    ]  # fmt: skip
    until(lambda: q.statistics().getters == 3)
    q.shutdown()
    assert [w.result(PATIENCE) for w in waiting] == [True] * 3
    if kind is SimpleQueue:
        return
    q = kind(1)
    q.put(1)
    waiting = [
        in_thread(lambda: ends(q.put, 2)), in_thread(lambda: ends(q.put, 2), hub=True),
        in_thread(lambda: ends(lambda: asyncio.run(q.aput(2)))),
    ]  # fmt: skip
    until(lambda: q.statistics().putters == 3)
    q.shutdown()
    assert [w.result(PATIENCE) for w in waiting] == [True] * 3
    assert q.get_many(5) == [1]


@pytest.mark.parametrize("kind", [Queue, LifoQueue, PriorityQueue])
def test_shutdown_and_join(kind: Any) -> None:
    q = kind()
    for n in range(3):
        q.put(n)
    q.get()
    joining = [in_thread(q.join), in_thread(q.join, hub=True), in_thread(lambda: asyncio.run(q.ajoin()))]
    assert q.join(timeout=0.001) is False
    assert asyncio.run(q.ajoin(0.001)) is False
    q.shutdown(immediate=True)
    assert q.qsize() == 0
    assert q.unfinished_tasks == 1
    q.task_done()
    assert [j.result(PATIENCE) for j in joining] == [True] * 3
    with pytest.raises(ValueError, match="too many"):
        q.task_done()


def test_statistics() -> None:
    q = Queue[int](5)
    q.put_many([1, 2, 3])
    q.get()
    q.task_done()
    assert q.statistics() == queues.QueueStatistics(2, 5, 0, 0, 2, 3, False)
    assert SimpleQueue[int]().statistics() == queues.QueueStatistics(0, 0, 0, 0, 0, 0, False)


def test_items_that_cannot_be_compared() -> None:
    q = PriorityQueue[Any]()
    q.put(1)
    with pytest.raises(TypeError):
        q.put("one")
    q.get_many(1)  # whatever comes first: it is not locked
    assert in_thread(lambda: q.put(5) if q.empty() else None).result(PATIENCE) is None


def test_a_slow_comparison_does_not_mix_things_up() -> None:
    """Comparisons let other threads run in the middle of a heap operation."""

    class Slow:
        def __init__(self, n: int) -> None:
            self.n = n

        def __lt__(self, other: "Slow") -> bool:
            time.sleep(0)
            return self.n < other.n

    q = PriorityQueue[Slow]()
    putting = [in_thread(lambda k=k: [q.put(Slow(n)) for n in range(k, 120, 3)], hub=k == 2) for k in range(3)]
    for p in putting:
        p.result(PATIENCE)
    getting = [in_thread(lambda: [q.get().n for _ in range(40)], hub=k == 2) for k in range(3)]
    got = [g.result(PATIENCE) for g in getting]
    assert sorted(itertools.chain.from_iterable(got)) == list(range(120))
    assert all(part == sorted(part) for part in got)


def test_without_waiting_threads_nothing_is_left() -> None:
    before = threading.active_count()
    q = Queue[int]()
    q.put(1)
    assert next(iter(q)) == 1
    assert threading.active_count() == before

"""Queues: each item exactly once, those of one producer in order, and no memory left."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from typing import Any

from efio import Empty, Lock, PriorityQueue, Queue, SimpleQueue, Stack
from stresslib import Scenario, Violation

SHIFT = 40  # an item is who << SHIFT | n


def in_threads(works: Iterable[Callable[[], None]]) -> None:
    """Runs all of them; the first error is raised."""
    errors: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


def in_hub(work: Callable[[], None]) -> Callable[[], None]:
    """The same in a greenlet of a hub of its own."""

    def run() -> None:
        import gevent

        try:
            gevent.spawn(work).get()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    return run


class Tally:
    """What the consumers saw: how many, their sum, and whether each producer's came in order."""

    def __init__(self, producers: int, ordered: bool = True) -> None:
        self.producers, self.ordered = producers, ordered
        self.counts: list[int] = []
        self.sums: list[int] = []

    def consume(self, items: Iterable[int]) -> None:
        last, count, total = [-1] * self.producers, 0, 0
        for item in items:
            who, n = item >> SHIFT, item & (1 << SHIFT) - 1
            if self.ordered and n <= last[who]:
                raise Violation(f"producer {who}: item {n} came after {last[who]}")
            last[who] = n
            count += 1
            total += item
        self.counts.append(count)
        self.sums.append(total)

    def verify(self, each: int) -> None:
        count, total = sum(self.counts), sum(self.sums)
        if count != each * self.producers:
            raise Violation(f"{each * self.producers} items were put, {count} got")
        expected = sum(each * (who << SHIFT) + each * (each - 1) // 2 for who in range(self.producers))
        if total != expected:
            raise Violation(f"the items got are not those that were put: sum {total} instead of {expected}")


def pairs(make: Callable[[], Any], ordered: bool = True) -> Callable[[int], str]:
    """Four threads; each puts one and gets one, again and again (the parameters of the original)."""

    def run(amount: int) -> str:
        q, tally, each = make(), Tally(4, ordered), amount // 4

        def work(who: int) -> None:
            put, get = q.put, q.get

            def items() -> Iterable[int]:
                for n in range(each):
                    put(who << SHIFT | n)
                    yield get()

            tally.consume(items())

        in_threads([lambda who=who: work(who) for who in range(4)])
        tally.verify(each)
        if not q.empty():
            raise Violation("something was left")
        return f"4 x {each:,} pairs"

    return run


def many(make: Callable[[], Any], *, hubs: bool, ordered: bool = True) -> Callable[[int], str]:
    """Four producers, four consumers, until shutdown; with hubs, half of each in greenlets of hubs."""

    def run(amount: int) -> str:
        q, tally, each = make(), Tally(4, ordered), amount // 4

        def produce(who: int) -> None:
            for n in range(each):
                q.put(who << SHIFT | n)

        producing = [lambda who=who: produce(who) for who in range(4)]
        consuming = [lambda: tally.consume(q)] * 4
        if hubs:
            producing[2:], consuming[2:] = map(in_hub, producing[2:]), map(in_hub, consuming[2:])

        def produce_all() -> None:
            try:
                in_threads(producing)
            finally:
                q.shutdown()

        in_threads([produce_all, *consuming])
        tally.verify(each)
        return f"4 x {each:,} items"

    return run


def pushes_and_pops(amount: int) -> str:
    """All pushed, then all popped by four threads, twice."""
    for _ in range(2):
        stack, popped, each = Stack[int](), [0] * 4, amount // 8

        def push(who: int, stack: Stack[int] = stack, each: int = each) -> None:
            for n in range(each):
                stack.push(who << SHIFT | n)

        def pop(who: int, stack: Stack[int] = stack, popped: list[int] = popped) -> None:
            try:
                while True:
                    stack.pop(block=False)
                    popped[who] += 1
            except Empty:
                pass

        in_threads([lambda who=who: push(who) for who in range(4)])
        in_threads([lambda who=who: pop(who) for who in range(4)])
        if sum(popped) != 4 * each:
            raise Violation(f"{4 * each} pushed, {sum(popped)} popped")
    return f"8 x {each:,} pushes and pops"


def locked(amount: int) -> str:
    """A number, incremented by four threads and eight greenlets of two hubs, in two steps."""
    import gevent

    lock, total = Lock(), [0]
    each = amount // 12

    def add() -> None:
        for n in range(each):
            with lock:
                seen = total[0]
                if n % 100 == 0 and threading.current_thread() in hubs:
                    gevent.sleep(0)
                total[0] = seen + 1

    hubs: set[threading.Thread] = set()

    def greenlets() -> None:
        hubs.add(threading.current_thread())
        gevent.joinall([gevent.spawn(add) for _ in range(4)], raise_error=True)

    in_threads(itertools.chain([add] * 4, [in_hub(greenlets)] * 2))
    if total[0] != 12 * each:
        raise Violation(f"{12 * each - total[0]} of {12 * each} additions were lost: two were in at the same time")
    return f"12 x {each:,} sections"


def small_priority_queue() -> PriorityQueue[int]:
    return PriorityQueue(100)


M = 2**20
SCENARIOS = [
    Scenario("pairs", "efio.Queue, 4 threads x 16 Mi put and get", 64 * M, pairs(Queue)),
    Scenario("simple", "efio.SimpleQueue, the same", 64 * M, pairs(SimpleQueue)),
    Scenario("bounded", "efio.Queue(100), 4 producers, 4 consumers", 4 * M, many(lambda: Queue(100), hubs=False)),
    Scenario("hubs", "efio.Queue(100), the same, half in greenlets", 2 * M, many(lambda: Queue(100), hubs=True)),
    Scenario("priority", "efio.PriorityQueue(100), the same", M, many(small_priority_queue, hubs=True, ordered=False)),
    Scenario("stack", "efio.Stack, 4 x 1 Mi pushes and pops", 4 * M, pushes_and_pops),
    Scenario("lock", "efio.Lock, 4 threads and 8 greenlets of 2 hubs", 2 * M, locked),
]  # fmt: skip

"""Semaphore, Event, Condition, RWLock, Once, atomics: the standard's own tests, and what holds across hubs, tasks."""

import asyncio
import contextlib
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
import standard
from flows import PATIENCE, in_thread, until

import efio
from efio.locks import Lock, RLock, SpinLock, TicketLock
from efio.sync import AtomicInt, AtomicRef, BoundedSemaphore, Condition, Event, Once, RWLock, Semaphore

lock_tests = standard.lock_tests()


# --- the standard library's own tests


class TestSemaphore(lock_tests.SemaphoreTests):  # type: ignore[name-defined,misc]
    semtype = staticmethod(Semaphore)


class TestBoundedSemaphore(lock_tests.BoundedSemaphoreTests):  # type: ignore[name-defined,misc]
    semtype = staticmethod(BoundedSemaphore)


class TestEvent(lock_tests.EventTests):  # type: ignore[name-defined,misc]
    eventtype = staticmethod(Event)
    test_at_fork_reinit = None  # looks into threading.Event


class TestCondition(lock_tests.ConditionTests):  # type: ignore[name-defined,misc]
    condtype = staticmethod(Condition)


class TestConditionOnLock(lock_tests.ConditionTests):  # type: ignore[name-defined,misc]
    condtype = staticmethod(lambda lock=None: Condition(lock or Lock()))
    test_acquire = None  # takes it twice


class TestConditionOfThreading(lock_tests.ConditionTests):  # type: ignore[name-defined,misc]
    condtype = staticmethod(lambda lock=None: Condition(lock or threading.RLock()))


class TestBarrier(lock_tests.BarrierTests):  # type: ignore[name-defined,misc]
    """threading.Barrier on our condition."""

    @staticmethod
    def barriertype(*arguments: Any, **keywords: Any) -> threading.Barrier:
        barrier = threading.Barrier(*arguments, **keywords)
        barrier._cond = Condition(Lock())  # type: ignore[attr-defined]
        return barrier


# --- owners


@pytest.mark.parametrize("kind", [TicketLock, SpinLock])
def test_locks_that_check_their_holder(kind: Any) -> None:
    lock = kind()
    with lock:
        assert lock.locked()
        with pytest.raises(RuntimeError, match="already"):
            lock.acquire()
        with pytest.raises(RuntimeError, match="not held by the caller"):
            in_thread(lock.release).result(PATIENCE)
        assert in_thread(lambda: lock.acquire(timeout=0.001)).result(PATIENCE) is False
        assert in_thread(lambda: lock.acquire(blocking=False), hub=True).result(PATIENCE) is False

        def serve() -> None:
            with pytest.raises(RuntimeError, match="not held"):
                gevent.spawn(lock.release).get()

        in_thread(serve, hub=True).result(PATIENCE)
    assert not lock.locked()
    with pytest.raises(RuntimeError, match="not held"):
        lock.release()


@pytest.mark.parametrize("kind", [TicketLock, SpinLock])
def test_exclusion(kind: Any) -> None:
    lock, total = kind(), [0]

    def add() -> None:
        for _ in range(200):
            with lock:
                seen = total[0]
                gevent.sleep(0) if threading.current_thread().name == "hub" else until(lambda: True)
                total[0] = seen + 1

    running = [in_thread(add, hub=hub) for hub in (False, True, True)]
    for r in running:
        r.result(PATIENCE)
    assert total == [600]


def test_ticket_lock_is_not_overtaken() -> None:
    """Who comes while somebody waits is behind him, also between the release and the wake-up."""
    lock, order = TicketLock(), list[str]()
    lock.acquire()

    def wait() -> None:
        with lock:
            order.append("waiter")

    waiting = in_thread(wait)
    until(lambda: lock.waiters == 1)
    lock.release()
    with lock:
        order.append("releaser")
    waiting.result(PATIENCE)
    assert order == ["waiter", "releaser"]


# --- semaphores and events


def flows(function: Callable[[], Any], asynchronous: Callable[[], Any]) -> list[Any]:
    """Runs it in a thread, a greenlet and a task."""
    return [in_thread(function), in_thread(function, hub=True), in_thread(lambda: asyncio.run(asynchronous()))]


def test_semaphore_between_all_kinds() -> None:
    s = Semaphore(0)
    running = flows(lambda: s.acquire(timeout=PATIENCE), lambda: s.acquire_async(PATIENCE))
    until(lambda: s.waiters == 3)
    s.release(2)
    s.release()
    assert [r.result(PATIENCE) for r in running] == [True] * 3
    assert s.value == 0


def test_event_between_all_kinds() -> None:
    e = Event()
    running = flows(lambda: e.wait(PATIENCE), lambda: e.wait_async(PATIENCE))
    until(lambda: e.waiters == 3)
    e.set()
    assert [r.result(PATIENCE) for r in running] == [True] * 3
    e.clear()
    assert [r.result(PATIENCE) for r in flows(lambda: e.wait(0.001), lambda: e.wait_async(0.001))] == [False] * 3
    assert e.waiters == 0


@pytest.mark.parametrize("what", ["semaphore", "condition"])
def test_killed_after_it_was_given_passes_it_on(what: str) -> None:
    s, c = Semaphore(0), Condition()

    def acquire() -> None:
        if what == "semaphore":
            s.acquire()
        else:
            with c:
                c.wait()

    def give() -> None:
        if what == "semaphore":
            s.release()
        else:
            with c:
                c.notify()

    def waiters() -> int:
        return s.waiters if what == "semaphore" else c.waiters

    def serve() -> int:
        first, second = gevent.spawn(acquire), gevent.spawn(acquire)
        gevent.sleep(0)
        assert waiters() == 2
        in_thread(give).result(PATIENCE)  # the first one was woken; this hub has not come round
        assert waiters() == 1
        first.kill(block=False)
        first.join()
        if first.value is None and first.successful() and waiters():  # it came through before it was killed
            give()
        second.get(timeout=PATIENCE)
        return waiters()

    assert in_thread(serve, hub=True).result(PATIENCE) == 0
    assert s.value == 0


def test_cancelled_task_gives_its_permit_back() -> None:
    async def main() -> None:
        s = Semaphore(0)
        task = asyncio.ensure_future(s.acquire_async())
        await asyncio.sleep(0)
        s.release()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert s.value == 1
        async with s:
            assert s.value == 0

    asyncio.run(main())


def test_condition_between_hubs_and_threads() -> None:
    """A bounded buffer: each item once."""
    c, items, got = Condition(), list[int](), list[int]()

    def produce() -> None:
        for n in range(300):
            with c:
                c.wait_for(lambda: len(items) < 3)
                items.append(n)
                c.notify_all()

    def consume() -> None:
        for _ in range(300):
            with c:
                assert c.wait_for(lambda: items, PATIENCE)
                got.append(items.pop(0))
                c.notify_all()

    running = [in_thread(f, hub=hub) for f in (produce, consume) for hub in (False, True)]
    for r in running:
        r.result(PATIENCE)
    assert sorted(got) == sorted([*range(300), *range(300)])


# --- reader-writer lock


def test_readers_share_and_writers_do_not() -> None:
    lock = RWLock()
    with lock.reading:
        assert in_thread(lambda: lock.acquire_read(timeout=0) and (lock.release_read(), True)[1]).result(PATIENCE)
        assert not in_thread(lambda: lock.acquire_write(timeout=0.001)).result(PATIENCE)
    with lock.writing:
        for hub in (False, True):
            assert not in_thread(lambda: lock.acquire_read(timeout=0.001), hub=hub).result(PATIENCE)
            assert not in_thread(lambda: lock.acquire_write(blocking=False), hub=hub).result(PATIENCE)
    assert lock.waiters == 0


def test_rwlock_goes_by_order_of_arrival() -> None:
    lock, order = RWLock(), list[str]()
    lock.acquire_read()

    def take(side: str, name: str) -> None:
        with getattr(lock, side):
            order.append(name)
            if name in ("r3", "r4"):
                both.wait(PATIENCE)  # both are in at the same time

    both = threading.Barrier(2)
    running = []
    for n, (side, name) in enumerate(
        [("writing", "w1"), ("writing", "w2"), ("reading", "r3"), ("reading", "r4"), ("writing", "w5")]
    ):
        running.append(in_thread(lambda side=side, name=name: take(side, name)))
        until(lambda n=n: lock.waiters == n + 1)
    lock.release_read()
    for r in running:
        r.result(PATIENCE)
    assert [*order[:2], *sorted(order[2:4]), *order[4:]] == ["w1", "w2", "r3", "r4", "w5"]


def test_rwlock_timeout_of_a_writer_lets_the_readers_behind_in() -> None:
    lock = RWLock()
    lock.acquire_read()
    give_up = threading.Event()

    def write() -> bool:
        done = False

        def killed() -> None:
            nonlocal done
            try:
                lock.acquire_write()
            except gevent.GreenletExit:
                done = True

        greenlet = gevent.spawn(killed)
        gevent.sleep(0)
        give_up.wait(PATIENCE)
        greenlet.kill()
        return done

    writing = in_thread(write, hub=True)
    until(lambda: lock.waiters == 1)
    reading = in_thread(lambda: lock.acquire_read(timeout=PATIENCE) and (lock.release_read(), True)[1])
    until(lambda: lock.waiters == 2)
    give_up.set()
    assert writing.result(PATIENCE)
    assert reading.result(PATIENCE)
    lock.release_read()


def test_rwlock_refuses_what_cannot_end_well() -> None:
    lock = RWLock()
    with lock.reading:
        with lock.reading:
            pass
        with pytest.raises(RuntimeError, match="release_read"):
            lock.acquire_write()
        with pytest.raises(RuntimeError, match="not held for writing"):
            lock.release_write()
        with pytest.raises(RuntimeError, match="not held for writing"):
            lock.downgrade()
    with lock.writing:
        for again in (lock.acquire_write, lock.acquire_read):
            with pytest.raises(RuntimeError, match="already"):
                again()
    with pytest.raises(RuntimeError, match="not held for reading"):
        lock.release_read()
    with pytest.raises(RuntimeError, match="not held for writing"):
        in_thread(lambda: (lock.acquire_write(), in_thread(lock.release_write).result(PATIENCE))).result(PATIENCE)
    lock._at_fork_reinit()
    assert lock.acquire_write(blocking=False)


def test_downgrade() -> None:
    lock = RWLock()
    lock.acquire_write()
    reading = in_thread(lambda: lock.acquire_read() and (lock.release_read(), True)[1])
    until(lambda: lock.waiters == 1)
    lock.downgrade()
    assert reading.result(PATIENCE)
    assert not in_thread(lambda: lock.acquire_write(timeout=0)).result(PATIENCE)
    lock.release_read()


def test_rwlock_under_stress() -> None:
    """Readers never see a half-written pair."""
    lock, pair = RWLock(), [0, 0]

    def write() -> None:
        for n in range(200):
            if lock.acquire_write(timeout=PATIENCE if n % 5 else 1e-6):
                pair[0] += 1
                until(lambda: True)
                pair[1] += 1
                lock.release_write()

    def read() -> None:
        for _ in range(300):
            with lock.reading:
                a, b = pair
                assert a == b

    running = [in_thread(f, hub=hub) for f in (write, read) for hub in (False, True)]
    for r in running:
        r.result(PATIENCE)
    assert pair[0] == pair[1] >= 320
    assert lock.waiters == 0


# --- once and atomics


def test_once() -> None:
    once, calls, begin = Once(), AtomicInt(), threading.Event()

    def slow(value: str) -> str:
        calls.add()
        assert begin.wait(PATIENCE)
        return value

    running = [in_thread(lambda n=n: once(slow, f"{n}"), hub=n % 2 == 1) for n in range(4)]
    until(lambda: calls.load() == 1)
    begin.set()
    results = {r.result(PATIENCE) for r in running}
    assert len(results) == 1
    assert calls.load() == 1
    assert once.done
    assert once(slow, "late") == results.pop()


def test_once_fails_and_is_tried_again() -> None:
    once = Once()
    with pytest.raises(ZeroDivisionError):
        once(lambda: 1 // 0)
    assert not once.done
    with pytest.raises(RuntimeError, match="calls the Once"):
        once(lambda: once(lambda: 1))
    assert once(lambda: 5) == 5


def test_atomic_int() -> None:
    n = AtomicInt(5)
    assert (n.add(2), n.fetch_add(-3), n.load(), int(n), n.exchange(10), n.load()) == (7, 7, 4, 4, 4, 10)
    assert n.compare_exchange(10, 11)
    assert not n.compare_exchange(10, 12)
    assert repr(n) == "AtomicInt(11)"
    n.store(2**63 - 1)
    for wrong in (lambda: n.add(1), lambda: n.store(2**63), lambda: AtomicInt(-(2**63) - 1)):
        with pytest.raises(OverflowError):
            wrong()
    assert n.load() == 2**63 - 1
    with pytest.raises((TypeError, AttributeError)):
        n.add("1")  # type: ignore[arg-type]


def test_atomic_int_counts_right() -> None:
    n = AtomicInt()
    running = [in_thread(lambda: [n.add() for _ in range(20000)]) for _ in range(4)]
    seen = [x for r in running for x in r.result(PATIENCE)]
    assert n.load() == 80000
    assert sorted(seen) == list(range(1, 80001)), "every sum was seen once"


def test_atomic_ref() -> None:
    one, two = object(), object()
    ref = AtomicRef(one)
    assert ref.load() is one
    assert not ref.compare_exchange(two, one)
    assert ref.compare_exchange(one, two)
    assert ref.exchange(one) is two
    ref.store(())
    running = [
        in_thread(lambda n=n: [ref.update(lambda t, i=i: (*t, (n, i))) for i in range(200)]) for n in range(3)
    ]  # fmt: skip
    for r in running:
        r.result(PATIENCE)
    pairs = ref.load()
    assert sorted(pairs) == [(n, i) for n in range(3) for i in range(200)]  # type: ignore[call-overload]


def test_rlock_is_the_condition_s_own() -> None:
    c = Condition()
    with c, c:
        assert not c.wait(0.001)
        assert c._is_owned()
    r = RLock()
    with Condition(r):
        assert r._is_owned()


def test_a_side_of_an_rwlock_may_be_kept() -> None:
    lock = RWLock()
    for side in (lock.reading, lock.writing):
        for _ in range(2):
            with side:
                assert lock.statistics().readers + lock.statistics().writing == 1
        assert lock.statistics() == efio.RWLockStatistics(readers=0, writing=False, waiting=0)


# --- statistics


def test_statistics() -> None:
    """Each tells its state and who waits."""
    lock, ticket, semaphore, event = efio.Lock(), efio.TicketLock(), efio.Semaphore(1), efio.Event()
    for one in (lock, ticket, semaphore):
        one.acquire()
    rw, condition, once = efio.RWLock(), efio.Condition(), efio.Once()
    rw.acquire_read()
    gate = efio.Event()

    def write() -> None:
        with rw.writing:
            pass

    def notified() -> None:
        with condition:
            condition.wait(PATIENCE)

    waits: list[tuple[Any, Callable[[], Any]]] = [
        (lock, lock.acquire),
        (ticket, lambda: (ticket.acquire(), ticket.release())),
        (semaphore, semaphore.acquire),
        (event, event.wait),
        (rw, write),
        (condition, notified),
        (once, lambda: once(gate.wait)),
        (once, lambda: once(gate.wait)),
    ]
    threads = []
    for _, wait in waits:
        threads.append(threading.Thread(target=wait))
        threads[-1].start()
    until(lambda: once.statistics() == efio.OnceStatistics(done=False, running=True, waiting=1))
    until(lambda: all(one.statistics().waiting == 1 for one, _ in waits))
    assert lock.statistics() == ticket.statistics() == efio.LockStatistics(held=True, waiting=1)
    assert semaphore.statistics() == efio.SemaphoreStatistics(value=0, waiting=1)
    assert event.statistics() == efio.EventStatistics(is_set=False, waiting=1)
    assert rw.statistics() == efio.RWLockStatistics(readers=1, writing=False, waiting=1)
    assert condition.statistics() == efio.ConditionStatistics(waiting=1)
    for end in (lock.release, ticket.release, semaphore.release, event.set, rw.release_read, gate.set):
        end()
    with condition:
        condition.notify()
    for thread in threads:
        thread.join(PATIENCE)
    assert lock.statistics() == efio.LockStatistics(held=True, waiting=0)
    assert event.statistics() == efio.EventStatistics(is_set=True, waiting=0)
    assert rw.statistics() == efio.RWLockStatistics(readers=0, writing=False, waiting=0)
    assert once.statistics() == efio.OnceStatistics(done=True, running=False, waiting=0)

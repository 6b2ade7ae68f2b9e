"""Lock and RLock: one holder at a time, nobody forgotten, between greenlets of several hubs, tasks and threads."""

import asyncio
import contextlib
import gc
import os
import threading
import weakref
from typing import Any

import gevent
import pytest
import standard
from flows import PATIENCE, in_thread, until

import efio
from efio.locks import Lock, RLock

locks = pytest.mark.parametrize("kind", [Lock, RLock])


# --- the standard library's own tests

lock_tests = standard.lock_tests()


class TestLock(lock_tests.LockTests):  # type: ignore[name-defined,misc]
    locktype = staticmethod(Lock)


class TestRLock(lock_tests.RLockTests):  # type: ignore[name-defined,misc]
    locktype = staticmethod(RLock)


def condition_on_ours(lock: Any = None) -> threading.Condition:
    return threading.Condition(lock or RLock())


class TestConditionOnRLock(lock_tests.ConditionTests):  # type: ignore[name-defined,misc]
    condtype = staticmethod(condition_on_ours)


# --- across hubs


@locks
def test_hand_over_to_another_hub_while_the_holder_burns_cpu(kind: Any) -> None:
    """The holder's hub releases and does not come round to its loop until the waiter in the other hub has gone on."""
    lock = kind()
    holding, passed = threading.Event(), threading.Event()

    def holder() -> None:
        with lock:
            holding.set()
            until_waiting(lock)
        while not passed.is_set():  # burns; its hub gets no turn
            pass

    def waiter() -> bool:
        assert holding.wait(PATIENCE)
        got = lock.acquire(timeout=PATIENCE)
        passed.set()
        lock.release()
        return bool(got)

    first, second = in_thread(holder, hub=True), in_thread(waiter, hub=True)
    assert second.result(PATIENCE)
    first.result(PATIENCE)


def until_waiting(lock: Any, n: int = 1) -> None:
    until(lambda: lock.waiters >= n)


@locks
def test_waiting_in_one_hub_blocks_no_other_greenlet_of_it(kind: Any) -> None:
    lock = kind()
    release = threading.Event()

    def holder() -> None:
        with lock:
            assert release.wait(PATIENCE)

    def serve() -> None:
        waiting = gevent.spawn(lock.acquire)
        gevent.spawn(lambda: gevent.sleep(0)).join()  # others run
        assert not waiting.ready()
        release.set()
        assert waiting.get() is True

    holding = in_thread(holder)
    until(lock.locked)
    in_thread(serve, hub=True).result(PATIENCE)
    holding.result(PATIENCE)


@locks
def test_exclusion(kind: Any) -> None:
    """Threads, greenlets of two hubs, and tasks add to a number in a way that loses additions without the lock."""
    lock, total = kind(), [0]
    each = 200

    def add() -> None:
        for n in range(each):
            with lock:
                seen = total[0]
                if n % 8 == 0:
                    gevent.sleep(0) if has_hub() else until(lambda: True)
                total[0] = seen + 1

    def greenlets() -> None:
        gevent.joinall([gevent.spawn(add) for _ in range(5)], raise_error=True)

    async def tasks() -> None:
        async def add_async() -> None:
            for _ in range(each):
                async with lock:
                    seen = total[0]
                    await asyncio.sleep(0)
                    total[0] = seen + 1

        await asyncio.gather(*(add_async() for _ in range(5)))

    running = [in_thread(greenlets, hub=True), in_thread(greenlets, hub=True), in_thread(add), in_thread(add)]
    n = 12
    if kind is Lock:
        running.append(in_thread(lambda: asyncio.run(tasks())))
        n += 5
    for r in running:
        r.result(PATIENCE)
    assert total == [n * each]
    assert not lock.locked()
    assert lock.waiters == 0


def has_hub() -> bool:
    from gevent._hub_local import get_hub_if_exists

    return get_hub_if_exists() is not None


def test_nobody_starves() -> None:
    """A waiter gets it although another thread takes it again and again, and holds it nearly all the time."""
    lock, stop = Lock(), threading.Event()

    def greedy() -> None:
        while not stop.is_set():
            with lock:
                sum(range(200))

    running = in_thread(greedy)
    for _ in range(20):
        assert lock.acquire(timeout=PATIENCE)
        lock.release()
    stop.set()
    running.result(PATIENCE)


@locks
def test_handed_over_before_the_next_one_has_come_round(kind: Any) -> None:
    """Who has been overtaken once is given the lock; until he runs, it is nobody else's, not even the releaser's."""
    for _ in range(100):
        lock, got, go_on = kind(), threading.Event(), threading.Event()

        def wait(lock: Any = lock, got: threading.Event = got, go_on: threading.Event = go_on) -> None:
            with lock:
                got.set()
                go_on.wait(PATIENCE)

        lock.acquire()
        waiting = in_thread(wait)
        until_waiting(lock)
        lock.release()
        overtaken = lock.acquire(blocking=False)
        if overtaken:
            until_waiting(lock)  # again
            lock.release()
            assert not lock.acquire(blocking=False)
        assert got.wait(PATIENCE)
        assert not lock.acquire(blocking=False)
        go_on.set()
        waiting.result(PATIENCE)
        if overtaken:
            return
    pytest.fail("nobody was ever overtaken")


def test_first_come_first_served() -> None:
    """Those who wait get it in their order, when nobody comes in between."""
    lock, order = Lock(), list[int]()
    lock.acquire()

    def wait(n: int) -> None:
        with lock:
            order.append(n)

    running = []
    for n in range(6):
        running.append(in_thread(lambda n=n: wait(n), hub=n % 2 == 1))
        until_waiting(lock, n + 1)
    lock.release()
    for r in running:
        r.result(PATIENCE)
    assert order == list(range(6))


@locks
def test_killed_waiter_passes_it_on(kind: Any) -> None:
    """Killed after it was given the lock, and before it ran: the next one gets it."""
    lock = kind()
    lock.acquire()

    def serve() -> str:
        got: list[str] = []

        def wait(name: str) -> None:
            with lock:
                got.append(name)

        first, second = gevent.spawn(wait, "first"), gevent.spawn(wait, "second")
        gevent.sleep(0)
        assert lock.waiters == 2
        released.set()
        until(lambda: lock.waiters == 1)  # first was woken; this hub has not come round
        first.kill(block=False)
        gevent.joinall([first, second])
        return " ".join(got)

    released = threading.Event()
    serving = in_thread(serve, hub=True)
    assert released.wait(PATIENCE)
    lock.release()
    assert serving.result(PATIENCE) in ("second", "first second")
    assert not lock.locked()
    assert lock.waiters == 0


def test_cancelled_task_passes_it_on() -> None:
    async def main() -> None:
        lock = Lock()
        lock.acquire()
        first, second = asyncio.ensure_future(lock.acquire_async()), asyncio.ensure_future(lock.acquire_async())
        await asyncio.sleep(0)
        lock.release()
        first.cancel()
        assert await second
        with contextlib.suppress(asyncio.CancelledError):
            await first
        assert first.cancelled()
        lock.release()
        assert not lock.locked()

    asyncio.run(main())


@locks
def test_timeouts_leave_nothing(kind: Any) -> None:
    lock = kind()
    lock.acquire()
    for hub in (False, True):
        assert in_thread(lambda: lock.acquire(timeout=0.001), hub=hub).result(PATIENCE) is False
        assert in_thread(lambda: lock.acquire(timeout=0), hub=hub).result(PATIENCE) is False
        assert in_thread(lambda: lock.acquire(blocking=False), hub=hub).result(PATIENCE) is False
    if kind is Lock:
        assert asyncio.run(lock.acquire_async(0.001)) is False
    assert lock.waiters == 0
    lock.release()
    assert lock.acquire(timeout=0)
    lock.release()


@locks
def test_timeouts_race_with_releases(kind: Any) -> None:
    lock = kind()

    def work() -> int:
        got = 0
        for n in range(300):
            if lock.acquire(timeout=n % 7 * 1e-5):
                got += 1
                if n % 3 == 0:
                    gevent.sleep(0) if has_hub() else until(lambda: True)
                lock.release()
        return got

    running = [in_thread(work, hub=hub) for hub in (False, True, True)]
    assert sum(r.result(PATIENCE) for r in running) > 0
    assert not lock.locked()
    assert lock.waiters == 0


# --- owners


def test_rlock_belongs_to_the_greenlet() -> None:
    lock = RLock()

    def serve() -> None:
        lock.acquire()
        lock.acquire()
        other = gevent.spawn(lambda: lock.acquire(blocking=False))
        assert other.get() is False, "another greenlet of the same thread is somebody else"

        def release() -> None:
            with pytest.raises(RuntimeError, match="cannot release un-acquired lock"):
                lock.release()

        gevent.spawn(release).get()
        lock.release()
        assert lock.locked()
        lock.release()
        assert not lock.locked()

    in_thread(serve, hub=True).result(PATIENCE)


def test_rlock_for_conditions() -> None:
    lock = RLock()
    with lock, lock:
        assert lock._is_owned()
        assert lock._recursion_count() == 2
        state = lock._release_save()
        assert not lock._is_owned()
        assert in_thread(lambda: (lock.acquire(timeout=0), lock.release())[0]).result(PATIENCE)
        lock._acquire_restore(state)
        assert lock._recursion_count() == 2
    assert not lock.locked()
    with pytest.raises(RuntimeError):
        lock._release_save()


@locks
def test_release_of_a_free_one(kind: Any) -> None:
    with pytest.raises(RuntimeError):
        kind().release()


def test_lock_may_be_released_by_anybody() -> None:
    lock = Lock()
    lock.acquire()
    in_thread(lock.release).result(PATIENCE)
    assert not lock.locked()


@locks
def test_wrong_arguments_take_nothing(kind: Any) -> None:
    lock = kind()
    for error, arguments in [
        (ValueError, {"blocking": False, "timeout": 1}),
        (ValueError, {"timeout": -2}),
        (ValueError, {"timeout": float("nan")}),
        (OverflowError, {"timeout": 1e12}),
        (TypeError, {"timeout": "soon"}),
    ]:
        with pytest.raises(error):
            lock.acquire(**arguments)
        assert not lock.locked()


@locks
def test_from_a_destructor_that_runs_while_the_lock_is_taken(kind: Any) -> None:
    """A garbage collection may run Python code anywhere, also where locks are taken (logging does that)."""
    lock, done = kind(), list[bool]()

    class Node:
        me: Any

        def __del__(self) -> None:
            done.append(lock.acquire(blocking=False))
            if done[-1]:
                lock.release()

    threshold = gc.get_threshold()
    gc.set_threshold(1)
    try:
        for _ in range(50):
            node = Node()
            node.me = node
            del node
            with lock:
                assert lock.locked()
    finally:
        gc.set_threshold(*threshold)
    gc.collect()
    assert len(done) == 50
    assert not lock.locked()


@locks
def test_after_a_fork(kind: Any) -> None:
    lock = kind()
    lock.acquire()
    pid = os.fork()
    if pid == 0:
        lock._at_fork_reinit()
        os._exit(0 if lock.acquire(blocking=False) else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert lock.locked()
    lock.release()


@locks
def test_repr_and_weak_references(kind: Any) -> None:
    lock = kind()
    assert repr(lock).startswith(f"<unlocked efio.{kind.__name__} object")
    with lock:
        assert repr(lock).startswith(f"<locked efio.{kind.__name__} object")
    ref = weakref.ref(lock)
    del lock
    assert ref() is None


def test_names() -> None:
    assert efio.Lock is Lock
    assert efio.RLock is RLock
    with pytest.raises(AttributeError, match="no attribute 'Lok'"):
        _ = efio.Lok  # type: ignore[attr-defined]

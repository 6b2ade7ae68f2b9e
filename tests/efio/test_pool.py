"""ThreadPool: each call is made once, and whoever waits for it is woken: greenlets, tasks, threads; until the end."""

import asyncio
import concurrent.futures
import ctypes
import gc
import os
import queue
import subprocess
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from concurrent.futures.thread import BrokenThreadPool
from typing import Any, Self

import gevent
import pytest
from flows import PATIENCE, in_thread, until

import efio
from efio.pool import ThreadPool

flows = pytest.mark.parametrize("hub", [False, True])


@pytest.fixture
def pool() -> Iterator[ThreadPool]:
    with ThreadPool(2) as pool:
        yield pool


class Gate:
    """Calls that wait, and how many have come so far. Opened at the end in any case."""

    def __init__(self, pool: ThreadPool, n: int) -> None:
        self.open = threading.Event()
        self.come = threading.Semaphore(0)
        self.futures = [pool.submit(self._wait) for _ in range(n)]

    def _wait(self) -> int:
        self.come.release()
        self.open.wait(PATIENCE)
        return threading.get_ident()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        for future in self.futures:
            future.result(PATIENCE)


def busy(pool: ThreadPool, n: int = 2) -> Gate:
    """All threads are in a call."""
    gate = Gate(pool, n)
    for _ in range(n):
        assert gate.come.acquire(timeout=PATIENCE)
    return gate


# --- calls


@flows
def test_results_and_errors(pool: ThreadPool, hub: bool) -> None:
    def use() -> None:
        assert pool.submit(divmod, 17, 5).result() == (3, 2)
        assert pool.submit(dict, a=1).result(PATIENCE) == {"a": 1}
        with pytest.raises(ZeroDivisionError):
            pool.submit(divmod, 1, 0).result()
        assert isinstance(pool.submit(divmod, 1, 0).exception(), ZeroDivisionError)
        assert pool.submit(threading.get_ident).result() != threading.get_ident()
        assert list(pool.map(pow, range(5), [2] * 5)) == [0, 1, 4, 9, 16]

    in_thread(use, hub=hub).result(PATIENCE)


def test_it_is_an_executor(pool: ThreadPool) -> None:
    assert isinstance(pool, concurrent.futures.ThreadPoolExecutor)
    assert isinstance(pool.submit(int), concurrent.futures.Future)
    assert efio.ThreadPool is ThreadPool


def test_each_call_is_made_once() -> None:
    seen: Counter[int] = Counter()
    with ThreadPool(4, queue_size=64) as pool:

        def submit(who: int) -> list[Any]:
            return [pool.submit(seen.update, [who * 1000 + n]) for n in range(1000)]

        submitting = [in_thread(lambda who=who: submit(who), hub=who > 1) for who in range(4)]
        for future in [f for s in submitting for f in s.result(PATIENCE)]:
            assert future.result(PATIENCE) is None
    assert set(seen.values()) == {1}
    assert len(seen) == 4000


def test_a_greenlet_that_waits_lets_others_run(pool: ThreadPool) -> None:
    turn = threading.Event()

    def use() -> object:
        waiting = gevent.spawn(pool.submit(turn.wait, PATIENCE).result)
        gevent.spawn(turn.set)  # runs only if the hub is not blocked
        return waiting.get()

    assert in_thread(use, hub=True).result(PATIENCE) is True


def test_timeouts(pool: ThreadPool) -> None:
    with busy(pool) as gate:
        for hub in (False, True):
            with pytest.raises(TimeoutError):
                in_thread(lambda: gate.futures[0].result(timeout=0.01), hub=hub).result(PATIENCE)
            with pytest.raises(TimeoutError):
                in_thread(lambda: gate.futures[0].exception(timeout=0), hub=hub).result(PATIENCE)


def test_await(pool: ThreadPool) -> None:
    async def use() -> None:
        assert await pool.submit(divmod, 17, 5) == (3, 2)
        with pytest.raises(ZeroDivisionError):
            await pool.submit(divmod, 1, 0)
        assert await asyncio.gather(*[asyncio.wrap_future(pool.submit(abs, -n)) for n in range(5)]) == [0, 1, 2, 3, 4]
        asyncio.get_running_loop().set_default_executor(pool)
        assert await asyncio.to_thread(abs, -1) == 1
        with busy(pool):
            cancelled = pool.submit(int)
            task = asyncio.ensure_future(cancelled)
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert cancelled.cancelled()
            with pytest.raises(asyncio.CancelledError):
                await cancelled

    asyncio.run(use())


def test_a_killed_greenlet_leaves_the_call_alone(pool: ThreadPool) -> None:
    def use() -> None:
        with busy(pool) as gate:
            waiting = gevent.spawn(gate.futures[0].result)
            gevent.sleep(0)
            waiting.kill()
        assert gate.futures[0].done()

    in_thread(use, hub=True).result(PATIENCE)


def test_cancel(pool: ThreadPool) -> None:
    with busy(pool) as gate:
        future = pool.submit(int)
        waiting = [in_thread(future.result, hub=hub) for hub in (False, True)]
        called: list[object] = []
        future.add_done_callback(called.append)
        assert not gate.futures[0].cancel()
        assert future.cancel()
        assert future.cancel()
        assert called == [future]
        for w in waiting:
            assert isinstance(w.exception(PATIENCE), concurrent.futures.CancelledError)


def test_callbacks_run_in_order_and_may_fail(pool: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    called: list[int] = []
    with busy(pool) as gate:
        gate.futures[0].add_done_callback(lambda _: called.append(1))
        gate.futures[0].add_done_callback(lambda _: called.append(1 // 0))
        gate.futures[0].add_done_callback(lambda _: called.append(2))
    until(lambda: len(called) == 2)
    assert called == [1, 2]
    assert "exception calling callback" in caplog.text
    assert pool.submit(int).result(PATIENCE) == 0  # the thread has survived


def test_a_call_that_raises_systemexit(pool: ThreadPool) -> None:
    assert isinstance(pool.submit(sys.exit, 1).exception(PATIENCE), SystemExit)
    assert pool.submit(int).result(PATIENCE) == 0


def test_a_result_that_somebody_else_has_set(pool: ThreadPool, caplog: pytest.LogCaptureFixture) -> None:
    with busy(pool) as gate:
        for future in gate.futures:
            future.set_result(5)
        assert [f.result(0) for f in gate.futures] == [5, 5]
    assert [pool.submit(int).result(PATIENCE) for _ in range(4)] == [0] * 4
    assert "Exception in worker" in caplog.text


# --- the standard library's ways of waiting


@flows
def test_wait_and_as_completed(pool: ThreadPool, hub: bool) -> None:
    def use() -> None:
        gate = busy(pool, 1)
        quick = pool.submit(int)
        done, rest = concurrent.futures.wait([*gate.futures, quick], PATIENCE, concurrent.futures.FIRST_COMPLETED)
        assert (done, rest) == ({quick}, set(gate.futures))
        if hub:
            gevent.spawn(gate.open.set)  # runs only if waiting lets it
        else:
            gate.open.set()
        assert set(concurrent.futures.as_completed([*gate.futures, quick], PATIENCE)) == {quick, *gate.futures}
        assert concurrent.futures.wait([*gate.futures, quick], PATIENCE).not_done == set()
        gate.__exit__()

    in_thread(use, hub=hub).result(PATIENCE)


def test_wait_for_what_ends_meanwhile(pool: ThreadPool) -> None:
    for _ in range(300):
        futures = [pool.submit(int) for _ in range(4)]
        assert concurrent.futures.wait(futures, PATIENCE).not_done == set()
        futures = [pool.submit(int) for _ in range(4)]
        assert set(concurrent.futures.as_completed(futures, PATIENCE)) == set(futures)


# --- the queue


@flows
def test_who_submits_waits_for_room(hub: bool) -> None:
    with ThreadPool(1, queue_size=2) as pool:
        with busy(pool, 1):
            for _ in range(2):
                pool.submit(int)
            submitting = [in_thread(lambda: pool.submit(int), hub=hub) for _ in range(3)]
            until(lambda: pool.statistics().waiting_submitters == 3)
            assert not any(s.done() for s in submitting)
            assert pool.statistics() == efio.PoolStatistics(1, 1, 0, 2, 2, 1, 3, 3, False)
        for s in submitting:
            assert s.result(PATIENCE).result(PATIENCE) == 0


def test_a_task_waits_for_room() -> None:
    async def use() -> None:
        with ThreadPool(1, queue_size=2) as pool:
            with busy(pool, 1):
                for _ in range(2):
                    await pool.submit_async(int)
                first, second = (asyncio.ensure_future(pool.submit_async(int)) for _ in range(2))
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert pool.statistics().waiting_submitters == 2
                first.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await first
            assert await (await second) == 0
            assert pool.statistics().submitted == 4

    asyncio.run(use())


def test_a_greenlet_that_is_killed_while_it_waits_for_room() -> None:
    with ThreadPool(1, queue_size=2) as pool:

        def use() -> None:
            with busy(pool, 1):
                for _ in range(2):
                    pool.submit(int)
                first, second = (gevent.spawn(pool.submit, int) for _ in range(2))
                gevent.sleep(0)
                first.kill()
            assert second.get().result() == 0

        in_thread(use, hub=True).result(PATIENCE)
        assert pool.statistics().waiting_submitters == 0


def test_its_own_threads_do_not_wait_for_room() -> None:
    with ThreadPool(1, queue_size=2) as pool:

        def call() -> None:
            for _ in range(3):
                pool.submit(int)

        with pytest.raises(queue.Full, match=r"room for 2 calls.*one of its own threads would wait for itself"):
            pool.submit(call).result(PATIENCE)
        assert pool.submit(int).result(PATIENCE) == 0


def test_threads_are_started_when_they_are_needed() -> None:
    with ThreadPool(3, thread_name_prefix="mine") as pool:
        for _ in range(3):
            pool.submit(int).result(PATIENCE)
        assert pool.statistics().workers == 1
        with busy(pool, 3):
            pool.submit(int)
            assert sorted(t.name for t in threading.enumerate() if t.name.startswith("mine")) == [
                "mine_0", "mine_1", "mine_2",
            ]  # fmt: skip
    assert pool.statistics().workers == 0


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"max_workers": 0}, ValueError, "max_workers must be greater than 0"),
        ({"initializer": 5}, TypeError, "initializer must be a callable"),
        ({"queue_size": 0}, ValueError, "queue_size=0: give a number of calls"),
    ],
)
def test_wrong_arguments(arguments: dict[str, Any], error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        ThreadPool(**arguments)


def test_a_subclass_without_init() -> None:
    class Mine(ThreadPool):
        def __init__(self) -> None:
            pass

    with pytest.raises((RuntimeError, AttributeError)):
        Mine().submit(int)


# --- native functions

LIBC = ctypes.CDLL(None)


def address(function: Any) -> int:
    value = ctypes.cast(function, ctypes.c_void_p).value
    assert value is not None
    return value


class Semaphore:
    """A semaphore of the C library: what waits for it there is in C, without the interpreter lock."""

    def __init__(self) -> None:
        self._memory = ctypes.create_string_buffer(64)
        self.address = ctypes.addressof(self._memory)
        LIBC.sem_init(ctypes.c_void_p(self.address), 0, 0)

    def post(self) -> None:
        LIBC.sem_post(ctypes.c_void_p(self.address))

    @property
    def value(self) -> int:
        number = ctypes.c_int()
        LIBC.sem_getvalue(ctypes.c_void_p(self.address), ctypes.byref(number))
        return number.value


@flows
def test_native_functions(pool: ThreadPool, hub: bool) -> None:
    counter = Semaphore()

    def use() -> None:
        for _ in range(1000):
            pool.run_native(address(LIBC.sem_post), counter.address)

    in_thread(use, hub=hub).result(PATIENCE)
    assert counter.value == 1000


def test_native_functions_and_calls_among_each_other() -> None:
    counter = Semaphore()
    with ThreadPool(3, queue_size=8) as pool:

        def use() -> int:
            return sum(
                pool.submit(abs, -1).result()
                if n % 2
                else pool.run_native(address(LIBC.sem_post), counter.address) or 0
                for n in range(1000)
            )

        using = [in_thread(use, hub=n > 1) for n in range(4)]
        assert [u.result(PATIENCE) for u in using] == [500] * 4
    assert counter.value == 2000


def test_who_is_killed_in_a_native_function_waits_for_its_end(pool: ThreadPool) -> None:
    turn = Semaphore()

    def use() -> None:
        waiting = gevent.spawn(pool.run_native, address(LIBC.sem_wait), turn.address)
        until(lambda: gevent.sleep(0) or pool.statistics().running == 1)
        waiting.kill(block=False)
        gevent.sleep(0.001)
        assert not waiting.dead
        turn.post()
        waiting.join()
        assert isinstance(waiting.value, gevent.GreenletExit)

    in_thread(use, hub=True).result(PATIENCE)


@flows
def test_a_native_function_that_is_cancelled(hub: bool) -> None:
    pool = ThreadPool(1)
    counter = Semaphore()
    with busy(pool, 1):
        waiting = [
            in_thread(lambda: pool.run_native(address(LIBC.sem_post), counter.address), hub=hub) for _ in range(3)
        ]
        until(lambda: pool.statistics().queued == 3)
        pool.shutdown(wait=False, cancel_futures=True)
        for w in waiting:
            assert isinstance(w.exception(PATIENCE), concurrent.futures.CancelledError)
    pool.shutdown()
    assert counter.value == 0


def test_a_native_function_in_a_pool_that_breaks() -> None:
    ready = threading.Event()

    def fail() -> None:
        ready.wait(PATIENCE)
        raise OSError("no")

    pool = ThreadPool(1, initializer=fail)
    waiting = in_thread(lambda: pool.run_native(address(LIBC.abort)))
    until(lambda: pool.statistics().queued == 1)
    ready.set()
    assert isinstance(waiting.exception(PATIENCE), BrokenThreadPool)
    pool.shutdown()


def test_a_native_function_at_address_0(pool: ThreadPool) -> None:
    with pytest.raises(ValueError, match="the address of the function is 0"):
        pool.run_native(0)


# --- the end


@flows
def test_shutdown_waits_for_what_was_submitted(hub: bool) -> None:
    pool = ThreadPool(2)
    gate = busy(pool)
    last = pool.submit(int, "7")

    def use() -> None:
        if hub:
            gevent.spawn(gate.open.set)  # runs only if shutdown lets it
        else:
            gate.open.set()
        pool.shutdown()

    in_thread(use, hub=hub).result(PATIENCE)
    assert last.result(0) == 7
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        pool.submit(int)


def test_shutdown_cancels() -> None:
    pool = ThreadPool(2)
    with busy(pool) as gate:
        queued = [pool.submit(int) for _ in range(3)]
        waiting = in_thread(lambda: concurrent.futures.wait(queued, PATIENCE))
        pool.shutdown(wait=False, cancel_futures=True)
        assert waiting.result(PATIENCE).not_done == set()
        assert all(future.cancelled() for future in queued)
    pool.shutdown()
    assert all(isinstance(future.result(0), int) for future in gate.futures)


def test_shutdown_refuses_who_waits_for_room() -> None:
    pool = ThreadPool(1, queue_size=2)
    with busy(pool, 1):
        for _ in range(2):
            pool.submit(int)
        submitting = in_thread(lambda: pool.submit(int))
        until(lambda: pool.statistics().waiting_submitters == 1)
        pool.shutdown(wait=False)
        assert "after shutdown" in str(submitting.exception(PATIENCE))
    pool.shutdown()


def test_shutdown_by_one_of_its_threads(pool: ThreadPool) -> None:
    with pytest.raises(RuntimeError, match="cannot wait for the end of the pool"):
        pool.submit(pool.shutdown).result(PATIENCE)


def test_a_pool_that_is_dropped_works_off_its_queue_and_ends() -> None:
    pool = ThreadPool(1)
    gate = busy(pool, 1)
    last = pool.submit(int)
    threads = list(pool._threads)
    known = weakref.ref(pool)
    del pool
    gc.collect()
    assert known() is None
    gate.open.set()
    assert last.result(PATIENCE) == 0
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()


def test_initializer() -> None:
    local = threading.local()
    with ThreadPool(2, initializer=lambda x: setattr(local, "x", x), initargs=(5,)) as pool:
        assert {f.result(PATIENCE) for f in [pool.submit(lambda: local.x) for _ in range(10)]} == {5}


def test_an_initializer_that_fails(caplog: pytest.LogCaptureFixture) -> None:
    ready = threading.Event()

    def fail() -> None:
        ready.wait(PATIENCE)
        raise OSError("no")

    pool = ThreadPool(1, initializer=fail)
    future = pool.submit(int)
    ready.set()
    assert isinstance(future.exception(PATIENCE), BrokenThreadPool)
    with pytest.raises(BrokenThreadPool, match="initializer failed"):
        pool.submit(int)
    pool.shutdown()
    assert "Exception in initializer" in caplog.text


def test_nothing_is_kept() -> None:
    class Thing:
        pass

    with ThreadPool(1) as pool:
        thing = Thing()
        future = pool.submit(lambda x: None, thing)
        future.result(PATIENCE)
        known = weakref.ref(thing)
        del thing
        assert known() is None
        result = weakref.ref(pool.submit(Thing).result(PATIENCE))
        until(lambda: result() is None)


def test_a_hub_that_a_call_has_started_ends_with_its_thread() -> None:
    with ThreadPool(1) as pool:
        pool.submit(gevent.sleep, 0).result(PATIENCE)
    # conftest.py looks for descriptors that are left


# --- processes


def python(code: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("patched", [False, True])
def test_at_exit_what_was_submitted_is_run(patched: bool) -> None:
    # The main thread has a hub before the others: what gevent imports with the first one must not be imported by two.
    begin = "from gevent import monkey, sleep; monkey.patch_all(); sleep(0)" if patched else ""
    seen = python(
        begin
        + r"""
import efio, time
pool = efio.ThreadPool(2)
def say(what):
    print(f"{what}\n", end="", flush=True)
def call(n):
    time.sleep(0.01)
    say(n)
    while n == 19:  # until the interpreter has begun to end
        try:
            pool.submit(int)
        except RuntimeError as error:
            say(error)
            break
        time.sleep(0.01)
for n in range(20):
    pool.submit(call, n)
efio.default_pool().submit(say, "default")
"""
    )
    refused = "cannot schedule new futures after interpreter shutdown"
    assert set(seen.splitlines()) == {*map(str, range(20)), "default", refused}


def test_after_monkey_patching_threads_are_real() -> None:
    seen = python(
        """
from gevent import monkey; monkey.patch_all()
import efio, gevent, threading, concurrent.futures, time
lock = monkey.get_original("_thread", "allocate_lock")()
lock.acquire()
with efio.ThreadPool(2) as pool:
    native = monkey.get_original("_thread", "get_native_id")
    assert pool.submit(native).result() != native()
    ticks = []
    ticker = gevent.spawn(lambda: [(gevent.sleep(0.001), ticks.append(1)) for _ in range(5)])
    future = pool.submit(lock.acquire)  # blocks its thread
    ticker.join()
    assert not future.done() and len(ticks) == 5
    lock.release()
    assert concurrent.futures.wait([future]).done == {future}
    assert [t.name for t in pool._threads] and all(t.is_alive() for t in pool._threads)
    assert list(pool.map(abs, [-1, -2])) == [1, 2]
assert not any(t.is_alive() for t in pool._threads)
print("well")
"""
    )
    assert seen == "well\n"


def test_fork() -> None:
    seen = python(
        """
import efio, os, threading, warnings
warnings.simplefilter("ignore")
pool = efio.ThreadPool(1)
come, go = threading.Event(), threading.Event()
running = pool.submit(lambda: (come.set(), go.wait()))
come.wait()
queued = pool.submit(int)
child = os.fork()
if child == 0:
    for future in (running, queued):
        print(future.exception(5))
    print(pool.submit(abs, -3).result(5), pool.statistics().submitted, flush=True)
    pool.shutdown()
    os._exit(0)
os.waitpid(child, 0)
go.set()
print(queued.result(5), flush=True)
pool.shutdown()
"""
    )
    message = "the process was forked: what was submitted before is run in the parent only"
    assert seen.splitlines() == [message, message, "3 1", "0"]


def test_fork_with_greenlets_that_wait() -> None:
    """For room, for a result, and for a native function; in the child each of them goes on."""
    seen = python(
        """
import ctypes, efio, gevent, gevent.os, os, warnings
warnings.simplefilter("ignore")
libc = ctypes.CDLL(None)
memory = ctypes.create_string_buffer(64)
libc.sem_init(memory, 0, 0)
wait, address = ctypes.cast(libc.sem_wait, ctypes.c_void_p).value, ctypes.addressof(memory)
pool = efio.ThreadPool(1, queue_size=2)
def call(function, *args):
    try:
        return function(*args)
    except RuntimeError as error:
        return str(error)
greenlets = [gevent.spawn(call, pool.run_native, wait, address)]
gevent.sleep(0)
while pool.statistics().running == 0:
    gevent.sleep(0.001)
futures = [pool.submit(int), pool.submit(int)]
greenlets.append(gevent.spawn(call, futures[1].result))
greenlets.append(gevent.spawn(lambda: call(pool.submit(abs, -3).result)))
gevent.sleep(0.01)
assert pool.statistics().waiting_submitters == 1
child = gevent.os.fork_gevent()
if child != 0:
    libc.sem_post(memory)
gevent.joinall(greenlets, timeout=20)
if child != 0:
    os.waitpid(child, 0)
print([g.value for g in greenlets], flush=True)
pool.shutdown()
if child == 0:
    os._exit(0)
""",
        EFIO_IMPL="native",
    )
    message = "the process was forked: what was submitted before is run in the parent only"
    assert seen.splitlines() == [str([message, message, 3]), "[None, 0, 3]"]


def test_fork_by_one_of_the_threads() -> None:
    seen = python(
        """
import efio, os, warnings
warnings.simplefilter("ignore")
pool = efio.ThreadPool(1)
def call():
    child = os.fork()
    if child == 0:
        print(pool.submit(abs, -3).result(5), flush=True)
        os._exit(0)
    return os.waitpid(child, 0)[1]
print(pool.submit(call).result(5), flush=True)
pool.shutdown()
"""
    )
    assert seen.splitlines() == ["3", "0"]


def test_default_pool() -> None:
    seen = python(
        """
import efio
pool = efio.default_pool()
assert pool is efio.default_pool()
assert pool.submit(abs, -1).result() == 1
pool.shutdown()
assert efio.default_pool().submit(abs, -1).result() == 1
assert efio.default_pool() is not pool
"""
    )
    assert seen == ""


def test_schema_uses_the_default_pool() -> None:
    seen = python(
        """
import efio, gevent
from schema.runtime import offload
def use():
    loop = offload.current()
    return loop.elsewhere(abs, -5)
print(gevent.spawn(use).get(), efio.default_pool().statistics().submitted)
"""
    )
    assert seen == "5 1\n"

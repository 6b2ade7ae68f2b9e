"""Waiters: in greenlets of several hubs, asyncio tasks and plain threads; no wake-up is lost or given twice."""

import asyncio
import contextlib
import ctypes
import gc
import random
import signal
import subprocess
import sys
import threading
from pathlib import Path

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from efio._impl import PYTHON
from efio.parking import Waiter

native_only = pytest.mark.skipif(PYTHON, reason="of the compiled one only")


def run(program: str, *arguments: str) -> None:
    """In a process of its own."""
    done = subprocess.run(
        [sys.executable, "-P", "-W", "ignore", "-c", program, *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "good\n", done.stderr


def wait_here(w: Waiter) -> bool:
    return w.wait(PATIENCE)


def wait_asyncio(w: Waiter) -> bool:
    return asyncio.run(w.wait_async(PATIENCE))


# How something waits: (in a hub?, how)
KINDS = {"thread": (False, wait_here), "greenlet": (True, wait_here), "asyncio": (False, wait_asyncio)}
kinds = pytest.mark.parametrize("kind", KINDS)


@kinds
def test_wake_from_another_thread(kind: str) -> None:
    hub, wait = KINDS[kind]
    for _ in range(50):
        w = Waiter()
        waiting = in_thread(lambda w=w: wait(w), hub=hub)
        assert w.wake()
        assert waiting.result(PATIENCE) is True
        assert w.woken
        assert not w.wake()


@kinds
def test_wake_before_wait(kind: str) -> None:
    hub, wait = KINDS[kind]
    w = Waiter()
    assert w.wake()
    assert in_thread(lambda: wait(w), hub=hub).result(PATIENCE) is True


@pytest.mark.parametrize("timeout", [-1, 0, 0.001])
@kinds
def test_timeout(kind: str, timeout: float) -> None:
    hub = KINDS[kind][0]
    w = Waiter()
    wait = (lambda: asyncio.run(w.wait_async(timeout))) if kind == "asyncio" else (lambda: w.wait(timeout))
    assert in_thread(wait, hub=hub).result(PATIENCE) is False
    assert not w.wake(), "who has left is not woken"
    assert not w.woken


def test_timeout_is_no_number() -> None:
    with pytest.raises(ValueError, match="not a number"):
        Waiter().wait(float("nan"))
    with pytest.raises(TypeError):
        Waiter().wait("soon")  # type: ignore[arg-type]


def test_timeout_for_ever() -> None:
    for timeout in (None, float("inf"), 1e18):
        w = Waiter()
        waiting = in_thread(lambda w=w, t=timeout: w.wait(t))
        assert w.wake()
        assert waiting.result(PATIENCE)


@kinds
def test_wakers_race_with_timeouts(kind: str) -> None:
    """Whether the wait says that it was woken is what exactly one of the wakers is told."""
    hub = KINDS[kind][0]
    rounds = 300
    waiters = [Waiter() for _ in range(rounds)]
    chance = random.Random(1)
    timeouts = [chance.choice([0.0, 1e-6, 2e-5, 5e-5, 1e-4, PATIENCE]) for _ in range(rounds)]
    turn = threading.Semaphore(0)

    def wait_all() -> list[bool]:
        if kind == "asyncio":

            async def main() -> list[bool]:
                return [(turn.release(2), await w.wait_async(t))[1] for w, t in zip(waiters, timeouts, strict=True)]

            return asyncio.run(main())
        return [(turn.release(2), w.wait(t))[1] for w, t in zip(waiters, timeouts, strict=True)]

    def wake_all() -> list[bool]:
        return [(turn.acquire(), w.wake())[1] for w in waiters]

    waiting = in_thread(wait_all, hub=hub)
    wakers = [in_thread(wake_all) for _ in range(2)]
    woken = waiting.result(PATIENCE)
    told = [waker.result(PATIENCE) for waker in wakers]
    assert [sum(pair) for pair in zip(*told, strict=True)] == [int(w) for w in woken]


def test_many_greenlets_of_several_hubs() -> None:
    """Each of three hubs has fifty greenlets that wait; the hubs wake each other's, and their own."""
    hubs, each, rounds = 3, 50, 5
    posted: list[Waiter] = []
    counted = threading.Semaphore(0)

    def serve() -> int:
        def wait() -> int:
            woken = 0
            for _ in range(rounds):
                w = Waiter()
                posted.append(w)
                counted.release()
                woken += w.wait(PATIENCE)
            return woken

        return sum(g.get() for g in [gevent.spawn(wait) for _ in range(each)])

    def wake() -> int:
        chance, given = random.Random(threading.get_ident()), 0
        for _ in range(hubs * each * rounds // 2):
            counted.acquire()
            given += posted.pop(chance.randrange(len(posted)) if chance.random() < 0.5 else 0).wake()
        return given

    serving = [in_thread(serve, hub=True) for _ in range(hubs)]
    waking = [in_thread(wake) for _ in range(2)]
    assert sum(w.result(PATIENCE) for w in waking) == hubs * each * rounds
    assert sum(s.result(PATIENCE) for s in serving) == hubs * each * rounds


def test_wakes_within_one_hub_come_in_order() -> None:
    order: list[int] = []

    def serve() -> None:
        waiters = [Waiter() for _ in range(20)]

        def wait(n: int) -> None:
            waiters[n].wait()
            order.append(n)

        greenlets = [gevent.spawn(wait, n) for n in range(20)]
        gevent.sleep(0)
        for n in range(10):
            waiters[n].wake()
        in_thread(lambda: [waiters[n].wake() for n in range(10, 20)]).result(PATIENCE)
        gevent.joinall(greenlets, raise_error=True)

    in_thread(serve, hub=True).result(PATIENCE)
    assert order == list(range(20))


def test_a_busy_hub_delays_no_other() -> None:
    """One hub wakes somebody of another hub and then burns CPU until that one has answered."""
    theirs = Waiter()
    answered = threading.Event()

    def wait() -> None:
        theirs.wait(PATIENCE)
        answered.set()

    def wake_and_burn() -> bool:
        until(theirs.wake)
        burning = Waiter()
        while not answered.is_set():  # never comes round to its loop
            pass
        return burning.wake()

    waiting = in_thread(wait, hub=True)
    assert in_thread(wake_and_burn, hub=True).result(PATIENCE)
    waiting.result(PATIENCE)


@pytest.mark.parametrize("woken_first", [False, True])
def test_killed_greenlet(woken_first: bool) -> None:
    """Killed in wait: the wake-up that was given before is seen by who has to pass it on."""

    def serve() -> tuple[list[str], bool]:
        w = Waiter()
        seen: list[str] = []

        def wait() -> None:
            try:
                w.wait()
                seen.append("returned")
            except gevent.GreenletExit:
                seen.append("killed, to be passed on" if w.woken else "killed")
                raise

        greenlet = gevent.spawn(wait)
        gevent.sleep(0)
        if woken_first:
            assert w.wake()
        greenlet.kill(block=False)
        greenlet.join()
        return seen, w.wake()

    seen, woken_later = in_thread(serve, hub=True).result(PATIENCE)
    assert not woken_later
    # Which of two things that are under way in one hub comes first is not promised.
    assert seen in ([["returned"], ["killed, to be passed on"]] if woken_first else [["killed"]])


def test_killed_while_the_wake_up_is_under_way() -> None:
    def serve() -> bool:
        w = Waiter()
        seen: list[bool] = []

        def wait() -> None:
            try:
                w.wait()
            except gevent.GreenletExit:
                seen.append(w.woken)
                raise

        greenlet = gevent.spawn(wait)
        gevent.sleep(0)
        in_thread(w.wake).result(PATIENCE)  # lies in the mailbox; this hub has not come round
        greenlet.kill(block=False)
        greenlet.join()
        gevent.sleep(0.001)  # whatever is still under way finds nobody
        return seen == [True]

    assert in_thread(serve, hub=True).result(PATIENCE)


def test_timeout_of_gevent_raised_inside() -> None:
    def serve() -> bool:
        w = Waiter()
        with pytest.raises(gevent.Timeout), gevent.Timeout(0.001):
            w.wait()
        return w.wake()

    assert not in_thread(serve, hub=True).result(PATIENCE)


@pytest.mark.parametrize("woken_first", [False, True])
def test_cancelled_task(woken_first: bool) -> None:
    async def main() -> None:
        w = Waiter()
        task = asyncio.ensure_future(w.wait_async())
        await asyncio.sleep(0)
        if woken_first:
            assert w.wake()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert w.woken is woken_first
        assert not w.wake()

    asyncio.run(main())


def test_signal_handler_ends_the_wait_of_the_main_thread() -> None:
    w = Waiter()

    class Stop(Exception):
        pass

    def handler(signum: int, frame: object) -> None:
        raise Stop

    before = signal.signal(signal.SIGUSR1, handler)
    main = threading.get_ident()
    try:
        ended = threading.Event()

        def nag() -> None:  # until it has arrived while the main thread slept
            while not ended.wait(0.01):
                signal.pthread_kill(main, signal.SIGUSR1)

        nagging = in_thread(nag)
        with pytest.raises(Stop):
            w.wait(PATIENCE)
    except Stop:
        pass
    finally:
        while True:
            try:
                ended.set()
                nagging.result(PATIENCE)
                break
            except Stop:
                pass
        signal.signal(signal.SIGUSR1, before)
    assert not w.woken
    assert not w.wake()


def test_waiting_twice() -> None:
    w = Waiter()
    waiting = in_thread(lambda: w.wait(PATIENCE))
    errors: list[str] = []

    def second() -> bool:
        try:
            w.wait(0)
        except RuntimeError as error:
            errors.append(str(error))
        return bool(errors)

    if not PYTHON:
        until(lambda: "futex" in Path(f"/proc/self/task/{_other_thread()}/wchan").read_text() or second())
    w.wake()
    assert waiting.result(PATIENCE)
    assert w.wait()
    assert w.wait(0)


def _other_thread() -> int:
    return next(t.native_id or 0 for t in threading.enumerate() if t is not threading.main_thread())


def test_in_a_callback_of_the_hub() -> None:
    def serve() -> str:
        told: list[str] = []

        def callback() -> None:
            try:
                Waiter().wait()
            except RuntimeError as error:
                told.append(str(error))

        gevent.get_hub().loop.run_callback(callback)
        gevent.sleep(0.001)
        return told[0]

    assert "callback of the gevent hub" in in_thread(serve, hub=True).result(PATIENCE)


def test_no_loop_exit_while_somebody_waits() -> None:
    """The main greenlet of a thread waits, and nothing else is in its hub: the wake-up comes from elsewhere."""
    w = Waiter()

    def serve() -> bool:
        gevent.sleep(0)
        try:
            return w.wait(None)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    waiting = in_thread(serve)
    until(w.wake)
    assert waiting.result(PATIENCE)


def test_hub_ends_when_nobody_waits() -> None:
    def serve() -> bool:
        w = Waiter()
        gevent.spawn(w.wake)
        w.wait()
        return True

    def in_main_greenlet() -> bool:
        gevent.spawn(serve)
        try:
            return gevent.get_hub().join()
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    assert in_thread(in_main_greenlet).result(PATIENCE) is True


@pytest.mark.leaves_behind("gevent keeps a greenlet that slept in a destroyed hub")
def test_destroyed_hub() -> None:
    """Nobody who slept there is woken, and waking is harmless, also when it was under way."""
    w, woken = Waiter(), Waiter()

    def serve() -> None:
        for waiter in (w, woken):
            gevent.spawn(waiter.wait)
        gevent.sleep(0)
        in_thread(woken.wake).result(PATIENCE)

    in_thread(serve, hub=True).result(PATIENCE)
    if not PYTHON:
        assert w.wake() is False
    gc.collect()


def test_several_asyncio_loops_one_after_the_other() -> None:
    for _ in range(20):

        async def main() -> bool:
            w = Waiter()
            in_thread(w.wake)
            return await w.wait_async(PATIENCE)

        assert asyncio.run(main())


@native_only
def test_wake_from_a_native_thread_without_the_interpreter_lock(tmp_path: Path) -> None:
    source = tmp_path / "waker.c"
    source.write_text(
        """
        #include <pthread.h>
        #include "efio/native/parking.c"
        static void *run(void *p) { return (void *)(long)efio_unpark(p); }
        long wake_in_thread(void *p) {
            pthread_t t; void *r;
            if (pthread_create(&t, NULL, run, p)) return -1;
            pthread_join(t, &r);
            return (long)r;
        }
        """
    )
    root = Path(__file__).parents[2]
    library = tmp_path / "waker.so"
    subprocess.run(
        [
            "cc",
            "-shared",
            "-fPIC",
            "-O1",
            "-D_GNU_SOURCE",
            f"-I{root}",
            f"-I{root}/efio/native",
            source,
            "-o",
            library,
            "-pthread",
        ],
        check=True,
    )
    wake = ctypes.PyDLL(str(library)).wake_in_thread  # PyDLL: this thread keeps the interpreter lock meanwhile
    wake.argtypes, wake.restype = [ctypes.c_void_p], ctypes.c_long
    for hub, wait in KINDS.values():
        w = Waiter()
        waiting = in_thread(lambda w=w, wait=wait: wait(w), hub=hub)
        assert wake(w.address) == 1
        assert wake(w.address) == 0
        assert waiting.result(PATIENCE) is True


def test_fork() -> None:
    """A child of a thread with a hub parks and wakes by itself, and rings nobody in its parent."""
    program = """
import os, sys, gevent, threading
from efio.parking import Waiter
def once():
    w = Waiter()
    threading.Timer(0.001, w.wake).start()
    assert w.wait(20)
    assert gevent.spawn(lambda: (gevent.sleep(0), 1)[1]).get() == 1
once()
parent = Waiter()
def rest():
    assert parent.wait(20)
waiting = gevent.spawn(rest)
gevent.sleep(0)
pid = gevent.os.fork() if len(sys.argv) > 1 else os.fork()
if pid == 0:
    gevent.reinit(gevent.get_hub())
    parent.wake()  # the child's copy
    waiting.get()
    once()
    os._exit(0)
_, status = os.waitpid(pid, 0)
assert status == 0, status
gevent.sleep(0.001)
assert not parent.woken and not waiting.ready()
parent.wake()
waiting.get()
print("good")
"""
    run(program)


@native_only
def test_a_forked_child_rings_nobody_in_its_parent() -> None:
    run("""
import os, select, threading, gevent
from efio.parking import Waiter
w = Waiter()
waiting = gevent.spawn(w.wait, 20)
gevent.sleep(0)
pid = os.fork()
if pid == 0:
    waker = threading.Thread(target=w.wake)  # another thread than that of the loop: it rings
    waker.start()
    waker.join()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
mailboxes = [int(f) for f in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{f}")
             and "eventfd" in os.readlink(f"/proc/self/fd/{f}")]
assert mailboxes and select.select(mailboxes, [], [], 0)[0] == []
w.wake()
assert waiting.get()
print("good")
""")  # fmt: skip


def test_without_gevent() -> None:
    """efio does not import gevent, and its waiters work in a process that never does; later they notice it."""
    program = """
import sys, threading
from efio.parking import Waiter
w = Waiter(); threading.Timer(0.001, w.wake).start(); assert w.wait(20)
assert "gevent" not in sys.modules and "greenlet" not in sys.modules, "efio imported it"
import gevent
w = Waiter(); gevent.spawn(w.wake); assert w.wait(20)
print("good")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "good\n", done.stderr


def test_monkey_patched() -> None:
    program = """
from gevent import monkey; monkey.patch_all()
import threading, gevent
from efio.parking import Waiter
w = Waiter(); threading.Thread(target=w.wake).start(); assert w.wait(20)
w = Waiter(); gevent.get_hub().threadpool.spawn(w.wake); assert w.wait(20)
pool_waiter = Waiter()
t = gevent.get_hub().threadpool.spawn(pool_waiter.wait, 20)
gevent.sleep(0.01)
assert pool_waiter.wake() and t.get()
print("good")
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "good\n", done.stderr

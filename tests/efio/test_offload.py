"""Blocking calls made elsewhere: where, and what happens to who is killed, cancelled, or late."""

import asyncio
import subprocess
import sys
import threading

import gevent
import pytest
from flows import PATIENCE, in_thread

import efio


def test_where_calls_are_made() -> None:
    here = threading.get_ident()
    assert efio.run_blocking(threading.get_ident) == here

    def in_hub() -> tuple[int, int]:
        return threading.get_ident(), efio.run_blocking(threading.get_ident)

    own, other = in_thread(in_hub, hub=True).result(PATIENCE)
    assert own != other
    assert asyncio.run(efio.run_blocking_async(threading.get_ident)) != here


def test_greenlets_of_the_pools_own_threads_do_not_wait_for_it() -> None:
    def in_pool() -> bool:
        return gevent.spawn(efio.run_blocking, threading.get_ident).get() == threading.get_ident()

    pool = efio.default_pool()
    calls = [pool.submit(in_pool) for _ in range(3 * pool._max_workers)]
    assert all(call.result(PATIENCE) for call in calls)


def test_errors() -> None:
    def fail() -> None:
        raise OSError("no")

    with pytest.raises(OSError, match="no"):
        in_thread(lambda: efio.run_blocking(fail), hub=True).result(PATIENCE)
    with pytest.raises(OSError, match="no"):
        asyncio.run(efio.run_blocking_async(fail))


class Stuck:
    """A call that has begun, and ends when it is told to."""

    def __init__(self) -> None:
        self.begun, self.go, self.ended = threading.Event(), threading.Event(), False

    def __call__(self) -> None:
        self.begun.set()
        self.go.wait(PATIENCE)
        self.ended = True


def test_who_is_killed_sees_it_when_the_call_has_ended() -> None:
    stuck = Stuck()

    def use() -> None:
        caller = gevent.spawn(efio.run_blocking, stuck)
        while not stuck.begun.is_set():
            gevent.sleep(0.0005)
        caller.kill(block=False)
        gevent.sleep(0.0005)
        assert not caller.dead
        stuck.go.set()
        caller.join()
        assert stuck.ended
        assert isinstance(caller.value, gevent.GreenletExit)

    in_thread(use, hub=True).result(PATIENCE)


def test_who_is_cancelled_sees_it_when_the_call_has_ended() -> None:
    stuck = Stuck()

    async def use() -> None:
        caller = asyncio.ensure_future(efio.run_blocking_async(stuck))
        while not stuck.begun.is_set():
            await asyncio.sleep(0.0005)
        for _ in range(2):  # however often
            caller.cancel()
            await asyncio.sleep(0.0005)
            assert not caller.done()
        stuck.go.set()
        with pytest.raises(asyncio.CancelledError):
            await caller
        assert stuck.ended

    asyncio.run(use())


def test_at_exit_calls_are_still_made() -> None:
    program = """
import atexit, asyncio, efio, gevent
gevent.sleep(0)  # this thread has a hub
efio.run_blocking(int)
atexit.register(lambda: print(efio.run_blocking(int, "5"), asyncio.run(efio.run_blocking_async(int, "6"))))
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("5 6\n", "")

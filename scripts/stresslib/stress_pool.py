"""The thread pool: each call once, whoever submits, cancels, forks or ends meanwhile."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from concurrent.futures import Future, wait

from efio import ThreadPool, default_pool
from stresslib import Scenario, Violation
from stresslib.stress_queues import in_hub, in_threads

PRODUCERS, WORKERS = 4, 4
ATONCE = 1000  # futures that a producer has at most


def tasks(*, hubs: bool) -> Callable[[int], str]:
    """Four producers, four workers; with hubs, half of the producers are greenlets of hubs."""

    def run(amount: int) -> str:
        each = amount // PRODUCERS
        counts = [bytearray(each) for _ in range(PRODUCERS)]

        def call(who: int, n: int) -> int:
            counts[who][n] += 1
            return n

        with ThreadPool(WORKERS, queue_size=512) as pool:

            def produce(who: int) -> None:
                for begin in range(0, each, ATONCE):
                    numbers = range(begin, min(each, begin + ATONCE))
                    futures = [pool.submit(call, who, n) for n in numbers]
                    if [future.result() for future in futures] != list(numbers):
                        raise Violation(f"producer {who}: wrong results after {begin}")

            producing = [lambda who=who: produce(who) for who in range(PRODUCERS)]
            if hubs:
                producing[2:] = map(in_hub, producing[2:])
            in_threads(producing)
        if any(count != bytes([1]) * each for count in counts):
            raise Violation("a call was made twice, or not at all")
        if (left := pool.statistics()).queued or left.running or left.workers:
            raise Violation(f"something was left: {left}")
        return f"{PRODUCERS} x {each:,} calls"

    return run


def cancelled(amount: int) -> str:
    """A third of the calls is cancelled, sooner or later: each is either made once or cancelled."""
    made = bytearray(amount)
    chance = random.Random(5)

    def call(n: int) -> None:
        made[n] += 1

    with ThreadPool(WORKERS) as pool:
        stopped = 0
        for begin in range(0, amount, ATONCE):
            numbers = range(begin, min(amount, begin + ATONCE))
            futures: list[Future[None]] = [pool.submit(call, n) for n in numbers]
            for future in chance.sample(futures, len(futures) // 3):
                future.cancel()
            if wait(futures, 60).not_done:
                raise Violation("some are neither made nor cancelled after 60 seconds")
            for n, future in zip(numbers, futures, strict=True):
                if made[n] != (not future.cancelled()):
                    raise Violation(f"call {n} is {future!r}, and was made {made[n]} times")
                stopped += future.cancelled()
    return f"{amount:,} calls, {stopped:,} of them cancelled"


def pools(amount: int) -> str:
    """Pools that are made, used and ended, or dropped."""
    for n in range(amount):
        pool = ThreadPool(2)
        futures = [pool.submit(int, 5) for _ in range(20)]
        if n % 2:
            pool.shutdown()
        threads = list(pool._threads)
        del pool
        if sum(future.result(60) for future in futures) != 100:
            raise Violation("wrong results")
        for thread in threads:
            thread.join(60)
            if thread.is_alive():
                raise Violation("a thread has not ended")
    return f"{amount:,} pools"


def forks(amount: int) -> str:
    """Forks while the pool is busy: the child has a pool, knows what it does not have, and the parent goes on."""
    pool, stop = default_pool(), threading.Event()

    def load() -> None:
        while not stop.is_set():
            wait([pool.submit(int) for _ in range(100)])

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for _ in range(amount):
            future = pool.submit(sum, range(10))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                known = future.exception(60) is not None or future.result() == 45
                os._exit(0 if known and pool.submit(abs, -3).result(60) == 3 else 1)
            if os.waitpid(child, 0)[1] or future.result(60) != 45:
                raise Violation("the child of a fork has not done its work")
    finally:
        stop.set()
        loading.join()
    return f"{amount:,} forks"


ENDING = """
import efio, itertools, os
pool = efio.ThreadPool(4)
numbers = itertools.count()
def call(n):
    os.write(1, b"x")
def more():
    try:
        while True:
            pool.submit(call, next(numbers)).result()
    except RuntimeError as error:
        assert "after interpreter shutdown" in str(error), error
for n in range(500):
    pool.submit(call, n)
for _ in range(2):
    pool.submit(more)
"""


def exits(amount: int) -> str:
    """Programs that end with calls queued, running, and being submitted."""
    programs = max(1, amount // 1000)
    for _ in range(programs):
        done = subprocess.run([sys.executable, "-P", "-c", ENDING], capture_output=True, timeout=60, check=False)
        if done.returncode or done.stderr or len(done.stdout) < 500:
            raise Violation(f"status {done.returncode}, {len(done.stdout)} of 500 calls, {done.stderr.decode()}")
    return f"{programs:,} programs"


M = 2**20
SCENARIOS = [
    Scenario("tasks", "efio.ThreadPool, 2 Mi calls, 4 producers, 4 workers", 2 * M, tasks(hubs=False)),
    Scenario("hubs", "the same, half of the producers are greenlets", 2 * M, tasks(hubs=True)),
    Scenario("cancel", "a third of the calls is cancelled", M // 2, cancelled),
    Scenario("pools", "pools made and ended", 4000, pools),
    Scenario("forks", "forks while the pool is busy", 1000, forks),
    Scenario("exits", "programs that end in the middle", 200_000, exits),
]

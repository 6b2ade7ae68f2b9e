"""Measures one thread pool: efio_pool.py NAME SCALE. Prints a line of JSON: thousand calls/s, and us, by situation."""

from __future__ import annotations

import asyncio
import ctypes
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

NAME, SCALE = sys.argv[1], float(sys.argv[2])
WORKERS, FLOWS = 4, 100


def make(workers: int = WORKERS) -> Any:
    if NAME.startswith("efio"):
        import efio

        return efio.ThreadPool(workers)
    if NAME == "concurrent.futures":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(workers)
    from gevent.threadpool import ThreadPool

    return ThreadPool(workers)


def identity(x: int) -> int:
    return x


def batch(pool: Any, n: int) -> None:
    submit = pool.submit
    futures = [submit(identity, i) for i in range(n)]
    if sum(f.result() for f in futures) != n * (n - 1) // 2:
        raise AssertionError("wrong results")


def timed(n: int, function: Callable[[], object]) -> float:
    """Thousand/s."""
    begin = time.perf_counter()
    function()
    return n / (time.perf_counter() - begin) / 1e3


def four(pool: Any, n: int) -> float:
    threads = [threading.Thread(target=batch, args=(pool, n // 4)) for _ in range(4)]

    def run() -> None:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return timed(n, run)


def one_by_one(call: Callable[[int], object], n: int) -> None:
    for i in range(n):
        if call(i) != i:
            raise AssertionError("wrong result")


def greenlets(call: Callable[[int], object], n: int) -> float:
    import gevent

    flows = [gevent.spawn(one_by_one, call, n // FLOWS) for _ in range(FLOWS)]
    return timed(n, lambda: gevent.joinall(flows, raise_error=True))


def native(pool: Any) -> Callable[[int], int]:
    """sem_post of the C library, as something that takes no time."""
    libc, memory = ctypes.CDLL(None), ctypes.create_string_buffer(64)
    libc.sem_init(memory, 0, 0)
    function, argument = ctypes.cast(libc.sem_post, ctypes.c_void_p).value, ctypes.addressof(memory)

    def call(i: int, memory: Any = memory) -> int:
        pool.run_native(function, argument)
        return i

    return call


async def tasks(pool: Any, n: int, flows: int) -> float:
    loop = asyncio.get_running_loop()

    async def work() -> None:
        for i in range(n // flows):
            if NAME.startswith("efio"):
                result = await pool.submit(identity, i)
            else:
                result = await loop.run_in_executor(pool, identity, i)
            if result != i:
                raise AssertionError("wrong result")

    begin = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(flows)])
    return n / (time.perf_counter() - begin) / 1e3


def measure() -> dict[str, float]:
    n = int((200_000 if NAME == "efio.ThreadPool" else 20_000) * SCALE)
    trips = int(3000 * SCALE)
    metrics: dict[str, float] = {}
    pool = make()
    if NAME != "gevent.threadpool":
        for workers, situation in ((WORKERS, "batch"), (1, "single")):
            with make(workers) as fresh:
                metrics[situation] = timed(n, lambda fresh=fresh: batch(fresh, n))  # type: ignore[misc]
        with make() as fresh:
            metrics["four"] = four(fresh, n)

        def call(i: int) -> object:
            return pool.submit(identity, i).result()

        metrics["round_trip"] = 1e3 / timed(trips, lambda: one_by_one(call, trips))
        metrics["tasks"] = asyncio.run(tasks(pool, n // 4, FLOWS))
        metrics["task_trip"] = 1e3 / asyncio.run(tasks(pool, trips, 1))
    if NAME != "concurrent.futures":  # its result() would block the hub
        if NAME == "gevent.threadpool":

            def call(i: int) -> object:
                return pool.apply(identity, (i,))

        import gevent

        metrics["greenlets"] = greenlets(call, n // 4)
        if NAME == "efio.ThreadPool":
            metrics["native"] = greenlets(native(pool), n // 4)
        metrics["greenlet_trip"] = 1e3 / timed(trips, lambda: gevent.spawn(one_by_one, call, trips).get())
    if NAME == "gevent.threadpool":
        pool.kill()
    else:
        pool.shutdown()
    return metrics


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")

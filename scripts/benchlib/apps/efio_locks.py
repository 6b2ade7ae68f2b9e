"""Measures one kind of lock: efio_locks.py NAME SCALE. Prints a line of JSON: million sections/s by situation."""

from __future__ import annotations

import asyncio
import importlib
import json
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

NAME, SCALE = sys.argv[1], float(sys.argv[2])


def make() -> Any:
    module, _, kind = NAME.removesuffix("-python").partition(".")
    if kind == "RWLock":
        return getattr(importlib.import_module(module), kind)().reading
    factory = getattr(importlib.import_module("gevent.lock" if module == "gevent" else module), kind)
    return factory()


def sections(lock: Any, n: int) -> None:
    for _ in range(n):
        with lock:
            pass


def rate(n: int, *works: Callable[[], object]) -> float:
    """Million sections/s of threads that begin together."""
    barrier = threading.Barrier(len(works) + 1)

    def run(work: Callable[[], object]) -> None:
        barrier.wait()
        work()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    for thread in threads:
        thread.join()
    return n / (time.perf_counter() - begin) / 1e6


def ping_pong(n: int) -> float:
    """Microseconds for handing over to another thread and back: two semaphores or locks, each released by the other."""
    there, back = make(), make()
    there.acquire()
    back.acquire()

    def answer() -> None:
        for _ in range(n):
            there.acquire()
            back.release()

    def ask() -> None:
        for _ in range(n):
            there.release()
            back.acquire()

    return 1 / rate(n, ask, answer)


def greenlets(n: int) -> float:
    """100 greenlets of one hub that switch inside their sections: each hand-over is to a waiting one."""
    import gevent

    lock = make()

    def work() -> None:
        for _ in range(n // 100):
            with lock:
                gevent.sleep(0)

    begin = time.perf_counter()
    gevent.joinall([gevent.spawn(work) for _ in range(100)], raise_error=True)
    return n / (time.perf_counter() - begin) / 1e6


def hubs(n: int) -> float:
    """Two hubs with ten greenlets each."""
    import gevent

    lock = make()

    def hub() -> None:
        def work() -> None:
            for _ in range(n // 20):
                with lock:
                    gevent.sleep(0)

        gevent.joinall([gevent.spawn(work) for _ in range(10)], raise_error=True)
        gevent.get_hub().destroy(destroy_loop=True)

    return rate(n, hub, hub)


async def tasks(n: int) -> float:
    lock = make()

    async def work() -> None:
        for _ in range(n // 100):
            async with lock:
                await asyncio.sleep(0)

    begin = time.perf_counter()
    await asyncio.gather(*[work() for _ in range(100)])
    return n / (time.perf_counter() - begin) / 1e6


def measure() -> dict[str, float]:
    n = int((100_000 if NAME.endswith("-python") else 1_000_000) * SCALE)
    metrics: dict[str, float] = {}
    if NAME == "asyncio.Lock":
        return {"tasks": asyncio.run(tasks(n // 20))}
    lock = make()
    if not NAME.startswith("gevent"):
        metrics["single"] = rate(n, lambda: sections(lock, n))
        metrics["pair"] = rate(n, *[lambda: sections(lock, n // 2)] * 2)
        metrics["four"] = rate(n, *[lambda: sections(lock, n // 4)] * 4)
    else:
        begin = time.perf_counter()
        sections(lock, n)
        metrics["single"] = n / (time.perf_counter() - begin) / 1e6
    if NAME.removesuffix("-python").endswith((".Lock", ".Semaphore")) and not NAME.startswith("gevent"):
        metrics["ping_pong"] = ping_pong(int(5000 * SCALE) + 1)
    if NAME.startswith(("efio", "gevent")):
        metrics["greenlets"] = greenlets(n // 20)
    if NAME.startswith("efio"):
        metrics["hubs"] = hubs(n // 20)
    if NAME.removesuffix("-python") in ("efio.Lock", "efio.Semaphore"):
        metrics["tasks"] = asyncio.run(tasks(n // 20))
    return metrics


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")

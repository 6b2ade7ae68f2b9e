"""Measures one kind of queue: efio_queues.py NAME SCALE. Prints a line of JSON: million items/s by situation."""

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


def make(maxsize: int = 0) -> Any:
    module, _, kind = NAME.removesuffix("-python").partition(".")
    if module == "gevent":
        module = "gevent.queue"
    factory = getattr(importlib.import_module(module), kind)
    if module == "culsans":
        return factory(maxsize).sync_q
    return factory(maxsize) if maxsize else factory()


def rate(n: int, *works: Callable[[], object]) -> float:
    """Million items/s of threads that begin together."""
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


def put_all(q: Any, n: int) -> None:
    put = q.put
    for i in range(n):
        put(i)


def get_all(q: Any, n: int) -> None:
    get = q.get
    for _ in range(n):
        get()


def single(q: Any, n: int) -> float:
    put, get = q.put, q.get
    begin = time.perf_counter()
    for i in range(n):
        put(i)
        get()
    return n / (time.perf_counter() - begin) / 1e6


def round_trip(n: int) -> float:
    """Microseconds from one thread to another and back."""
    there, back = make(), make()

    def echo() -> None:
        for _ in range(n):
            back.put(there.get())

    def ask() -> None:
        for i in range(n):
            there.put(i)
            back.get()

    return 1 / rate(n, ask, echo)


def greenlets(n: int) -> float:
    import gevent

    q = make(100)
    begin = time.perf_counter()
    gevent.joinall([gevent.spawn(put_all, q, n), gevent.spawn(get_all, q, n)], raise_error=True)
    return n / (time.perf_counter() - begin) / 1e6


def hubs(n: int) -> float:
    import gevent

    q = make(100)

    def in_hub(function: Callable[[Any, int], None]) -> Callable[[], None]:
        def run() -> None:
            gevent.spawn(function, q, n).get()
            gevent.get_hub().destroy(destroy_loop=True)

        return run

    return rate(n, in_hub(put_all), in_hub(get_all))


async def tasks(n: int, q: Any, put: str, get: str) -> float:
    async def put_async() -> None:
        for i in range(n):
            await getattr(q, put)(i)

    async def get_async() -> None:
        for _ in range(n):
            await getattr(q, get)()

    begin = time.perf_counter()
    await asyncio.gather(put_async(), get_async())
    return n / (time.perf_counter() - begin) / 1e6


def measure() -> dict[str, float]:
    fast = not NAME.startswith(("queue.Queue", "culsans")) and not NAME.endswith("-python")
    n = int((600_000 if fast else 60_000) * SCALE)
    simple = NAME.endswith("SimpleQueue")
    metrics: dict[str, float] = {}
    if NAME == "asyncio.Queue":
        return {"tasks": asyncio.run(tasks(n // 4, asyncio.Queue(100), "put", "get"))}
    metrics["single"] = single(make(), n)
    if not NAME.startswith("gevent"):
        q = make()
        metrics["pair"] = rate(n, lambda: put_all(q, n), lambda: get_all(q, n))
        q4 = make()
        works = [lambda: put_all(q4, n // 2), lambda: get_all(q4, n // 2)] * 2
        metrics["four"] = rate(n, *works)
        metrics["round_trip"] = round_trip(int(5000 * SCALE) + 1)
        if not simple:
            q100 = make(100)
            metrics["pair_100"] = rate(n // 4, lambda: put_all(q100, n // 4), lambda: get_all(q100, n // 4))
    if NAME.startswith(("efio", "gevent")) and not simple:
        metrics["greenlets"] = greenlets(n // 4)
        if NAME.startswith("efio"):
            metrics["hubs"] = hubs(n // 8)
    if NAME.startswith("efio") and not simple:
        metrics["tasks"] = asyncio.run(tasks(n // 4, make(100), "aput", "aget"))
    return metrics


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")

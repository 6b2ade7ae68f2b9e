"""Measures one way to read files: efio_files.py NAME PATH SCALE. Prints a line of JSON."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

NAME, PATH, SCALE = sys.argv[1], sys.argv[2], float(sys.argv[3])
SMALL, LARGE = 4096, 1 << 20
SIZE = os.path.getsize(PATH)
CACHED = min(SIZE, 64 << 20)  # the part that is read from the cache
QUICK = NAME.startswith("efio") or NAME == "open"
READERS = 8
PASSES = 5  # of reading the whole file while a greenlet ticks, after one that is not counted


def warm() -> None:
    with open(PATH, "rb", buffering=0) as file:
        for _ in range(CACHED // LARGE):
            file.read(LARGE)


def passes(n: int) -> tuple[int, int]:
    """How often the cached part is read through, and how many reads that makes."""
    reads = CACHED // n
    wanted = int((200_000 if QUICK else 10_000) * SCALE * (1 if n == SMALL else 0.01))
    return max(1, wanted // reads), reads


def synchronous(file: Any, n: int) -> float:
    rounds, reads = passes(n)
    if rounds == 1:
        reads = min(reads, max(100, int((200_000 if QUICK else 10_000) * SCALE)))
    spent = 0.0
    for _ in range(rounds):
        file.seek(0)
        read = file.read
        begin = time.perf_counter()
        for _ in range(reads):
            read(n)
        spent += time.perf_counter() - begin
    return spent / (rounds * reads) * 1e6


async def asynchronous(file: Any, n: int) -> float:
    rounds, reads = passes(n)
    reads = min(reads, max(100, int(10_000 * SCALE)))
    spent = 0.0
    for _ in range(rounds):
        await file.seek(0)
        begin = time.perf_counter()
        for _ in range(reads):
            await file.read(n)
        spent += time.perf_counter() - begin
    return spent / (rounds * reads) * 1e6


def in_greenlet(work: Callable[[], object]) -> Any:
    import gevent

    return gevent.spawn(work).get()


def ticks(opened: Callable[[], Any]) -> dict[str, float]:
    """How late a greenlet is that wants to run each millisecond, while others read what is not cached."""
    import gevent

    late: list[float] = []
    share = SIZE // READERS

    def read(number: int) -> None:
        with opened() as file:
            file.seek(number * share)
            left = share
            while left > 0 and (data := file.read(65536)):
                left -= len(data)

    def tick() -> None:
        while True:
            due = time.perf_counter() + 0.001
            gevent.sleep(0.001)
            late.append((time.perf_counter() - due) * 1e3)

    for number in range(PASSES + 1):
        if number == 1:
            late.clear()  # the first pass starts threads
        fd = os.open(PATH, os.O_RDONLY)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(fd)
        ticker = gevent.spawn(tick)
        gevent.joinall([gevent.spawn(read, number) for number in range(READERS)], raise_error=True)
        ticker.kill()
    late.sort()
    return {
        "tick_p50": late[len(late) // 2],
        "tick_p99": late[min(len(late) - 1, int(len(late) * 0.99))],
        "tick_max": late[-1],
    }


def measure() -> dict[str, float]:
    warm()
    if NAME.startswith("efio"):
        import efio

        def both() -> dict[str, float]:
            with efio.open(PATH, "rb", buffering=0) as file:
                return {"small": synchronous(file, SMALL), "large": synchronous(file, LARGE)}

        return in_greenlet(both) | ticks(lambda: efio.open(PATH, "rb", buffering=0))
    if NAME == "open":
        with open(PATH, "rb", buffering=0) as file:
            return {"small": synchronous(file, SMALL), "large": synchronous(file, LARGE)}
    if NAME.startswith("gevent"):
        from gevent.fileobject import FileObjectThread

        def threaded() -> dict[str, float]:
            with FileObjectThread(PATH, "rb", buffering=0) as file:
                return {"small": synchronous(file, SMALL), "large": synchronous(file, LARGE)}

        found: dict[str, float] = in_greenlet(threaded)
        return found | ticks(lambda: FileObjectThread(PATH, "rb", buffering=0))
    if NAME == "aiofiles":
        import asyncio

        import aiofiles

        async def by_aiofiles() -> dict[str, float]:
            async with aiofiles.open(PATH, "rb", buffering=0) as file:
                return {"small": await asynchronous(file, SMALL), "large": await asynchronous(file, LARGE)}

        return asyncio.run(by_aiofiles())
    import trio

    async def by_trio() -> dict[str, float]:
        async with await trio.open_file(PATH, "rb", buffering=0) as file:
            return {"small": await asynchronous(file, SMALL), "large": await asynchronous(file, LARGE)}

    return trio.run(by_trio)


sys.stdout.write(json.dumps(measure()) + "\n")

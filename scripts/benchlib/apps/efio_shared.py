"""Measures one kind of queue between processes: efio_shared.py NAME SCALE. Prints a line of JSON."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from typing import Any

NAME, SCALE = sys.argv[1], float(sys.argv[2])
MESSAGE: Any = b"x" * 64
BATCH = 100
OURS = NAME.startswith("efio")
N = int((1_000_000 if OURS else 100_000) * SCALE)
if NAME.endswith("-pickle"):
    MESSAGE = "x" * 64


def make() -> Any:
    if OURS:
        import efio

        return efio.SharedQueue()
    if NAME.startswith("faster"):
        import faster_fifo

        return faster_fifo.Queue(1 << 20, loads=bytes, dumps=bytes)
    return getattr(multiprocessing, NAME.rpartition(".")[2])()


def put_all(q: Any, n: int) -> None:
    put = q.put
    for _ in range(n):
        put(MESSAGE)


def get_all(q: Any, n: int) -> None:
    if NAME.startswith("faster"):  # its get() gives up after a second by default
        get = q.get
        for _ in range(n):
            get(timeout=60)
        return
    get = q.get
    for _ in range(n):
        get()


def put_batches(q: Any, n: int) -> None:
    batch = [MESSAGE] * BATCH
    for _ in range(n // BATCH):
        q.put_many(batch)


def get_batches(q: Any, n: int) -> None:
    got = 0
    while got < n:
        got += len(q.get_many(BATCH) if OURS else q.get_many(max_messages_to_get=BATCH, timeout=60))


def rate(n: int, works: list[Callable[[], object]]) -> float:
    """Million messages/s of processes that begin together; the last work is done by this one."""
    read, write = os.pipe()
    pids = []
    for work in works[:-1]:
        pid = os.fork()
        if pid == 0:
            os.close(write)
            os.read(read, 1)  # the end of the pipe
            work()
            if NAME == "multiprocessing.Queue":  # it has a thread that does the sending
                for each in queues:
                    each.close()
                    each.join_thread()
            os._exit(0)
        pids.append(pid)
    os.close(read)
    begin = time.perf_counter()
    os.close(write)
    works[-1]()
    for pid in pids:
        os.waitpid(pid, 0)
    return n / (time.perf_counter() - begin) / 1e6


queues = [make(), make()]
q, back = queues


def echo(n: int) -> None:
    for _ in range(n):
        get_all(q, 1)
        back.put(MESSAGE)


def ask(n: int) -> None:
    for _ in range(n):
        q.put(MESSAGE)
        get_all(back, 1)


metrics = {"pair": rate(N, [lambda: put_all(q, N), lambda: get_all(q, N)])}
if hasattr(q, "put_many"):
    metrics["batch"] = rate(N, [lambda: put_batches(q, N), lambda: get_batches(q, N)])
metrics["four"] = rate(
    N, [lambda: put_all(q, N // 2), lambda: put_all(q, N // 2), lambda: get_all(q, N // 2), lambda: get_all(q, N // 2)]
)
trips = max(1000, int(10_000 * SCALE))
metrics["round_trip"] = 1 / rate(trips, [lambda: echo(trips), lambda: ask(trips)])
sys.stdout.write(json.dumps(metrics) + "\n")

"""Locks: sections/s alone, between threads, greenlets of one hub and of two, and tasks."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "locks between threads, greenlets and tasks, beside threading, gevent and asyncio"
CONTENDERS = (
    Contender("efio.Lock"),
    Contender("efio.RLock"),
    Contender("efio.Semaphore"),
    Contender("efio.TicketLock"),
    Contender("efio.SpinLock"),
    Contender("efio.RWLock"),
    Contender("efio.Lock-python", environment={"EFIO_IMPL": "python"}),
    Contender("efio.RWLock-python", environment={"EFIO_IMPL": "python"}),
    Contender("threading.Lock"),
    Contender("threading.RLock"),
    Contender("threading.Semaphore"),
    Contender("gevent.BoundedSemaphore", ("gevent",)),
    Contender("gevent.RLock", ("gevent",)),
    Contender("asyncio.Lock"),
)
COLUMNS = {
    "single": "one thread",
    "pair": "two threads",
    "four": "four threads",
    "greenlets": "100 greenlets",
    "hubs": "2 x 10 greenlets, two hubs",
    "tasks": "100 tasks",
}


def run(options: EfioOptions) -> list[Target]:
    part = Part("locks", options, CONTENDERS, rounds=5)
    part.measure("efio_locks.py", str(options.scale))
    part.table("sections (RWLock: of readers); greenlets and tasks switch inside", "million/s", COLUMNS)
    part.table("hand-over to another thread and back", "us", {"ping_pong": "round trip"}, digits=1)
    return part.report(
        [
            part.target("efio.Lock in one thread, to threading.Lock", "single", "efio.Lock", "threading.Lock", 0.7),
            part.target("efio.Lock between two threads, to threading.Lock", "pair", "efio.Lock", "threading.Lock", 0.7),
            part.target("efio.RLock in one thread, to threading.RLock", "single", "efio.RLock", "threading.RLock", 0.7),
            part.target(
                "efio.Semaphore in one thread, to threading.Semaphore",
                "single", "efio.Semaphore", "threading.Semaphore", 2.0,
            ),
            part.target(
                "efio.Lock between greenlets, to gevent's semaphore",
                "greenlets", "efio.Lock", "gevent.BoundedSemaphore", 1.0,
            ),
            part.target("efio.Lock between tasks, to asyncio.Lock", "tasks", "efio.Lock", "asyncio.Lock", 1.0),
            part.target("efio.Lock, compiled, to its twin", "pair", "efio.Lock", "efio.Lock-python", 1.0),
        ]
    )  # fmt: skip

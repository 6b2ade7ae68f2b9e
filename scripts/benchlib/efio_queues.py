"""Queues and locks: between two threads, in one thread, between greenlets of one hub and of two, with asyncio."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "queues between threads, greenlets and tasks, beside queue, gevent.queue, culsans and asyncio"
CONTENDERS = (
    Contender("efio.SimpleQueue"),
    Contender("efio.Queue"),
    Contender("efio.Queue-python", environment={"EFIO_IMPL": "python"}),
    Contender("queue.SimpleQueue"),
    Contender("queue.Queue"),
    Contender("gevent.SimpleQueue", ("gevent",)),
    Contender("gevent.Queue", ("gevent",)),
    Contender("culsans.Queue", ("culsans",)),
    Contender("asyncio.Queue"),
)
COLUMNS = {
    "single": "one thread",
    "pair": "two threads",
    "pair_100": "two, maxsize 100",
    "four": "2 + 2 threads",
    "greenlets": "two greenlets",
    "hubs": "two hubs",
    "tasks": "two tasks",
}


def run(options: EfioOptions) -> list[Target]:
    part = Part("queues", options, CONTENDERS, rounds=5)
    part.measure("efio_queues.py", str(options.scale))
    part.table("items put and got", "million/s", COLUMNS)
    part.table("hand-over and back, two threads", "us", {"round_trip": "round trip"}, digits=1)
    return part.report(
        [
            part.target("efio.Queue between two threads, to queue.Queue", "pair", "efio.Queue", "queue.Queue", 8.0),
            part.target(
                "efio.Queue between two threads, to queue.SimpleQueue", "pair", "efio.Queue", "queue.SimpleQueue", 0.5
            ),
            part.target(
                "efio.SimpleQueue between two threads, to queue.SimpleQueue",
                "pair", "efio.SimpleQueue", "queue.SimpleQueue", 1.0,
            ),
            part.target(
                "efio.SimpleQueue in one thread, to queue.SimpleQueue",
                "single", "efio.SimpleQueue", "queue.SimpleQueue", 1.0,
            ),
            part.target("efio.Queue, compiled, to its twin", "pair", "efio.Queue", "efio.Queue-python", 1.0),
        ]
    )  # fmt: skip

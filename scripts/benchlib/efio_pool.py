"""Thread pools: calls and their results, from threads, greenlets and tasks of asyncio."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "calls in a thread pool, beside concurrent.futures and gevent.threadpool"
CONTENDERS = (
    Contender("efio.ThreadPool"),
    Contender("efio.ThreadPool-python", environment={"EFIO_IMPL": "python"}),  # with a mutex around its queue
    Contender("concurrent.futures"),
    Contender("gevent.threadpool", ("gevent",)),
)
RATES = {
    "batch": "submit all, then results",
    "single": "one worker",
    "four": "4 submitters",
    "greenlets": "100 greenlets",
    "tasks": "100 tasks",
}
TRIPS = {"round_trip": "thread", "greenlet_trip": "greenlet", "task_trip": "task"}


def run(options: EfioOptions) -> list[Target]:
    part = Part("pool", options, CONTENDERS, rounds=5)
    part.measure("efio_pool.py", str(options.scale))
    part.table("calls and results, 4 workers", "thousand/s", RATES, digits=1)
    part.table("one call after the other", "us", TRIPS, digits=1)
    ours, twin, standard, gevent = (c.name for c in CONTENDERS)
    return part.report(
        [
            part.target("submit and result, to concurrent.futures", "batch", ours, standard, 4.0),
            part.target("round trip, to concurrent.futures", "round_trip", ours, standard, 0.5, lower_is_better=True),
            part.target("from greenlets, to gevent.threadpool", "greenlets", ours, gevent, 5.0),
            part.target("submit and result, compiled, to the twin with a mutex", "batch", ours, twin, 1.0),
        ]
    )

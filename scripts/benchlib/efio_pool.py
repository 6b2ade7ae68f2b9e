"""Thread pools: calls and their results, from threads, greenlets and tasks of asyncio."""

from __future__ import annotations

import json
import os
import shutil
import subprocess

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.places import BENCH, ROOT, BenchError, say
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
    "native": "100 greenlets, C functions",
}
TRIPS = {"round_trip": "thread", "greenlet_trip": "greenlet", "task_trip": "task"}


QUEUE = ("lock-free queue", "its twin with a mutex")  # of native jobs, without Python


def measure_queue(part: Part) -> None:
    """Builds and runs tests/efio/native/bench_pool.c."""
    program = BENCH / "bench_pool"
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise BenchError("no C compiler; install one: apt-get install gcc libc6-dev")
    sources = [ROOT / "tests/efio/native/bench_pool.c", *(ROOT / "efio/native" / f for f in ("pool.c", "parking.c"))]
    command = [*compiler.split(), "-std=gnu11", "-O2", "-pthread", "-I", ROOT, "-o", program, *sources]
    subprocess.run(command, check=True)
    for round_ in range(part.rounds):
        done = subprocess.run([program], capture_output=True, text=True, check=True, timeout=120)
        seen = json.loads(done.stdout)
        for name, key in zip(QUEUE, ("lock_free", "mutex"), strict=True):
            part.samples.add(name, round_, {"jobs": seen[key], "job_trip": seen[f"{key}_trip"]})
    say("  native jobs, C alone:")
    for name in QUEUE:
        jobs, trip = part.samples.median(name, "jobs"), part.samples.median(name, "job_trip")
        say(f"    {name:24}{jobs:6.1f} million/s (2 submitters, 2 workers)  {trip:5.1f} us one by one")


def run(options: EfioOptions) -> list[Target]:
    part = Part("pool", options, CONTENDERS, rounds=5)
    part.measure("efio_pool.py", str(options.scale))
    measure_queue(part)
    part.table("calls and results, 4 workers", "thousand/s", RATES, digits=1)
    part.table("one call after the other", "us", TRIPS, digits=1)
    ours, twin, standard, gevent = (c.name for c in CONTENDERS)
    return part.report(
        [
            part.target("submit and result, to concurrent.futures", "batch", ours, standard, 4.0),
            part.target("round trip, to concurrent.futures", "round_trip", ours, standard, 0.5, lower_is_better=True),
            part.target("from greenlets, to gevent.threadpool", "greenlets", ours, gevent, 5.0),
            part.target("native jobs, lock-free queue to its twin with a mutex", "jobs", *QUEUE, 1.0),
            part.target("submit and result, compiled, to the twin with a mutex", "batch", ours, twin, 1.0),
        ]
    )

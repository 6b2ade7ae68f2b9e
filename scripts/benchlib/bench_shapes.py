"""shapes: evserver beside itself with 1, 2 and 4 workers of 1 and 2 scheduler threads, all on one core.

What its defaults are chosen by: the throughput of hello world (64 connections), the percentiles of `tail` (16
connections, one request in 200 burns 20 ms of CPU) and the memory of all processes when idle.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

from benchlib.loadgen import Load
from benchlib.results import Target, ratio
from benchlib.servers import Job, Server
from benchlib.session import Options, Panel, Session

RATE = 3000.0  # requests/s, as in tail
SLOW_EVERY = 200
PERCENTS = (95.0, 99.0, 99.9)
SHAPES = tuple((workers, threads) for workers in (1, 2, 4) for threads in (1, 2))
DEFAULT = "2 x 1"


def run(options: Options) -> list[Target]:
    session = Session("shapes", options, "tail", (), rounds=3, seconds=4.0)
    base = session.servers[0]
    table = {_name(*shape): (shape[0], _shaped(base, shape[1], _name(*shape))) for shape in SHAPES}
    session.servers = [server for _, server in table.values()] if base.name not in session.failed else []
    for round_, server in session.turns():
        with session.attempt(server):
            _measure(session, server, round_, table[server.name][0])
    return _report(session)


def _name(workers: int, threads: int) -> str:
    return f"{workers} x {threads}"


def _shaped(base: Server, threads: int, name: str) -> Server:
    def command(job: Job, port: int, before: Server) -> list[str]:
        return [*before.command(job, port), "--threads", str(threads)]

    return dataclasses.replace(base, name=name, command=functools.partial(command, before=base))


def _measure(session: Session, server: Server, round_: int, workers: int) -> None:
    with session.start(server, Job("hello", workers)) as running:
        total = running.tree.memory()
        hello = session.measure(running, Load(connections=64, seconds=session.seconds, seed=round_ + 1))
    with session.start(server, Job("tail", workers)) as running:
        load = Load(
            connections=16, seconds=session.seconds, warmup=1.0, rate=RATE, slow_every=SLOW_EVERY, seed=round_ + 1
        )
        tail = session.measure(running, load)
    values = {"rate": hello.rate, "cpu_us": hello.cpu_per_request * 1e6, "total_mb": total / 1e6}
    values |= {f"p{p:g}_ms": tail.normal.percentile(p) * 1e3 for p in PERCENTS}
    session.add(server, round_, values)


def _report(session: Session) -> list[Target]:
    samples = session.samples
    names = samples.servers
    rows: list[Sequence[str]] = [
        (
            name,
            f"{samples.median(name, 'rate'):,.0f}",
            str(ratio(samples, "rate", name, DEFAULT)),
            f"{samples.median(name, 'cpu_us'):.2f}",
            *(f"{samples.median(name, f'p{p:g}_ms'):.2f}" for p in PERCENTS),
            f"{samples.median(name, 'total_mb'):.0f}",
        )
        for name in names
    ]
    panels = [
        Panel("the other requests of tail, 16 connections", "ms",
              {n: [samples.median(n, f"p{p:g}_ms") for p in PERCENTS] for n in names},
              tuple(f"p{p:g}" for p in PERCENTS), log=True),
        Panel("hello world", "requests/s", {n: [samples.median(n, "rate")] for n in names}),
        Panel("memory of all processes, idle", "MB", {n: [samples.median(n, "total_mb")] for n in names}),
    ]  # fmt: skip
    head = ("workers x threads", "requests/s", f"to {DEFAULT}", "CPU us/request",
            "tail p95 ms", "p99 ms", "p99.9 ms", "all processes MB")  # fmt: skip
    return session.report(head, rows, [], panels)

"""The tail of requests that ask the database once, while one request in 200 burns 20 ms of CPU.

As bench_tail.py, whose load and targets these are: about 3,000 requests/s by think time, the server on one core, now
with database and load on the other. All have the same number of workers; evserver has two scheduler threads in each.
"""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.bench_tail import CONNECTIONS, RATE, SLOW_EVERY, TARGETS, WORKERS
from benchlib.db_web import CLIENT, COMMANDS, CONTENDERS, SERVER, make_tables, ours, to_the_best
from benchlib.dbserver import postgresql
from benchlib.launch import launch
from benchlib.loadgen import Load, measure
from benchlib.places import LOGS, say
from benchlib.results import Target
from benchlib.servers import clean_env

TEXT = "one query each on PostgreSQL while 1 request in 200 burns 20 ms; 2 and 4 workers, 16 and 64 connections"
SECONDS = 4.0
PERCENTS = (50.0, 95.0, 99.0, 99.9)


def _metric(workers: int, connections: int, percent: float) -> str:
    return f"w{workers}_c{connections}_p{percent:g}"


def _command(name: str, port: int, workers: int) -> list[str]:
    if name == CONTENDERS[0].name:
        return ours(port, workers, "--threads", "2")
    return COMMANDS[name](port, workers)


def _measure(part: Part, contender: Contender, round_: int, url: str, seconds: float) -> None:
    env, name = clean_env({"DATABASE_URL": url, "FORTUNES_DB": url}), contender.name
    log = LOGS / f"db-tail-{name}.log"
    metrics: dict[str, float] = {}
    for workers in WORKERS:
        with launch(name, lambda port: _command(name, port, workers), env, cpus=SERVER, log=log) as running:  # noqa: B023
            for connections in CONNECTIONS:
                load = Load(
                    connections=connections, seconds=seconds, warmup=1.0, path="/db", expect=None, rate=RATE,
                    slow_every=SLOW_EVERY, seed=round_ + 1,
                )  # fmt: skip
                got = measure(running, load, CLIENT)
                for percent in PERCENTS:
                    metrics[_metric(workers, connections, percent)] = got.normal.percentile(percent) * 1e3
                metrics[f"w{workers}_c{connections}_rate"] = got.rate
    part.samples.add(name, round_, metrics)
    shown = "  ".join(f"{w} workers, {c}: {metrics[_metric(w, c, 99.0)]:.2f}" for w in WORKERS for c in CONNECTIONS)
    say(f"  {name:20} p99 in ms  {shown}")


def run(options: EfioOptions) -> list[Target]:
    part = Part("tail", options, CONTENDERS, rounds=3, family="db")
    from benchlib.install import build_loadgen

    build_loadgen()
    with postgresql(CLIENT) as url:
        make_tables(url)
        for round_, contender in part.turns():
            with part.attempt(contender):
                _measure(part, contender, round_, url, SECONDS * options.scale)
    for workers in WORKERS:
        for connections in CONNECTIONS:
            columns = {_metric(workers, connections, percent): f"p{percent:g}" for percent in PERCENTS}
            columns[f"w{workers}_c{connections}_rate"] = "requests/s"
            part.table(f"{workers} workers, {connections} connections: the other requests", "ms", columns)
    return part.report(
        [
            to_the_best(
                part, f"{workers} workers, {connections} connections: p{percent:g}",
                _metric(workers, connections, percent), limit, lower_is_better=True,
            )
            for workers, connections, percent, limit in TARGETS
        ]
    )  # fmt: skip

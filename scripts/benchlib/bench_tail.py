"""tail: one request in 200 burns 20 ms of CPU; how long do the others take?

A closed loop with exponentially distributed think time holds about 3,000 requests/s on 16 or 64 connections, so a fast
server's core is a third busy with the slow requests and mostly idle otherwise. The percentiles are those of the other
requests alone. All servers get the same number of workers and the same sequence of slow requests.

evserver runs with two scheduler threads in each worker, which is what its documentation recommends against long tails
(as gunicorn-gthread runs with eight); evserver-1-thread is its default. evserver-untold does not learn which paths burn
CPU (--costly 0): so it is where these cannot be told from the others by their path.
"""

from __future__ import annotations

from benchlib.histogram import Histogram
from benchlib.loadgen import Load
from benchlib.places import say
from benchlib.results import Sense, Target, format_table, ratio, ratio_target
from benchlib.servers import Job, Server
from benchlib.session import Options, Panel, Session

DEFAULT_PEERS = (
    "evserver-1-thread", "evserver-untold",
    "fastwsgi", "bjoern", "socketify", "granian-wsgi", "granian-asgi", "granian-rsgi", "uvicorn",
    "gunicorn-gevent", "gunicorn-gthread",
)  # fmt: skip
RATE = 3000.0  # requests/s
SLOW_EVERY = 200
WORKERS = (4, 2)
CONNECTIONS = (16, 64)
PERCENTS = (50.0, 95.0, 99.0, 99.9)
# workers, connections, percentile, at most this share of the best peer's
TARGETS = (
    (4, 16, 99.0, 1 / 4), (4, 64, 99.0, 1 / 6), (4, 16, 99.9, 1 / 5), (4, 64, 99.9, 1 / 5),
    (2, 16, 99.0, 1 / 5), (2, 16, 95.0, 1 / 5), (2, 64, 95.0, 1 / 5),
)  # fmt: skip
AT_MOST: Sense = "at most"


def metric(workers: int, connections: int, percent: float) -> str:
    """Its name in the samples; the value is in milliseconds."""
    return f"w{workers}_c{connections}_p{percent:g}_ms"


def run(options: Options) -> list[Target]:
    session = Session("tail", options, "tail", DEFAULT_PEERS, rounds=3, seconds=8.0)
    parts: dict[tuple[str, int, int], list[Histogram]] = {}
    for round_, server in session.turns():
        with session.attempt(server):
            for workers in WORKERS:
                _measure(session, server, round_, workers, parts)
    session.extra["merged"] = {
        f"{name} w{workers} c{connections}": {
            f"p{percent:g}_ms": Histogram.merged(histograms).percentile(percent) * 1e3 for percent in (*PERCENTS, 100.0)
        }
        for (name, workers, connections), histograms in parts.items()
        if name not in session.failed
    }
    return _report(session)


def _measure(
    session: Session, server: Server, round_: int, workers: int, parts: dict[tuple[str, int, int], list[Histogram]]
) -> None:
    with session.start(server, Job("tail", workers)) as running:
        for connections in CONNECTIONS:
            load = Load(
                connections=connections, seconds=session.seconds, warmup=1.0, rate=RATE, slow_every=SLOW_EVERY,
                seed=round_ + 1,
            )  # fmt: skip
            got = session.measure(running, load)
            values = {metric(workers, connections, p): got.normal.percentile(p) * 1e3 for p in PERCENTS}
            values[f"w{workers}_c{connections}_rate"] = got.rate
            values[f"w{workers}_c{connections}_slow_p50_ms"] = got.slow.percentile(50) * 1e3
            session.add(server, round_, values)
            parts.setdefault((server.name, workers, connections), []).append(got.normal)


def _targets(session: Session) -> list[Target]:
    return [
        ratio_target(
            f"{workers} workers, {connections} connections: p{percent:g} of the other requests to the best peer's",
            session.samples, metric(workers, connections, percent), session.peers, limit, AT_MOST,
        )
        for workers, connections, percent, limit in TARGETS
    ]  # fmt: skip


def _rows(session: Session, workers: int, connections: int) -> list[tuple[str, ...]]:
    samples = session.samples
    rows = []
    for name in session.ordered(metric(workers, connections, 99.0), highest_first=False):
        cells = [f"{samples.median(name, metric(workers, connections, p)):.2f}" for p in PERCENTS]
        against = [str(ratio(samples, metric(workers, connections, p), "evserver", name)) for p in (99.0, 99.9)]
        rate = f"{samples.median(name, f'w{workers}_c{connections}_rate'):,.0f}"
        slow = f"{samples.median(name, f'w{workers}_c{connections}_slow_p50_ms'):.0f}"
        rows.append((name, *cells, *against, rate, slow))
    return rows


def _report(session: Session) -> list[Target]:
    head = ("", "p50 ms", "p95 ms", "p99 ms", "p99.9 ms", "evserver's p99", "and p99.9", "requests/s", "slow p50 ms")
    cases = [(workers, connections) for workers in WORKERS for connections in CONNECTIONS]
    panels = []
    for workers, connections in cases:
        title = f"{workers} workers, {connections} connections"
        rows = _rows(session, workers, connections)
        if (workers, connections) != cases[-1]:
            say(f"\n{format_table((title, *head[1:]), rows)}")
        bars = {row[0]: [session.samples.median(row[0], metric(workers, connections, p)) for p in PERCENTS[1:]]
                for row in rows}  # fmt: skip
        panels.append(Panel(f"the other requests: {title}", "ms", bars, ("p95", "p99", "p99.9"), log=True))
    return session.report((title, *head[1:]), rows, _targets(session), panels)

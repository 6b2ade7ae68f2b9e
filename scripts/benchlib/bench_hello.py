"""hello world: 64 keep-alive connections, one worker each, 13 bytes of text; throughput and CPU per request."""

from __future__ import annotations

import math

from benchlib.loadgen import Load
from benchlib.results import Target, ratio, ratio_target
from benchlib.servers import Job
from benchlib.session import Options, Panel, Session

DEFAULT_PEERS = (
    "evserver-echo", "fastwsgi", "bjoern", "socketify", "granian-wsgi", "granian-asgi", "granian-rsgi", "uvicorn",
    "gunicorn-gevent", "openresty",
)  # fmt: skip
SATURATED = 0.97  # share of its core that the generator used: the server could have done more


def run(options: Options) -> list[Target]:
    session = Session("hello", options, "hello", DEFAULT_PEERS, rounds=5, seconds=4.0)
    for round_, server in session.turns():
        with session.attempt(server), session.start(server, Job("hello", 1)) as running:
            got = session.measure(running, Load(connections=64, seconds=session.seconds, seed=round_ + 1))
            session.add(
                server,
                round_,
                {
                    "rate": got.rate,
                    "cpu_us": got.cpu_per_request * 1e6,
                    "p50_us": got.normal.percentile(50) * 1e6,
                    "p99_us": got.normal.percentile(99) * 1e6,
                    "client_load": got.client_load,
                },
            )
    return _report(session)


def _targets(session: Session) -> list[Target]:
    samples, peers = session.samples, session.peers
    if samples.rounds("evserver", "rate"):
        found = ratio(samples, "cpu_us", "evserver", "evserver-echo")
        alone = Target(
            "CPU per request to the gateway answering by itself", found.value, 1.3, "at most", against="evserver-echo",
            spread=(found.low, found.high),
        )  # fmt: skip
        if math.isnan(found.value):
            alone = Target(alone.what, math.nan, 1.3, "at most", against="evserver-echo did not run")
    else:
        alone = Target("CPU per request to the gateway answering by itself", math.nan, 1.3, "at most",
                       against="evserver did not run")  # fmt: skip
    return [
        ratio_target("requests/s to the best peer", samples, "rate", peers, 1.0, "at least", aim=1.1),
        ratio_target("CPU per request to the best peer", samples, "cpu_us", peers, 0.95, "at most"),
        alone,
    ]


def _report(session: Session) -> list[Target]:
    samples = session.samples
    names = session.ordered("rate", highest_first=True)
    rows = [
        (
            name,
            f"{samples.median(name, 'rate'):,.0f}",
            str(ratio(samples, "rate", "evserver", name)),
            f"{samples.median(name, 'cpu_us'):.2f}",
            str(ratio(samples, "cpu_us", "evserver", name)),
            f"{samples.median(name, 'p50_us'):.0f}",
            f"{samples.median(name, 'p99_us'):.0f}",
        )
        for name in names
    ]
    full = [name for name in names if samples.median(name, "client_load") > SATURATED]
    if full:
        session.remarks.append(
            f"the generator's core was full with {', '.join(full)}: compare these by CPU per request, not by requests/s"
        )
    head = ("server", "requests/s", "evserver is", "CPU us/request", "evserver needs", "p50 us", "p99 us")
    by_cpu = session.ordered("cpu_us", highest_first=False)
    panels = [
        Panel("throughput, 64 connections, one worker on one core", "requests/s",
              {n: [samples.median(n, "rate")] for n in names}),
        Panel("CPU of all server processes", "microseconds per request",
              {n: [samples.median(n, "cpu_us")] for n in by_cpu}),
    ]  # fmt: skip
    return session.report(head, rows, _targets(session), panels)

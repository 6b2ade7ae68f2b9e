"""idle: what 10,000 silent keep-alive connections cost.

Each connection is opened, answered once and then left alone. Memory is the growth of the PSS of all server processes,
divided by the connections; the kernel's socket buffers are not in it. Hello-world throughput is measured before, during
and after, and the one during is compared with the mean of the two others, which takes out a drift of the machine.
"""

from __future__ import annotations

import math
from pathlib import Path

from benchlib.launch import raise_file_limit
from benchlib.loadgen import Load, hold
from benchlib.places import BenchError
from benchlib.results import Target
from benchlib.servers import Job, Server
from benchlib.session import Options, Panel, Session

DEFAULT_PEERS = ("granian-asgi", "uvicorn", "gunicorn-gevent", "socketify", "nginx")
FILES = 40_000  # open files wanted, for a server that needs two per connection and for the client
SPARE_PORTS = 500  # of the ephemeral range, for everything else


def connections_possible(wanted: int, files: int, port_range: tuple[int, int]) -> tuple[int, str]:
    """How many of the wanted connections the limits allow, and what limits them ('' when nothing does)."""
    ports = port_range[1] - port_range[0] + 1 - SPARE_PORTS
    possible = min(wanted, ports, files - 200)
    if possible == wanted:
        return wanted, ""
    if possible == ports:
        return possible, f"net.ipv4.ip_local_port_range has room for {ports}"
    return possible, f"the limit of open files is {files} (ulimit -n)"


def run(options: Options) -> list[Target]:
    low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    count, limited = connections_possible(options.idle, raise_file_limit(FILES), (int(low), int(high)))
    if count < 1:
        raise BenchError(f"no idle connections possible: {limited}")
    session = Session("idle", options, "hello", DEFAULT_PEERS, rounds=3, seconds=3.0)
    if limited:
        session.remarks.append(f"only {count} idle connections: {limited}")
    for round_, server in session.turns():
        with session.attempt(server):
            _measure(session, server, round_, count)
    return _report(session, count)


def _measure(session: Session, server: Server, round_: int, count: int) -> None:
    load = Load(connections=64, seconds=session.seconds, seed=round_ + 1)
    with session.start(server, Job("hello", 1)) as running:
        before = session.measure(running, load).rate
        empty = running.tree.memory()
        with hold(running, count, set(session.options.client_cpus)):
            full = running.tree.memory()
            during = session.measure(running, load).rate
        after = session.measure(running, load).rate
    session.add(
        server,
        round_,
        {
            "kb_each": (full - empty) / count / 1000,
            "empty_mb": empty / 1e6,
            "rate_without": (before + after) / 2,
            "rate_with": during,
            "rate_kept": during / ((before + after) / 2),
        },
    )


def _report(session: Session, count: int) -> list[Target]:
    samples = session.samples
    names = session.ordered("kb_each", highest_first=False)
    rows = [
        (
            name,
            f"{samples.median(name, 'kb_each'):.2f}",
            f"{samples.median(name, 'empty_mb'):.1f}",
            f"{samples.median(name, 'rate_without'):,.0f}",
            f"{samples.median(name, 'rate_with'):,.0f}",
            f"{samples.median(name, 'rate_kept'):.1%}",
        )
        for name in names
    ]
    ran = bool(samples.rounds("evserver", "kb_each"))
    why = "" if ran else "evserver did not run"
    kept = samples.rounds("evserver", "rate_kept").values()
    targets = [
        Target(f"memory per idle connection, {count} of them", samples.median("evserver", "kb_each"), 3.0, "at most",
               unit=" KB", against=why),
        Target("hello-world throughput beside them, to without", samples.median("evserver", "rate_kept"), 0.9,
               "at least", against=why, spread=(min(kept), max(kept)) if ran else None),
    ]  # fmt: skip
    panels = [
        Panel(f"memory per idle connection ({count} of them)", "KB (all processes, PSS)",
              {n: [samples.median(n, "kb_each")] for n in names}),
        Panel("hello-world throughput", "requests/s",
              {n: [samples.median(n, "rate_without"), samples.median(n, "rate_with")] for n in names},
              ("without", "with idle ones")),
    ]  # fmt: skip
    head = ("server", "KB/connection", "empty MB", "requests/s without", "with", "kept")
    assert all(not math.isnan(samples.median(n, "rate_kept")) for n in names)
    return session.report(head, rows, targets, panels)

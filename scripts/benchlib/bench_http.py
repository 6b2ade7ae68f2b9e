"""scripts/bench http-client: HTTP clients beside each other: small answers over kept connections.

The server is evserver's gateway answering by itself, on the first core; the clients run on the second one, each with
its features as they come. A figure is requests/s and CPU per request, on 1 connection and on 64.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.launch import launch, on_cpus
from benchlib.places import APPS, BENCH, ROOT, BenchError
from benchlib.results import Target
from benchlib.servers import clean_env

__all__ = ["TEXT", "parts", "run"]

TEXT = "HTTP clients: requests/s on 1 and 64 connections, beside geventhttpclient, urllib3, requests, httpx, aiohttp"
CONTENDERS = (
    Contender("service_utils.http"),
    Contender("service_utils.http-threads"),
    Contender("geventhttpclient", ("geventhttpclient", "gevent")),
    Contender("urllib3", ("urllib3", "gevent")),
    Contender("requests", ("requests", "gevent")),
    Contender("httpx", ("httpx", "gevent")),
    Contender("aiohttp", ("aiohttp",)),
)
LIMITS = {"geventhttpclient": 0.95, "urllib3": 3.0, "requests": 7.0, "httpx": 7.0, "aiohttp": 1.0}
COLUMNS = {"rate_1": "1 connection", "rate_64": "64 connections"}


def parts() -> dict[str, str]:
    """There is one."""
    return {"small": "answers of 13 bytes"}


def run(names: Sequence[str], options: EfioOptions) -> list[Target]:
    """BenchError when it cannot be measured here."""
    if unknown := [name for name in names if name != "small"]:
        raise BenchError(f"http-client has no part '{unknown[0]}'; there is small")
    part = Part("small", options, CONTENDERS, rounds=3, family="http-client")
    cpus = sorted(os.sched_getaffinity(0))

    def server(port: int) -> list[str]:
        program = [str(ROOT / ".venv" / "bin" / "evserver"), str(APPS / "ev_hello.py"), "--bind", f"127.0.0.1:{port}"]
        return [*program, "--workers", "1", "--config", "", "--log-level", "warning"]

    env = clean_env({"EVPY_BENCH_ECHO": "1"})
    log = BENCH / "log" / "http-client-server.log"
    with launch("evserver", server, env, cpus={cpus[0]}, log=log) as running, on_cpus({cpus[-1]}):
        part.measure("http_client.py", f"http://127.0.0.1:{running.port}/", str(2.0 * options.scale))
    part.table("requests", "1/s", COLUMNS, digits=0)
    part.table(
        "CPU of a request", "us", {name.replace("rate", "cpu"): text for name, text in COLUMNS.items()}, digits=1
    )
    ours = CONTENDERS[0].name
    return part.report(
        [
            part.target(f"{text}, to {peer}", metric, ours, peer, limit)
            for peer, limit in LIMITS.items()
            for metric, text in COLUMNS.items()
        ]
    )

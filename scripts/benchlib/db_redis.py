"""Redis: GET of a small value, beside redis-py with its own pools under monkey patching. Server on the first core."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.launch import free_port, on_cpus
from benchlib.places import BenchError
from benchlib.results import Target

TEXT = "GET from Redis on 1 and 16 connections, beside redis-py's own pools"
CONTENDERS = (
    Contender("service_utils.redis"),
    Contender("redis.BlockingConnectionPool", ("redis", "hiredis", "gevent")),
    Contender("redis.ConnectionPool", ("redis", "hiredis", "gevent")),
)
COLUMNS = {"1": "1 connection", "16": "16 connections"}


def run(options: EfioOptions) -> list[Target]:
    program = shutil.which("redis-server")
    if program is None:
        raise BenchError("redis-server is not installed; on Debian: apt-get install redis-server")
    part = Part("redis", options, CONTENDERS, rounds=3, family="db")
    cpus = sorted(os.sched_getaffinity(0))
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        with on_cpus({cpus[0]}):
            command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", folder]
            server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            with on_cpus({cpus[-1]}):
                part.measure("db_redis.py", str(port), str(2.0 * options.scale))
        finally:
            server.terminate()
            server.wait()
    part.table("GET", "1/s", {f"rate_{n}": text for n, text in COLUMNS.items()}, digits=0)
    part.table("CPU of one", "us", {f"cpu_{n}": text for n, text in COLUMNS.items()}, digits=1)
    ours = CONTENDERS[0].name
    return part.report(
        [
            part.target(f"{text}, to {peer.name}", f"rate_{n}", ours, peer.name, 1.0)
            for peer in CONTENDERS[1:]
            for n, text in COLUMNS.items()
        ]
    )

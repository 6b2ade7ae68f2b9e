"""PostgreSQL stopped hard and started again under load: how the rate falls and comes back.

A client of 16 flows asks all the time, on the first core; the server is on the second. After some seconds it is ended
as by a crash (SIGQUIT), stays away for a while, and is started again. Counted are the answers in each tenth of a
second; it has come back when a second long at least 90 % of the former rate was served, and what is reported is the
time from the moment at which the server answers (pg_isready) to the begin of that second.
"""

from __future__ import annotations

import json
import math
import os
import signal
import statistics
import subprocess
import time

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.dbserver import postgresql_server
from benchlib.places import APPS, ROOT, BenchError, say
from benchlib.results import Target

__all__ = ["TEXT", "run"]

TEXT = "PostgreSQL ended hard and started again under load: the rate over time, and when it is back"
BEFORE, AWAY, AFTER = 4.0, 2.0, 5.0  # seconds
STEP = 0.1  # seconds
OURS = Contender("service_utils.db")
WIDTH = 60  # characters of the longest bar


def run(options: EfioOptions) -> list[Target]:
    part = Part("restart", options, (OURS,), rounds=3, family="db")
    for round_, contender in part.turns():
        with part.attempt(contender):
            part.samples.add(contender.name, round_, _one(options.scale))
    part.table("rate", "queries/s", {"before": "before", "after": "after"}, digits=0)
    back = part.samples.median(OURS.name, "back")
    wrong = part.samples.median(OURS.name, "wrong")
    return part.report(
        [
            Target("90 % of the former rate again after the server answers", back, 2.0, "at most", unit=" s"),
            Target("errors in the second after that", part.samples.median(OURS.name, "late"), 0, "at most", unit=""),
            Target("wrong answers", wrong, 0, "at most", unit=""),
        ]
    )


def _one(scale: float) -> dict[str, float]:
    cpus = sorted(os.sched_getaffinity(0))
    with postgresql_server({cpus[-1]}) as server:
        command = [ROOT / ".venv" / "bin" / "python", "-P", APPS / "db_restart.py", server.url, str(cpus[0]), str(STEP)]
        client = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert client.stdin is not None
        assert client.stdout is not None
        try:
            if client.stdout.readline() != "ready\n":
                raise BenchError("the client did not start")
            time.sleep(BEFORE * scale)
            down = time.monotonic()
            server.stop(signal.SIGQUIT)
            time.sleep(AWAY * scale)
            server.start(every=0.01)
            up = time.monotonic()
            time.sleep(max(AFTER * scale, 2.0))
            out, _ = client.communicate("end\n", timeout=30)
        finally:
            client.kill()
            client.wait()
    if client.returncode:
        raise BenchError(f"the client ended with status {client.returncode}")
    seen = json.loads(out)
    return _judge(seen["good"], seen["failed"], down - seen["begin"], up - seen["begin"]) | {"wrong": seen["wrong"]}


def _judge(good: list[int], failed: list[int], down: float, up: float) -> dict[str, float]:
    """Of counts for each step; ``down`` and ``up`` in seconds after the first one."""
    first = int(down / STEP)
    usual = statistics.mean(good[first // 4 : first])  # without the begin, in which statements are prepared
    window = round(1 / STEP)
    back, late = math.nan, math.nan
    start = math.ceil(up / STEP)
    for at in range(start, len(good) - window):
        if statistics.mean(good[at : at + window]) >= 0.9 * usual:
            back = max(0.0, at * STEP - up)
            late = sum(failed[at : at + window])
            break
    most = max(good)
    say(f"  answers (#) and errors in each {STEP * 1000:.0f} ms")
    for at, (count, errors) in enumerate(zip(good, failed, strict=True)):
        event = "  <- ended" if at == first else "  <- answers again" if at == int(up / STEP) else ""
        shown = "#" * round(count / most * WIDTH)
        say(f"  {at * STEP:5.1f} s {count:6} {shown:{WIDTH}} {errors or '':>6}{event}")
    after = statistics.mean(good[-window:]) / STEP
    return {"before": usual / STEP, "after": after, "back": back, "late": late}

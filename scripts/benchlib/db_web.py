"""TechEmpower's kinds of request on PostgreSQL: one worker on one core, database and load on the other.

Peers with asyncpg, psycopg and Django's ORM do the same work in their own idiom (see apps/db_*.py), each with up to 32
connections. The tail with slow requests among them is measured by db_tail.py.

Updates leave dead rows behind, the more the faster a contender is, and whoever comes next would have to step over them:
everybody begins with a table that was just written anew. A fast server is limited by the database, not by its own core:
how full both cores were is printed, and the report names the kinds in which that was so.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.dbserver import Postgresql, postgresql_server
from benchlib.launch import launch
from benchlib.loadgen import Load, measure
from benchlib.places import APPS, LOGS, ROOT, VENV, say
from benchlib.results import Target
from benchlib.servers import clean_env

TEXT = "json, single query, 20 queries, fortunes, 20 updates on PostgreSQL, beside Starlette, FastAPI, Flask, Django"
PYTHON = str(VENV / "bin" / "python")
SERVER, CLIENT = {0}, {1}
SECONDS = 2.0
CONNECTIONS = 32
ASYNC = ("asyncpg", "uvloop")


def ours(port: int, workers: int, *more: str) -> list[str]:
    """evserver with the fortunes example."""
    program = str(ROOT / ".venv" / "bin" / "evserver")
    command = [program, str(APPS / "ev_fortunes.py"), "--bind", f"127.0.0.1:{port}", "--workers", str(workers)]
    return [*command, "--config", "", "--log-level", "warning", "--keep-alive", "3600", *more]


def _granian(port: int, workers: int) -> list[str]:
    command = [PYTHON, "-m", "granian", "--interface", "asgi", "--http", "1", "--no-ws", "--loop", "uvloop"]
    return [*command, "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers), "db_asgi:starlette"]


def _uvicorn(app: str) -> Callable[[int, int], list[str]]:
    def command(port: int, workers: int) -> list[str]:
        start = [PYTHON, "-m", "uvicorn", "--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        start += ["--log-level", "warning", "--host", "127.0.0.1", "--port", str(port), "--workers", str(workers)]
        return [*start, f"db_asgi:{app}"]

    return command


def _gunicorn(app: str, kind: str) -> Callable[[int, int], list[str]]:
    def command(port: int, workers: int) -> list[str]:
        start = [PYTHON, "-m", "gunicorn", "--worker-class", kind, "--workers", str(workers), "--keep-alive", "3600"]
        start += [
            "--bind",
            f"127.0.0.1:{port}",
            "--log-level",
            "warning",
            "--threads",
            "8" if kind == "gthread" else "1",
        ]
        return [*start, app]

    return command


COMMANDS: dict[str, Callable[[int, int], list[str]]] = {
    "service_utils": ours,
    "starlette-granian": _granian,
    "starlette-uvicorn": _uvicorn("starlette"),
    "fastapi-uvicorn": _uvicorn("fastapi"),
    "flask-gevent": _gunicorn("db_flask:app", "gevent"),
    "django-gthread": _gunicorn("db_django:app", "gthread"),
}
CONTENDERS = (
    Contender("service_utils"),
    Contender("starlette-granian", ("starlette", "granian", *ASYNC)),
    Contender("starlette-uvicorn", ("starlette", "uvicorn", "httptools", *ASYNC)),
    Contender("fastapi-uvicorn", ("fastapi", "uvicorn", "httptools", *ASYNC)),
    Contender("flask-gevent", ("flask", "gunicorn", "gevent", "psycopg[binary]", "psycopg_pool")),
    Contender("django-gthread", ("django", "gunicorn", "psycopg[binary]")),
)
KINDS = {
    "json": ("/json", 2.0), "single": ("/db", 2.0), "queries": ("/queries?n=20", 1.5), "fortunes": ("/fortunes", 2.0),
    "updates": ("/updates?n=20", 1.3),
}  # fmt: skip
HEADS = {
    "json": "json",
    "single": "one query",
    "queries": "20 queries",
    "fortunes": "fortunes",
    "updates": "20 updates",
}


FULL = 0.95  # of a core


def _measure(part: Part, contender: Contender, round_: int, database: Postgresql, seconds: float) -> None:
    env = clean_env({"DATABASE_URL": database.url, "FORTUNES_DB": database.url})
    database.command("vacuum full world")
    log = LOGS / f"db-web-{contender.name}.log"
    metrics: dict[str, float] = {}
    command = COMMANDS[contender.name]
    with launch(contender.name, lambda port: command(port, 1), env, cpus=SERVER, log=log) as running:
        for kind, (path, _) in KINDS.items():
            load = Load(connections=CONNECTIONS, seconds=seconds, path=path, expect=None, seed=round_ + 1)
            got = measure(running, load, CLIENT)
            metrics[kind] = got.rate
            metrics[f"{kind}_cpu"] = got.cpu_per_request * 1e6
            metrics[f"{kind}_p99"] = got.normal.percentile(99) * 1e3
            metrics[f"{kind}_server"] = got.cpu_seconds / got.seconds * 100
            metrics[f"{kind}_beside"] = (got.client_load + got.others_load) * 100
    part.samples.add(contender.name, round_, metrics)
    say(f"  {contender.name:20}" + "  ".join(f"{kind} {metrics[kind]:,.0f}" for kind in KINDS))


def make_tables(url: str) -> None:
    """Those of the example, which the peers expect to find."""
    env = clean_env({"FORTUNES_DB": url})
    with launch(CONTENDERS[0].name, lambda port: ours(port, 1), env, cpus=SERVER, log=LOGS / "db-web-tables.log"):
        pass


def run(options: EfioOptions) -> list[Target]:
    part = Part("web", options, CONTENDERS, rounds=3, family="db")
    from benchlib.install import build_loadgen

    build_loadgen()
    with postgresql_server(CLIENT) as database:
        make_tables(database.url)
        for round_, contender in part.turns():
            with part.attempt(contender):
                _measure(part, contender, round_, database, SECONDS * options.scale)
    part.table("one worker on one core, 32 connections", "requests/s", HEADS, digits=0)
    part.table("CPU of the server", "us per request", {f"{k}_cpu": head for k, head in HEADS.items()}, digits=0)
    part.table("the server's core", "% busy", {f"{k}_server": head for k, head in HEADS.items()}, digits=0)
    part.table("the core of database and load", "% busy", {f"{k}_beside": head for k, head in HEADS.items()}, digits=0)
    part.remarks += _limits(part)
    return part.report([to_the_best(part, HEADS[kind], kind, limit) for kind, (_, limit) in KINDS.items()])


def _limits(part: Part) -> list[str]:
    """In which kinds ours could not show more, since the other core was full."""
    name = CONTENDERS[0].name
    found = []
    for kind, head in HEADS.items():
        server, beside = (part.samples.median(name, f"{kind}_{which}") for which in ("server", "beside"))
        if server < FULL * 100 <= beside:
            found.append(
                f"{head}: {name} used {server:.0f} % of its core, while that of database and load was full: "
                "the ratio of CPU says more than that of requests/s"
            )
    return found


def to_the_best(part: Part, what: str, metric: str, limit: float, lower_is_better: bool = False) -> Target:
    """Ours to the peer that is best in this metric."""
    medians = {c.name: part.samples.median(c.name, metric) for c in CONTENDERS[1:]}
    ran = {name: value for name, value in medians.items() if not math.isnan(value)}
    what = f"{what}, to the best peer"
    if not ran:
        return Target(what, math.nan, limit, "at most" if lower_is_better else "at least", against="no peer ran")
    best = (min if lower_is_better else max)(ran, key=lambda name: ran[name])
    return part.target(what, metric, CONTENDERS[0].name, best, limit, lower_is_better=lower_is_better)

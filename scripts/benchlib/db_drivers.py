"""One query by primary key on PostgreSQL, from 16 flows on one core, the server on the other: no HTTP."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.dbserver import postgresql
from benchlib.results import Target

TEXT = "one query by primary key, 16 at a time, beside asyncpg on uvloop and psycopg under gevent's patching"
CONTENDERS = (
    Contender("service_utils.db"),
    Contender("asyncpg", ("asyncpg", "uvloop")),
    Contender("psycopg-gevent", ("psycopg[binary]", "psycopg_pool", "gevent")),
)


def run(options: EfioOptions) -> list[Target]:
    part = Part("drivers", options, CONTENDERS, rounds=3, family="db")
    with postgresql({1}) as url:
        part.measure("db_drivers.py", str(options.scale), url)
    part.table("queries, each with its own connection from the pool", "per second", {"rate": "rate"}, digits=0)
    part.table("CPU of the client", "us per query", {"cpu": "one by one", "many_cpu": "20 at a time"}, digits=1)
    ours, asyncpg, psycopg = (c.name for c in CONTENDERS)
    return part.report(
        [
            part.target("CPU per query, to asyncpg", "cpu", ours, asyncpg, 0.7, lower_is_better=True),
            part.target("CPU per query, to psycopg", "cpu", ours, psycopg, 0.8, lower_is_better=True),
            part.target("CPU per query of 20, to asyncpg", "many_cpu", ours, asyncpg, 0.4, lower_is_better=True),
        ]
    )

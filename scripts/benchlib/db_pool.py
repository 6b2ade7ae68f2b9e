"""The pool by itself: taking a connection that is there and giving it back, without any database."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "acquire and release when nobody waits, beside psycopg_pool and SQLAlchemy's QueuePool"
CONTENDERS = (
    Contender("service_utils.pool"),
    Contender("psycopg_pool", ("psycopg[binary]", "psycopg_pool")),
    Contender("sqlalchemy.QueuePool", ("sqlalchemy",)),
)


def run(options: EfioOptions) -> list[Target]:
    part = Part("pool", options, CONTENDERS, rounds=5, family="db")
    part.measure("db_pool.py", str(options.scale))
    part.table("acquire and release", "us", {"call": "two calls", "block": "with block"})
    ours = CONTENDERS[0].name
    target = Target("acquire and release", part.samples.median(ours, "call"), 1.5, "at most", " us")
    peers = [c.name for c in CONTENDERS[1:]]
    return part.report([target, *(part.target(f"to {p}", "call", ours, p, 0.7, lower_is_better=True) for p in peers)])

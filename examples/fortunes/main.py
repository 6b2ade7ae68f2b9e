"""Fortunes: pages and JSON out of a database, the kinds of request that TechEmpower's benchmarks have.

scripts/run examples/fortunes/main.py, then http://127.0.0.1:8000/
FORTUNES_DB is the URL of the database (default: SQLite, in fortunes.sqlite beside this script), such as
postgresql://user:password@localhost/fortunes. The tables are made when they are missing.
FORTUNES_CONNECTIONS (32) is how many connections to it each worker has at most; a request that gets none of them within
FORTUNES_PATIENCE (10) seconds is answered with 503.
"""

import html
import os
import random
from pathlib import Path

from evpy import Response, Router
from service_utils.db import connect

WORLDS = 10_000
FORTUNES = [
    "fortune: No such file or directory",
    "A computer scientist is someone who fixes things that aren't broken.",
    "After enough decimal places, nobody gives a damn.",
    "A bad random number generator: 1, 1, 1, 1, 1, 4.33e+67, 1, 1, 1",
    "A computer program does what you tell it to do, not what you want it to do.",
    "Emacs is a nice operating system, but I prefer UNIX. — Tom Christaensen",
    "Any program that runs right is obsolete.",
    "A list is only as strong as its weakest link. — Donald Knuth",
    "Feature: A bug with seniority.",
    "Computers make very fast, very accurate mistakes.",
    '<script>alert("This should not be displayed in a browser alert box.");</script>',
    "フレームワークのベンチマーク",
]
HOME = """<!doctype html><title>Fortunes</title><h1>Fortunes</h1><ul>
<li><a href="/fortunes">fortunes</a><li><a href="/json">json</a><li><a href="/db">one query</a>
<li><a href="/queries?n=20">20 queries</a><li><a href="/updates?n=20">20 updates</a></ul>"""
PAGE = """<!DOCTYPE html><html><head><title>Fortunes</title></head><body>
<table><tr><th>id</th><th>message</th></tr>{}</table></body></html>"""
ROW = "<tr><td>{}</td><td>{}</td></tr>"
HTML = "text/html; charset=utf-8"
ONE = "select id, randomnumber from world where id = :id"

db = connect(
    os.environ.get("FORTUNES_DB") or f"sqlite:{Path(__file__).with_name('fortunes.sqlite')}",
    size=int(os.environ.get("FORTUNES_CONNECTIONS", "32")),
    timeout=float(os.environ.get("FORTUNES_PATIENCE", "10")),
)
handle = Router()


def on_start():
    with db.transaction() as tx:
        if db.dialect == "postgresql":
            tx.query("select pg_advisory_xact_lock(1)")  # all workers start at the same time
        tx.execute("create table if not exists world (id integer primary key, randomnumber integer not null)")
        tx.execute("create table if not exists fortune (id integer primary key, message varchar(2048) not null)")
        if not tx.value("select count(*) from fortune"):
            tx.copy_in("world", ["id", "randomnumber"], ((n, random.randint(1, WORLDS)) for n in range(1, WORLDS + 1)))
            tx.copy_in("fortune", ["id", "message"], enumerate(FORTUNES, 1))


def some(request):
    """As many different random ids as the query says, 1 to 500."""
    try:
        n = int(request.query.get("n", "1"))
    except ValueError:
        n = 1
    return random.sample(range(1, WORLDS + 1), min(500, max(1, n)))


@handle.get("/")
def home(request):
    return Response(HOME, content_type=HTML)


@handle.get("/json")
def json(request):
    return {"message": "Hello, World!"}


@handle.get("/db")
def single(request):
    return db.one(ONE, id=random.randint(1, WORLDS))


@handle.get("/queries")
def queries(request):
    return [rows[0] for rows in db.query_many(ONE, [{"id": id_} for id_ in some(request)])]


@handle.get("/updates")
def updates(request):
    ids = sorted(some(request))  # in one order, so that nobody waits in a circle
    with db.transaction() as tx:
        worlds = [rows[0] for rows in tx.query_many(ONE, [{"id": id_} for id_ in ids])]
        for world in worlds:
            world["randomnumber"] = random.randint(1, WORLDS)
        tx.execute_many("update world set randomnumber = :randomnumber where id = :id", worlds)
    return worlds


@handle.get("/fortunes")
def fortunes(request):
    rows = db.query("select id, message from fortune", into=tuple)
    rows.append((0, "Additional fortune added at request time."))
    rows.sort(key=lambda row: row[1])
    body = PAGE.format("".join(ROW.format(id_, html.escape(message)) for id_, message in rows))
    return Response(body, content_type=HTML)

"""The fortunes example for Flask with psycopg: db_flask:app."""

import html
import os
import random

from db_common import FORTUNE_SQL, PAGE, ROW, SIZE, WORLDS, burn, count
from flask import Flask, Response, jsonify, request
from psycopg_pool import ConnectionPool

ONE = "select id, randomnumber from world where id = %s"
UPDATE = "update world set randomnumber = %s where id = %s"
app = Flask(__name__)
pool = ConnectionPool(os.environ["DATABASE_URL"], min_size=SIZE, max_size=SIZE, open=False, kwargs={"autocommit": True})
opened = False


def connection():
    global opened  # noqa: PLW0603
    if not opened:  # after the fork, and after gevent's patching
        opened = True
        pool.open()
    return pool.connection()


def ids():
    return random.sample(range(1, WORLDS + 1), count(request.args.get("n", "1")))


def world(row):
    return {"id": row[0], "randomnumber": row[1]}


@app.get("/")
def root():
    return jsonify({})


@app.get("/json")
def json():
    return jsonify(message="Hello, World!")


@app.get("/slow")
def slow():
    burn()
    return jsonify(message="Hello, World!")


@app.get("/db")
def db():
    with connection() as c:
        return jsonify(world(c.execute(ONE, (random.randint(1, WORLDS),)).fetchone()))


@app.get("/queries")
def queries():
    with connection() as c:
        return jsonify([world(c.execute(ONE, (i,)).fetchone()) for i in ids()])


@app.get("/updates")
def updates():
    with connection() as c, c.transaction():
        worlds = [world(c.execute(ONE, (i,)).fetchone()) for i in sorted(ids())]
        for w in worlds:
            w["randomnumber"] = random.randint(1, WORLDS)
        c.cursor().executemany(UPDATE, [(w["randomnumber"], w["id"]) for w in worlds])
    return jsonify(worlds)


@app.get("/fortunes")
def fortunes():
    with connection() as c:
        rows = c.execute(FORTUNE_SQL).fetchall()
    rows.append((0, "Additional fortune added at request time."))
    rows.sort(key=lambda row: row[1])
    body = PAGE.format("".join(ROW.format(i, html.escape(message)) for i, message in rows))
    return Response(body, content_type="text/html; charset=utf-8")

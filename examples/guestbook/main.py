"""A guestbook: a form, an SQLite database, and a redirect after each entry.

scripts/run examples/guestbook/main.py, then http://127.0.0.1:8000/
GUESTBOOK_DB names the database file (default: guestbook.db beside this script). The workers share it: SQLite's calls
do not switch greenlets, but they are short.
"""

import contextlib
import html
import os
import sqlite3
import threading
from pathlib import Path

from evpy import HTTPError, Response, Router

DB = os.environ.get("GUESTBOOK_DB", Path(__file__).with_name("guestbook.db"))
PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Guestbook</title>
<style>body {{ font: 16px sans-serif; max-width: 40em; margin: 2em auto }} li {{ margin: .5em 0 }}</style>
<h1>Guestbook</h1>
<form method="post" action="/sign">
  <input name="name" placeholder="Your name" required maxlength="50">
  <input name="text" placeholder="What would you like to say?" required maxlength="500" size="40">
  <button>Sign</button>
</form>
<ul>{entries}</ul>"""

handle = Router()
local = threading.local()  # in a worker: local to the greenlet. Greenlets serve many requests, so connections are kept


def database():
    if not hasattr(local, "connection"):
        local.connection = sqlite3.connect(DB, timeout=10, isolation_level=None)
    return local.connection


def on_start():
    with contextlib.suppress(sqlite3.OperationalError):  # locked: another worker is doing the same at this moment
        database().execute("pragma journal_mode = wal")  # readers and the writer do not wait for each other
    database().execute("create table if not exists entries (id integer primary key, name text, text text)")


@handle.get("/")
def show(request):
    rows = database().execute("select name, text from entries order by id desc limit 100")
    entries = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>\n" for name, text in rows)
    return Response(PAGE.format(entries=entries), content_type="text/html; charset=utf-8")


@handle.post("/sign")
def sign(request):
    name, text = request.form["name"].strip(), request.form["text"].strip()
    if not name or not text or len(name) > 50 or len(text) > 500:
        raise HTTPError(400, "a name of up to 50 and a text of up to 500 characters, please")
    database().execute("insert into entries (name, text) values (?, ?)", (name, text))
    return Response.redirect("/", status=303)

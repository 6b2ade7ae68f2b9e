"""A guestbook: a form, an SQLite database, and a redirect after each entry.

scripts/run examples/guestbook/main.py, then http://127.0.0.1:8000/
GUESTBOOK_DB names the database file (default: guestbook.db beside this script).
"""

import html
import os
import sqlite3
import threading
from pathlib import Path

from evpy import HTTPError, Response, Router

DB = os.environ.get("GUESTBOOK_DB", str(Path(__file__).with_name("guestbook.db")))
PAGE = """<!doctype html><meta charset="utf-8"><title>Guestbook</title>
<style>body {{ font: 16px sans-serif; max-width: 40em; margin: 2em auto }} li {{ margin: .5em 0 }}</style>
<h1>Guestbook</h1>
<form method="post" action="/sign">
  <input name="name" placeholder="Your name" required maxlength="50">
  <input name="text" placeholder="What would you like to say?" required maxlength="500" size="40">
  <button>Sign</button>
</form>
<ul>{entries}</ul>"""

handle = Router()
_local = threading.local()


def database():
    """One connection per greenlet: greenlets that serve requests are kept, so connections are too."""
    if not hasattr(_local, "connection"):
        _local.connection = sqlite3.connect(DB, timeout=10, isolation_level=None)
    return _local.connection


def on_start():
    database().execute("pragma journal_mode = wal")
    database().execute("create table if not exists entries (id integer primary key, name text not null, text text not null)")


@handle.get("/")
def show(request):
    rows = database().execute("select name, text from entries order by id desc limit 100").fetchall()
    entries = "".join(f"<li><b>{html.escape(name)}</b>: {html.escape(text)}</li>" for name, text in rows)
    return Response(PAGE.format(entries=entries), headers={"Content-Type": "text/html; charset=utf-8"})


@handle.post("/sign")
def sign(request):
    name, text = request.form.get("name", "").strip(), request.form.get("text", "").strip()
    if not name or not text:
        raise HTTPError(400, "name and text are needed")
    database().execute("insert into entries (name, text) values (?, ?)", (name[:50], text[:500]))
    return Response.redirect("/", status=303)

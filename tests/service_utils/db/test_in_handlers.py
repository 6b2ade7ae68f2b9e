"""In a real server: what handlers leave open, exhausted pools, deadlines in the middle of a statement."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import Server

HANDLERS = """
import os, time
import evpy
from service_utils.db import connect

db = connect(os.environ["TEST_DB"], size=2, timeout=1)
nowhere = connect("postgresql://ann:s3cret@127.0.0.1:1/shop")
handle = evpy.Router()
kept, enough = [], []
ENDLESS = "with recursive n(x) as (select 1 union all select x + 1 from n) select count(*) from n"


def on_start():
    db.execute("create table if not exists item (id integer primary key)")


@handle.get("/forget")
def forget(request):
    n = int(request.query["n"])
    kept.append(db.begin())
    db.execute("insert into item values (:n)", n=n)
    return {"inside": db.value("select count(*) from item")}


@handle.get("/count")
def count(request):
    seen = db.statistics()
    return {"items": db.value("select count(*) from item"), "lost": seen.lost, "open": sum(not tx.over for tx in kept)}


@handle.get("/down")
def down(request):
    return nowhere.value("select 1")


@handle.get("/hold")
def hold(request):
    with db.transaction(read_only=True):
        while not enough:
            evpy.sleep(0.01)
    return "held"


@handle.get("/enough")
def end_of_hold(request):
    enough.append(1)


@handle.get("/endless")
def endless(request):
    with evpy.timeout(0.2):
        db.query(ENDLESS)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder: Path = tmp_path_factory.mktemp("handlers")
    (folder / "main.py").write_text(HANDLERS)
    with Server(folder / "main.py", "-w", "1", env={"TEST_DB": f"sqlite:{folder}/test.sqlite"}) as server:
        yield server


def test_what_is_left_open_is_rolled_back_and_reported(server: Server) -> None:
    for n in range(5):  # more than there are connections, and the lock of the writer each time
        assert server.get(f"/forget?n={n}").json() == {"inside": 1}
    server.wait_until(lambda: server.get("/count").json()["lost"] == 5, "the keeper ends them")
    assert server.get("/count").json() == {"items": 0, "lost": 5, "open": 0}
    assert "GET /forget left a transaction open on sqlite:" in server.log


def test_who_finds_no_connection_answers_503(server: Server) -> None:
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(server.get, "/hold") for _ in range(6)]
        server.wait_until(lambda: sum(answer.done() for answer in asked) == 4, "all but two are refused")
        server.get("/enough")
        answers = [answer.result() for answer in asked]
    statuses = sorted(answer.status for answer in answers)
    assert statuses == [200, 200, 503, 503, 503, 503]
    refused = next(answer for answer in answers if answer.status == 503)
    assert refused.header("retry-after") == "1"
    assert b"main.py" not in refused.body
    assert server.get("/count").status == 200


def test_a_database_that_is_down_is_503_and_no_riddle_in_the_log(server: Server) -> None:
    answer = server.get("/down")
    assert (answer.status, answer.header("retry-after")) == (503, "1")
    assert b"127.0.0.1" not in answer.body
    server.wait_until(lambda: "Connection refused" in server.log, "it is in the log")
    assert "s3cret" not in server.log
    assert "IndexError" not in server.log


def test_a_deadline_ends_the_statement(server: Server) -> None:
    assert server.get("/endless").status == 504
    assert server.get("/count").status == 200

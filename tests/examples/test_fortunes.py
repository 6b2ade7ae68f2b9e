"""The fortunes, on SQLite and PostgreSQL: what the database has is shown and escaped, two workers share it, and whoever
finds no connection is told so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import Server

sys.path.insert(0, str(Path(__file__).parents[1] / "service_utils"))
import servers

from service_utils.db import connect

MAIN = Path(__file__).parents[2] / "examples/fortunes/main.py"


@pytest.fixture(scope="session", autouse=True)
def _servers(_session_leaves_nothing: None) -> Iterator[None]:
    servers.start({"postgresql"})
    yield
    servers.stop()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:{tmp_path_factory.mktemp('fortunes')}/fortunes.sqlite"
    database = servers.get("postgresql")
    database.empty()
    return str(database.url)


@pytest.fixture(scope="module")
def server(url: str) -> Iterator[Server]:
    with Server(MAIN, "-w", "2", env={"FORTUNES_DB": url}) as server:
        yield server


def test_fortunes_are_sorted_and_escaped(server: Server) -> None:
    answer = server.get("/fortunes")
    page = answer.body.decode()
    assert answer.header("content-type") == "text/html; charset=utf-8"
    assert page.count("<tr>") == 14
    assert page.index("Additional fortune added") < page.index("After enough decimal") < page.index("フレームワーク")
    assert "&lt;script&gt;alert(&quot;This should not" in page
    assert "<script>" not in page


def test_json_of_one_and_of_many(server: Server) -> None:
    assert json.loads(server.get("/json").body) == {"message": "Hello, World!"}
    world = json.loads(server.get("/db").body)
    assert set(world) == {"id", "randomnumber"}
    for n, length in (("20", 20), ("0", 1), ("x", 1), ("501", 500)):
        worlds = json.loads(server.get(f"/queries?n={n}").body)
        assert len({world["id"] for world in worlds}) == length


def test_updates_are_kept_and_many_at_once_do_not_block_each_other(server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: server.get("/updates?n=20"), range(40)))
    assert {answer.status for answer in answers} == {200}
    last = {world["id"]: world["randomnumber"] for world in json.loads(server.get("/updates?n=500").body)}
    for _ in range(3):
        for world in json.loads(server.get("/queries?n=500").body):
            assert last.get(world["id"], world["randomnumber"]) == world["randomnumber"]


def test_no_connection_is_free(server: Server, url: str) -> None:
    """While somebody else keeps the table, one request has the connection; the others get 503 and nothing else.

    It is the connection that was made at the start: nobody has to make one within the short time that they wait.
    """
    few = {"FORTUNES_DB": url, "FORTUNES_CONNECTIONS": "1", "FORTUNES_PATIENCE": "0.2"}
    with connect(url) as db, Server(MAIN, "-w", "1", env=few) as small, ThreadPoolExecutor(8) as pool:
        tx = db.begin()
        if db.dialect == "postgresql":
            tx.execute("lock table world")
        else:
            tx.execute("update world set randomnumber = randomnumber where id = 1")
        asked = [pool.submit(small.get, "/updates?n=1") for _ in range(8)]
        small.wait_until(lambda: sum(answer.done() for answer in asked) == 7, "all but one are refused")
        refused = [answer.result() for answer in asked if answer.done()]
        assert {answer.status for answer in refused} == {503}
        assert {answer.header("retry-after") for answer in refused} == {"1"}
        assert not any(b"Traceback" in answer.body or b"password" in answer.body for answer in refused)
        assert small.get("/json").status == 200, "who needs no connection is served"
        tx.rollback()
        assert sorted(answer.result().status for answer in asked) == [200] + [503] * 7
        assert small.get("/db").status == 200


@pytest.mark.leaves_behind("a server that the session ends")
def test_the_database_is_restarted() -> None:
    """Under load: errors while it is away, and none when it is back."""
    database = servers.get("postgresql")
    database.empty()
    few = {"FORTUNES_DB": database.url, "FORTUNES_CONNECTIONS": "4", "FORTUNES_PATIENCE": "30"}
    with Server(MAIN, "-w", "2", env=few) as server, ThreadPoolExecutor(8) as pool:
        going = True

        def ask() -> set[int]:
            statuses = set()
            while going:
                statuses.add(server.get("/fortunes").status)
            return statuses

        asking = [pool.submit(ask) for _ in range(8)]
        try:
            database.stop(database.crash)
            try:
                server.wait_until(lambda: server.get("/db").status == 503, "there is no database")
            finally:
                database.start()
            server.wait_until(lambda: server.get("/db").status == 200, "it is used again")
        finally:
            going = False
        statuses = set().union(*(one.result() for one in asking))
        assert statuses <= {200, 500, 503}, "500 for what was under way"
        again = list(pool.map(lambda _: server.get("/fortunes").status, range(40)))
        assert set(again) == {200}

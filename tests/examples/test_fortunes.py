"""The fortunes: what the database has is shown and escaped, and two workers share it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from serving import Server

MAIN = Path(__file__).parents[2] / "examples/fortunes/main.py"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    path = tmp_path_factory.mktemp("fortunes") / "fortunes.sqlite"
    with Server(MAIN, "-w", "2", env={"FORTUNES_DB": f"sqlite:{path}"}) as server:
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

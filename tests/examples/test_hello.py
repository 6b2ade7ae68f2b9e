"""The first thing that anybody tries."""

from __future__ import annotations

from pathlib import Path

from serving import Server

MAIN = Path(__file__).parents[2] / "examples/hello/main.py"


def test_it_greets_the_world_and_whoever_has_a_name() -> None:
    with Server(MAIN, "-w", "2") as server:
        assert server.get("/").json() == {"hello": "world"}
        assert server.get("/?name=J%C3%B6rg+M").json() == {"hello": "Jörg M"}
        assert server.get("/").header("content-type") == "application/json"


def test_it_is_served_without_worker_processes_too() -> None:
    with Server(MAIN, "-w", "0") as server:
        assert server.get("/?name=you").json() == {"hello": "you"}

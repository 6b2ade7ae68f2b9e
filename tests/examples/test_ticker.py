"""Server-sent events: their format, going on after a break, and that nobody works for a browser that has gone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from serving import Client, Server

from evpy.server import status

MAIN = Path(__file__).parents[2] / "examples/ticker/main.py"


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(MAIN, "-w", "2", "--grace", "1") as server:
        yield server


class EventStream:
    """What a browser's EventSource does: takes fields line by line, dispatches at an empty line."""

    def __init__(self, server: Server, last_event_id: str = "") -> None:
        self.client = Client(server.address)
        field = f"Last-Event-ID: {last_event_id}\r\n" if last_event_id else ""
        self.client.send(f"GET /events HTTP/1.1\r\nHost: a\r\n{field}\r\n".encode())
        self.answer = self.client.head()
        self.text = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.client.close()

    def chunk(self) -> bytes:
        """The next chunk of the body, as it arrives."""
        size = int(self.client._until(b"\r\n"), 16)
        data = self.client._exactly(size)
        assert self.client._exactly(2) == b"\r\n"
        return data

    def event(self) -> dict[str, str]:
        while b"\n\n" not in self.text:
            self.text += self.chunk()
        block, _, self.text = self.text.partition(b"\n\n")
        return dict(line.split(": ", 1) for line in block.decode().split("\n"))


def running(server: Server) -> int:
    """Requests that workers have claimed and not finished, read from the shared segment."""
    return sum(len(worker["requests"]) for worker in status.of_process(server.pid)["workers"])


def price(event: dict[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(event["data"])
    return found


def test_the_page_asks_for_the_events(server: Server) -> None:
    page = server.get("/")
    assert page.header("content-type") == "text/html; charset=utf-8"
    assert b'new EventSource("/events")' in page.body


def test_events_come_one_by_one(server: Server) -> None:
    with EventStream(server) as stream:
        assert stream.answer.status == 200
        assert stream.answer.header("content-type") == "text/event-stream"
        assert stream.answer.header("cache-control") == "no-store"
        assert stream.answer.header("transfer-encoding") == "chunked"
        events = [stream.event() for _ in range(3)]
    assert [event["id"] for event in events] == ["1", "2", "3"]
    assert {event["event"] for event in events} == {"price"}
    assert [price(event)["n"] for event in events] == [1, 2, 3]
    assert all(80 < price(event)["price"] < 120 for event in events)


def test_who_comes_back_goes_on_where_he_was(server: Server) -> None:
    with EventStream(server) as stream:
        first, second = stream.event(), stream.event()
    with EventStream(server, first["id"]) as stream:
        assert stream.event() == second, "also when it is another worker now"
    with EventStream(server, "1000000") as stream:
        assert stream.event()["id"] == "1000001"


def test_an_id_that_is_none_is_refused(server: Server) -> None:
    with EventStream(server, "yesterday") as stream:
        assert stream.answer.status == 400


def test_a_browser_that_leaves_ends_its_request(server: Server) -> None:
    streams = [EventStream(server) for _ in range(20)]
    for stream in streams:
        assert stream.event()["id"] == "1"
    assert running(server) == 20
    for stream in streams:
        stream.client.close()
    server.wait_until(lambda: running(server) == 0, "no worker has a request any more")

    def accounts() -> tuple[int, ...]:
        counters = status.of_process(server.pid)["counters"]
        return counters["requests"], counters["aborted"], counters["slabs_used"]

    server.wait_until(lambda: accounts() == (20, 20, 0), "each was given up, and nothing is kept")


def test_many_watch_at_once(server: Server) -> None:
    """More streams than a pool of threads would have, and the page is still served at once."""
    streams = [EventStream(server) for _ in range(300)]
    try:
        assert {stream.event()["id"] for stream in streams} == {"1"}
        assert server.get("/").status == 200
        assert {stream.event()["id"] for stream in streams} == {"2"}
    finally:
        for stream in streams:
            stream.client.close()
    server.wait_until(lambda: running(server) == 0, "no worker has a request any more")


def test_head_does_not_start_a_stream(server: Server) -> None:
    with server.client() as client:
        client.send(b"HEAD /events HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer("HEAD").header("content-type") == "text/event-stream"
        assert client.get("/").status == 200
    server.wait_until(lambda: running(server) == 0, "no worker has a request any more")

"""The status of a server, out of its segment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from evpy import _core
from evpy.server import status
from evpy.server.segment import create
from evpy.server.settings import Settings


@pytest.fixture
def segment() -> Iterator[_core.Segment]:
    made = create(Settings(target="main.py", workers=2))
    yield made
    made.close()


def test_a_snapshot_has_the_workers_that_live(segment: _core.Segment) -> None:
    segment.begin_worker(1)
    segment.set_worker_pid(1, 4711)
    segment.begin_worker(2)
    segment.set_worker_state(2, _core.DEAD)
    found = status.snapshot(segment)
    (worker,) = found["workers"]
    assert (worker["worker"], worker["state"], worker["pid"], worker["requests"]) == ("worker-2", "starting", 4711, [])
    assert found["counters"]["requests"] == 0
    json.dumps(found)


def test_a_server_is_found_by_the_number_of_its_supervisor(
    segment: _core.Segment, capsys: pytest.CaptureFixture[str]
) -> None:
    segment.begin_worker(0)
    segment.set_worker_pid(0, 4711)
    assert status.main([str(os.getpid())]) == 0
    assert json.loads(capsys.readouterr().out)["workers"][0]["pid"] == 4711


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        (str(os.getppid()), "is no supervisor of evserver"),
        (str(1 << 30), "No such file or directory"),
        ("pid.txt", "usage: "),
    ],
)
def test_what_is_no_server(argument: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert status.main([argument]) != 0
    assert message in capsys.readouterr().err


class FakeSegment:
    """Threads and requests as a segment shows them."""

    def __init__(self, current: str | None, *requests: tuple[str, int]) -> None:
        self._threads = [{"index": 0, "current": current}, {"index": 1, "current": "other"}]
        self._requests = [
            {"id": id_, "thread": thread, "method": "GET", "target": f"/{id_}", "age": 1.26} for id_, thread in requests
        ]

    def worker_info(self, slot: int) -> dict[str, Any]:
        return {"threads": self._threads}

    def requests_of(self, slot: int) -> list[dict[str, Any]]:
        return self._requests


@pytest.mark.parametrize(
    ("current", "reported", "requests", "culprit"),
    [
        ("b", None, [("a", 0), ("b", 0)], {"request": "GET /b", "request_id": "b", "age": 1.3}),
        ("b", "a", [("a", 0), ("b", 0)], {"request": "GET /a", "request_id": "a", "age": 1.3}),
        (None, None, [("a", 0), ("c", 1)], {"request": "GET /a", "request_id": "a", "age": 1.3}),
        (None, None, [("a", 0), ("b", 0)], {"request": "one of 2"}),
        ("gone", None, [("a", 0), ("b", 0)], {"request": "one of 2"}),
        (None, None, [("c", 1)], {"request": "none"}),
    ],
)
def test_the_request_that_a_blocked_thread_is_at(
    current: str | None, reported: str | None, requests: list[tuple[str, int]], culprit: dict[str, Any]
) -> None:
    segment: Any = FakeSegment(current, *requests)
    assert status.culprit(segment, 0, (0,), reported) == culprit

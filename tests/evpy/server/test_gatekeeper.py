"""When the gateway is started again, and when it is taken for dead; with a fake segment and a fake process."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from evpy.server import processes
from evpy.server.gatekeeper import IDLE_LIMIT, Gatekeeper


class FakeSegment:
    gateway_pid = 4711
    age: float | None = 0.1
    fd = 9
    draining = False
    answered = 0

    def counters(self) -> dict[str, int]:
        return {"answered": self.answered}

    def gateway_fds(self) -> list[int]:
        return [9]

    def gateway_heartbeat_age(self) -> float | None:
        return self.age

    def set_running(self) -> None:
        self.draining = False

    def set_draining(self, stop: bool) -> None:
        self.draining = stop


class FakeChild:
    pid = 4711

    def __init__(self) -> None:
        self.status: int | None = None
        self.signals: list[int] = []

    def exit_status(self) -> int | None:
        return self.status

    def send(self, signum: int) -> None:
        self.signals.append(signum)

    def close(self) -> None:
        pass


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[FakeChild]:
    children: list[FakeChild] = []

    def spawn(command: list[str], **_options: object) -> FakeChild:
        assert command[1:] == ["--segment", "9"]
        children.append(FakeChild())
        return children[-1]

    monkeypatch.setattr(processes, "spawn", spawn)
    return children


def running(segment: Any) -> Gatekeeper:
    keeper = Gatekeeper(segment)
    keeper.start(100.0)
    return keeper


def test_a_dead_gateway_is_replaced_at_once_and_then_more_slowly(started: list[FakeChild]) -> None:
    keeper = running(FakeSegment())
    now = 100.0
    for pause in (0.0, 0.1, 0.2):
        assert keeper.on_exit(now) is None, "it runs after all"
        started[-1].status = -9
        count = len(started)
        assert keeper.on_exit(now) == -9
        assert keeper.gone
        keeper.tick(now + pause - 0.01)
        assert len(started) == count
        now += pause
        keeper.tick(now)
        assert len(started) == count + 1


def test_one_that_has_answered_is_replaced_at_once(started: list[FakeChild]) -> None:
    segment = FakeSegment()
    keeper = running(segment)
    for _ in range(5):
        segment.answered += 1
        started[-1].status = -9
        keeper.on_exit(101.0)
        keeper.tick(101.0)
        assert not keeper.gone


def test_while_draining_its_end_is_the_end(started: list[FakeChild]) -> None:
    segment = FakeSegment()
    keeper = running(segment)
    keeper.drain()
    assert segment.draining
    started[0].status = 0
    assert keeper.on_exit(101.0) == 0
    keeper.tick(200.0)
    assert (len(started), keeper.next_deadline()) == (1, None)


def test_one_that_does_not_turn_is_logged_once_and_killed_above_the_limit(
    started: list[FakeChild], caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("evpy"), "propagate", True)
    segment = FakeSegment()
    keeper = running(segment)
    for age, signals, lines in ((4.9, [], 0), (5.0, [], 1), (9.0, [], 1), (60.0, [9], 1)):
        segment.age = age
        keeper.watch(5.0, 60.0)
        assert (started[0].signals, len(caplog.records)) == (signals, lines)


def test_an_idle_gateway_is_not_taken_for_a_hung_one(started: list[FakeChild]) -> None:
    segment = FakeSegment()
    keeper = running(segment)
    segment.age = IDLE_LIMIT - 0.1
    keeper.watch(0.1, 0.2)
    assert started[0].signals == []
    segment.age, segment.gateway_pid = 100.0, 1  # the numbers of its predecessor
    keeper.watch(0.1, 0.2)
    assert started[0].signals == []

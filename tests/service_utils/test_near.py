"""Answers of near servers: looked for before sleeping where that is of use, and never at the cost of others."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import gevent
import pytest
from flows import PATIENCE, in_thread
from forks import ended_well, in_child

from service_utils import near
from service_utils.near import NearWaits
from service_utils.waiting import READ


class Watched(NearWaits):
    """The clock moves when the test says so; it is noted when an answer was looked for and when it was waited for."""

    def __init__(self) -> None:
        super().__init__(-1)
        self.now, self.tick = 1000.0, 0.0
        self.ready = True
        self.done: list[str] = []

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    def look(self) -> bool:
        self.done.append("look")
        return self.ready

    def wait(self, events: int, timeout: float | None = None) -> int:
        assert events == READ
        self.done.append("counted" if self in near._waiting else "wait")
        return events

    def get(self) -> list[str]:
        """What is done until an answer is there."""
        self.done = []
        assert self.answer(1.0) == READ
        return self.done


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    watched = Watched()
    monkeypatch.setattr(near, "monotonic", watched.clock)
    return watched


def test_an_answer_that_is_there_at_once_is_not_slept_for_but_every_turn(watched: Watched) -> None:
    for _ in range(3):
        assert watched.get() == ["look", "counted"], "the hub has its turn"
        assert watched.get() == ["look"]
        watched.now += near.TURN / 2
        assert watched.get() == ["look"]
        watched.now += near.TURN


def test_what_does_not_come_at_once_is_looked_for_more_and_more_seldom(watched: Watched) -> None:
    watched.ready, watched.tick = False, near.LOOKING
    looked = [number for number in range(1000) if "look" in watched.get()]
    assert looked[:6] == [0, 2, 6, 14, 30, 62]
    assert looked[-1] - looked[-2] == 2**near.MOST_IN_VAIN
    watched.ready, watched.tick = True, 0.0
    while "look" not in watched.get():
        pass
    assert watched.get() == ["look"], "now it is of use again"
    watched.ready, watched.tick = False, near.LOOKING
    assert ["look" in watched.get() for _ in range(3)] == [True, False, True], "those before are forgotten"


def test_nothing_is_looked_for_while_others_wait(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.get()
    monkeypatch.setattr(near, "_waiting", {Watched()})
    assert watched.get() == ["counted"]


def test_who_waits_long_keeps_nobody_from_looking(watched: Watched) -> None:
    """Such as those who wait for messages."""
    watched.get()
    assert watched not in near._waiting
    watched.ready, watched.tick = False, near.LOOKING
    assert watched.get()[-1] == "wait"


def test_who_is_killed_waits_no_more() -> None:
    ours, theirs = socket.socketpair()
    waits = NearWaits(ours.fileno())
    theirs.send(b"x")
    waits.answer(PATIENCE)  # has its turn
    ours.recv(1)
    waits._unlooked = 1
    waiting = gevent.spawn(waits.answer, PATIENCE)
    gevent.sleep(0)
    assert near._waiting == {waits}
    waiting.kill()
    assert not near._waiting
    waits.close()
    ours.close()
    theirs.close()


def test_who_waits_in_the_parent_does_not_in_the_child(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = NearWaits(0)
    near._waiting.add(waits)
    try:
        assert ended_well(in_child(lambda: os._exit(len(near._waiting))))
    finally:
        near._waiting.discard(waits)


@pytest.fixture
def full() -> Iterator[socket.socket]:
    """A socket from which much can be read at once."""
    theirs, ours = socket.socketpair()
    theirs.sendall(bytes(100_000))
    yield ours
    ours.close()
    theirs.close()


def test_other_greenlets_run_while_every_answer_is_there_at_once(full: socket.socket) -> None:
    waits = NearWaits(full.fileno())
    ran: list[int] = []

    def receive() -> int:
        for number in range(100_000):
            if ran:
                return number
            waits.answer(PATIENCE)
            full.recv(1)
        return -1

    receiving = gevent.spawn(receive)
    gevent.spawn(ran.append, 1)
    receiving.join(PATIENCE)
    assert receiving.value is not None
    assert receiving.value > 0
    waits.close()


def test_it_waits_as_others_do(full: socket.socket) -> None:
    """In threads and greenlets: until there is something, or the time is over."""
    ours, theirs = socket.socketpair()
    for sock, expected in ((ours, 0), (full, READ)):
        waits = NearWaits(sock.fileno())
        assert [in_thread(lambda: waits.answer(0.01)).result(PATIENCE) for _ in range(5)] == [expected] * 5  # noqa: B023
        assert [gevent.spawn(waits.answer, 0.01).get() for _ in range(5)] == [expected] * 5
        waits.close()
    theirs.close()
    waits = NearWaits(ours.fileno())
    assert waits.answer(None) == READ, "the end is something to read"
    waits.close()
    ours.close()

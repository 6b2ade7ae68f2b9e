"""The queue before a sink: it never waits, is bounded, counts what it drops, and survives a fork."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import forks
import gevent
import pytest

from service_utils.logging import FileSink, Sink


class Gate(Sink):
    """Writes while it is open; may fail."""

    def __init__(self, **more: Any) -> None:
        super().__init__("gate", **more)
        self.open = threading.Event()
        self.entered = threading.Event()
        self.lines: list[bytes] = []
        self.fails = False
        self.wrote = threading.Condition()

    def _write(self, lines: list[bytes]) -> int:
        self.entered.set()
        self.open.wait(20)
        with self.wrote:
            self.wrote.notify_all()
            if self.fails:
                raise OSError("no room")
            self.lines += lines
        return len(lines)

    def wait_for(self, condition: Any) -> None:
        with self.wrote:
            assert self.wrote.wait_for(condition, 20)


def test_nobody_waits_and_the_oldest_are_dropped(logged: Any) -> None:
    gate = Gate(capacity=10_000)
    log = logged(gate)
    log.info("first")
    assert gate.entered.wait(20)  # it is stuck now

    def one() -> None:
        for n in range(500):
            log.info("line %d", n)

    gevent.joinall([gevent.spawn(one) for _ in range(4)], raise_error=True)
    seen = gate.statistics()
    assert 9_000 < seen.queued <= 10_000
    assert seen.dropped > 1500
    gate.open.set()
    assert gate.close(20)
    text = b"".join(gate.lines).decode()
    assert "first" in text
    assert "line 499" in text
    assert "line 1\n" not in text
    assert f"log lines were dropped lines={seen.dropped}" in text
    assert gate.statistics().written + gate.dropped == 2001
    log.info("too late")
    assert gate.dropped == seen.dropped + 1


def test_what_cannot_be_written_is_counted_and_reported(logged: Any) -> None:
    gate = Gate()
    gate.open.set()
    gate.fails = True
    log = logged(gate)
    for n in range(10):
        log.info("lost %d", n)
        gate.wait_for(lambda n=n: gate.dropped > n or gate.statistics().error)
    gate.wait_for(lambda: gate.statistics().queued == 0)
    assert gate.statistics().error == "OSError: no room"
    gate.fails = False
    log.info("works again")
    gate.wait_for(lambda: len(gate.lines) == 2)
    log.info("and goes on")
    assert gate.close(20)
    assert [line.split(b": ")[1] for line in gate.lines] == [
        b"works again\n",
        b"log lines were dropped lines=10\n",
        b"and goes on\n",
    ]
    assert gate.statistics().error == ""


def test_closing_gives_up(logged: Any) -> None:
    gate = Gate()
    logged(gate).info("stuck")
    assert gate.entered.wait(20)
    assert not gate.close(0.01)
    gate.open.set()
    gate._ended.acquire(True, 20)
    gate._ended.release()


def test_greenlets_go_on_while_one_closes(logged: Any) -> None:
    """One of them lets the writer go on."""
    gate = Gate()
    logged(gate).info("stuck")
    assert gate.entered.wait(20)
    closing = gevent.spawn(gate.close, 15)
    gevent.spawn_later(0, gate.open.set)
    assert closing.get()
    assert gate.lines


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_fork(tmp_path: Path, logged: Any) -> None:
    log = logged(FileSink(tmp_path / "log", "text"))
    for n in range(200):
        log.info("parent %d", n)

    def child() -> None:
        for n in range(200):
            log.info("child %d", n)
        assert logging.getLogger().handlers[0].sink.close(20)  # type: ignore[attr-defined]

    assert forks.ended_well(forks.in_child(child))
    for handler in logging.getLogger().handlers:
        handler.close()
    lines = [line.split(": ")[1] for line in (tmp_path / "log").read_text().splitlines()]
    for who in ("parent", "child"):
        assert [line for line in lines if who in line] == [f"{who} {n}" for n in range(200)]


def test_arguments() -> None:
    for bad in ({"form": "xml"}, {"capacity": 10}):
        with pytest.raises(ValueError, match="="):
            Gate(**bad)  # type: ignore[arg-type]

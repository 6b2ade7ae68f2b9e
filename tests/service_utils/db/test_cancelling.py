"""Servers are told to stop by a few threads, however many are interrupted."""

from __future__ import annotations

import threading

from flows import PATIENCE, until
from forks import ended_well, in_child

from service_utils.db import cancelling


def test_a_few_at_a_time() -> None:
    gate, running, most, done, lock = threading.Event(), [0], [0], [0], threading.Lock()

    def cancel(number: int) -> None:
        with lock:
            running[0] += 1
            most[0] = max(most[0], running[0])
        assert gate.wait(PATIENCE)
        with lock:
            running[0] -= 1
            done[0] += 1
        if number % 2:
            raise OSError("no server")

    for number in range(20):
        cancelling.tell(cancel, number)
    until(lambda: running[0] == cancelling.AT_ONCE)
    assert ended_well(in_child(heard_in_the_child))
    gate.set()
    until(lambda: done[0] == 20)
    until(lambda: not cancelling._desk.threads)
    assert most[0] == cancelling.AT_ONCE


def heard_in_the_child() -> None:
    """The parent's threads are not there, and what they had to do is not done here."""
    heard = threading.Event()
    cancelling.tell(heard.set)
    assert heard.wait(PATIENCE)

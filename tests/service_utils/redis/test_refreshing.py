"""Values that are computed in the background while everybody gets the old ones."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from evpy.runtime.background import running
from service_utils.redis import Cache, Redis, refreshing
from service_utils.redis.refreshing import Flights
from service_utils.waiting import sleep

Make = Callable[..., Redis]


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


class Source:
    """What a cached function asks: it answers when the test lets it."""

    def __init__(self) -> None:
        self.value: str | None = "old"
        self.calls = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self) -> str:
        self.calls += 1
        while not self.open.is_set():
            sleep(0.001)
        if self.value is None:
            raise KeyError("broken")
        return self.value


def settled(*caches: Cache) -> None:
    """Waits until nothing is computed."""
    deadline = time.monotonic() + PATIENCE
    while any(cache.statistics().computing for cache in caches):
        sleep(0.001)
        assert time.monotonic() < deadline


@pytest.mark.parametrize("hub", [True, False])
def test_everybody_gets_the_old_value_and_one_computes(make: Make, hub: bool) -> None:
    """In this process and in another one (a cache with nothing in common), in greenlets and in threads."""
    clock, source = Clock(), Source()
    caches = [Cache(make(), clock=clock) for _ in range(2)]
    one, other = (cache.cached(ttl=10, stale=100, name="f")(source) for cache in caches)

    def work() -> None:
        assert (one(), other(), source.calls) == ("old", "old", 1)
        clock.now += 20
        source.value = "new"
        source.open.clear()
        assert [one() for _ in range(5)] == ["old"] * 5
        until_called(2)
        assert [other() for _ in range(5)] == ["old"] * 5
        assert (one(), source.calls) == ("old", 2)
        source.open.set()
        settled(*caches)
        assert (one(), other(), source.calls) == ("new", "new", 2)
        seen = caches[0].statistics()
        assert (seen.hits, seen.stale, seen.misses, seen.failed) == (1, 6, 1, 0)

    def until_called(times: int) -> None:
        while source.calls < times:
            sleep(0.001)

    in_thread(work, hub=hub).result(PATIENCE)
    assert make().keys("*lock*") == []


def test_what_fails_is_logged_counted_and_tried_again_a_moment_later(
    client: Redis, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, source = Clock(), Source()
    cache = Cache(client, clock=clock)
    function = cache.cached(ttl=10, stale=100, name="f")(source)
    function()
    clock.now += 20
    source.value = None
    with caplog.at_level(logging.ERROR, "service_utils.redis"):
        assert [function(), function()] == ["old", "old"]
        settled(cache)
        assert function() == "old"
    assert (cache.statistics().failed, source.calls) == (1, 2), "not again at once"
    assert [record.exc_info is not None for record in caplog.records] == [True]
    monkeypatch.setattr(refreshing, "PAUSE", 0.0)
    cache._flights.pause(function.key())
    source.value = "new"
    assert function() == "old"
    settled(cache)
    assert function() == "new"


def test_without_stale_nobody_gets_an_old_value(client: Redis) -> None:
    clock, source = Clock(), Source()
    cache = Cache(client, clock=clock)
    function = cache.cached(ttl=10, name="f")(source)
    function()
    clock.now += 20  # Redis has not noticed
    source.value = "new"
    assert function() == "new"
    assert cache.statistics().stale == 0


def test_a_refresh_that_is_cancelled_gives_its_lock_back(make: Make) -> None:
    """As at the end of a worker: another process computes at once."""
    clock, source = Clock(), Source()
    caches = [Cache(make(), clock=clock) for _ in range(2)]
    one, other = (cache.cached(ttl=10, stale=100, name="f")(source) for cache in caches)
    one()
    clock.now += 20
    source.value = "new"
    source.open.clear()
    assert gevent.spawn(one).get() == "old"
    while source.calls < 2:
        sleep(0.001)
    (task,) = [task for task in running() if task.name == "refresh of f"]
    task.cancel()
    settled(*caches)
    source.open.set()
    assert make().keys("*lock*") == []
    assert gevent.spawn(other).get() == "old"
    settled(*caches)
    assert other() == "new"


def test_whoever_was_lost_with_their_hub_is_replaced(client: Redis) -> None:
    """Their lease is over: somebody else takes off, and those who wait for the first one get the second one's value."""
    flights = Flights()
    lost = flights.take_off("x", PATIENCE)
    assert lost is not None
    waiting = in_thread(lambda: flights.board("x", PATIENCE, PATIENCE))
    until(lambda: lost.waiters)
    lost.until = time.monotonic()
    second = flights.take_off("x", PATIENCE)
    assert second is not None
    assert flights.take_off("x", PATIENCE) is None
    flights.land("x", lost)  # it was not lost after all
    assert len(flights) == 1
    flights.land("x", second)
    assert waiting.result(PATIENCE) is None
    assert len(flights) == 0


def test_nobody_is_stuck_when_nothing_runs_in_the_background(
    client: Redis, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*arguments: Any) -> None:
        raise RuntimeError("the process ends")

    clock, source = Clock(), Source()
    cache = Cache(client, clock=clock)
    function = cache.cached(ttl=10, stale=100, name="f")(source)
    function()
    clock.now += 20
    monkeypatch.setattr(sys.modules["service_utils.redis.cache"], "in_background", refuse)
    assert [function(), function()] == ["old", "old"]
    assert cache.statistics().computing == 0
    assert "nothing can be computed" in caplog.text


SCRIPT = """
import sys, time
from service_utils.redis import Cache, connect

now = time.time() + float(sys.argv[2])
cache = Cache(connect(sys.argv[1]), clock=lambda: now)

@cache.cached(ttl=10, stale=1000, name="f")
def compute():
    time.sleep(0.2)
    return sys.argv[3]

print(compute())
"""


def test_the_end_of_a_program_waits_for_it(server: Any) -> None:
    def run(later: int, value: str) -> str:
        command = [sys.executable, "-P", "-c", SCRIPT, server.url, str(later), value]
        return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout.strip()

    assert run(0, "old") == "old"
    assert run(20, "new") == "old"
    assert run(21, "newer") == "new"

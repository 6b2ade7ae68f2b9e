"""The cache, locks, the rate limiter and sessions, against a real server."""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

import gevent
import gevent.event
import msgspec
import pytest
from flows import PATIENCE, in_thread, until

from service_utils.redis import Cache, Lock, LockLost, LockTimedOut, RateLimiter, Redis, Sessions
from service_utils.waiting import in_greenlet

Make = Callable[..., Redis]


class Clock:
    """Seconds since 1970, as the test wants them."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now


def test_cache_of_values(client: Redis, make: Make) -> None:
    cache, other = Cache(client), Cache(make(), local=1000.0)
    for value in (None, 0, "é \0 %s", b"\0", [1, {"a": None}], 1.5):
        cache.set("a b %", value, ttl=100)
        assert Cache(client).get("a b %", "none") == cache.get("a b %") == value
    assert other.get("a b %") == 1.5
    cache.delete("a b %")
    assert (cache.get("a b %", "none"), client.keys("*")) == ("none", [])
    assert other.get("a b %") == 1.5, "its local tier has it still"
    kept = [1]
    cache.set("list", kept, ttl=100)
    cache.get("list").append(2)
    assert cache.get("list") == [1]
    cache.set("x", 1, ttl=50, stale=25)
    assert 50_000 < client.pttl("cache:x") <= 75_000
    small = Cache(client, local_size=3)
    for n in range(10):
        small.set(str(n), n, ttl=100)
    assert len(small._near) == 3


def test_cached_function(client: Redis) -> None:
    class Item(msgspec.Struct):
        n: int
        text: str

    calls: list[Any] = []
    cache = Cache(client)

    @cache.cached(ttl=100, into=Item, name="item")
    def item(n: int, text: str = "x", *, more: bool = False) -> Item:
        """The docstring."""
        calls.append((n, text, more))
        return Item(n, text)

    assert item(1) == item(1, "x") == item(text="x", n=1) == Item(1, "x")
    assert item(1, more=True) == Item(1, "x")
    assert item(2, "1") == Item(2, "1")
    assert calls == [(1, "x", False), (1, "x", True), (2, "1", False)]
    assert len({item.key(1, "x"), item.key(1, "x ")}) == 2
    item.forget(1)
    item(1)
    assert len(calls) == 4
    assert item.__doc__ == "The docstring."
    with pytest.raises(TypeError):
        item(object())  # type: ignore[arg-type]
    for wrong in ({"ttl": 0}, {"ttl": 1, "stale": -1}):
        with pytest.raises(ValueError, match="give seconds"):
            cache.cached(**wrong)


def test_errors_are_not_kept(client: Redis) -> None:
    calls = []

    @Cache(client).cached(ttl=100)
    def fail() -> None:
        calls.append(1)
        raise KeyError("no")

    for _ in range(2):
        with pytest.raises(KeyError):
            fail()
    assert len(calls) == 2
    assert client.keys("*") == [], "the lock was given back"


@pytest.mark.parametrize("local", [0.0, 100.0])
@pytest.mark.parametrize("by", ["this process", "another process"])
def test_what_is_forgotten_while_it_is_computed_is_not_kept(client: Redis, make: Make, local: float, by: str) -> None:
    """It may have been computed from what was there before."""
    price, seen = ["old"], [""]
    gate = gevent.event.Event()

    def of(cache: Cache) -> Any:
        @cache.cached(ttl=100, stale=50, name="price")
        def found() -> str:
            seen.append(price[0])
            result = seen[-1]
            gate.wait()
            return result

        return found

    mine = of(Cache(client, local=local))
    forgetting = mine if by == "this process" else of(Cache(make(), local=local))
    for expected in ("old", "new", "newer"):
        computing = gevent.spawn(mine)
        with gevent.Timeout(PATIENCE):
            while seen[-1] != expected:
                gevent.sleep(0.001)
        price[0] = {"old": "new", "new": "newer", "newer": "newest"}[expected]
        forgetting.forget()
        gate.set()
        assert computing.get() == expected
        gate.clear()
        assert Cache(make()).get(mine.key(), "none") == "none"
    gate.set()
    assert mine() == Cache(make()).get(mine.key()) == "newest"


def test_values_of_another_program(client: Redis) -> None:
    """After a release the type of a result may be another one; and whoever has access may have written anything."""

    class Item(msgspec.Struct):
        name: str

    @Cache(client, local=0).cached(ttl=100, into=Item, name="item")
    def item() -> Item:
        return Item("tea")

    for wrong in (b"", b"x", bytes(8), bytes(8) + b"\xc1", b"\0\0\0\0\0\0\xf0\x7f" + msgspec.msgpack.encode({"n": 1})):
        client.set("cache:" + item.key(), wrong)
        assert item() == item() == Item("tea")


def test_a_cache_that_keeps_nothing(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    """Its memory is full, for example: functions go on."""
    calls: list[int] = []
    cache = Cache(client, local=0)

    @cache.cached(ttl=100)
    def double(n: int) -> int:
        calls.append(n)
        return 2 * n

    client.config_set("maxmemory", "1")
    try:
        assert [double(1), double(1), double(2)] == [2, 2, 4]
        cache.set("x", 1, ttl=5)
        double.forget(1)
    finally:
        client.config_set("maxmemory", "0")
    assert calls == [1, 1, 2]
    assert [record.message[:18] for record in caplog.records] == ["the cache refuses:"]
    assert double(1) == double(1) == 2
    assert len(calls) == 4


def test_stampede(make: Make) -> None:
    """Forty callers in two hubs, threads and two "processes" (caches with nothing in common): one computes."""
    begun, calls = [], []

    def compute(n: int) -> int:
        calls.append(n)
        while len(begun) < 40:  # not stopping the hub in which the others begin
            gevent.sleep(0.001) if in_greenlet() else time.sleep(0.001)
        return n * 2

    functions = [Cache(make(), local=0).cached(ttl=100, name="f")(compute) for _ in range(2)]

    def ask(function: Any) -> None:
        begun.append(1)
        assert function(21) == 42

    def hub(function: Any) -> None:
        gevent.joinall([gevent.spawn(ask, function) for _ in range(15)], raise_error=True)

    flows = [in_thread(lambda f=f: hub(f), hub=True) for f in functions]  # type: ignore[misc]
    flows += [in_thread(lambda f=f: ask(f)) for f in functions * 5]  # type: ignore[misc]
    for flow in flows:
        flow.result(PATIENCE * 3)
    assert calls == [21]


def test_the_one_who_computes_is_killed(client: Redis) -> None:
    """The next one takes over."""
    calls: list[int] = []

    @Cache(client).cached(ttl=100)
    def slow() -> int:
        calls.append(1)
        if len(calls) == 1:
            gevent.sleep(PATIENCE)
        return 7

    first = gevent.spawn(slow)
    while not calls:
        gevent.sleep(0.001)
    second = gevent.spawn(slow)
    gevent.sleep(0)
    first.kill()
    assert second.get(timeout=PATIENCE) == 7
    assert len(calls) == 2


@pytest.mark.leaves_behind("the server, started again")
def test_cache_without_redis(client: Redis, server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The function is called; Redis is not asked each time; then it is used again."""
    cache = Cache(client, local=0)
    calls = []

    @cache.cached(ttl=100)
    def f() -> int:
        calls.append(1)
        return len(calls)

    server.stop(signal.SIGKILL)
    with caplog.at_level(logging.WARNING):
        assert [f(), f(), f()] == [1, 2, 3]
    assert len([r for r in caplog.records if "cannot be reached" in r.message]) == 1
    assert cache.get("x", "none") == "none"
    server.start()
    cache._rest_until = 0.0
    assert [f(), f()] == [4, 4]


def test_lock(client: Redis, make: Make) -> None:
    """One at a time, each with a greater token."""
    tokens: list[int] = []
    inside = [0]

    def work(redis: Redis) -> None:
        for _ in range(5):
            with Lock(redis, "job %s") as token:
                inside[0] += 1
                assert inside[0] == 1
                tokens.append(token)
                gevent.sleep(0.001)
                inside[0] -= 1

    others = [make(), client]
    gevent.joinall([gevent.spawn(work, others[n % 2]) for n in range(4)], raise_error=True)
    assert tokens == list(range(1, 21))
    lock = Lock(client, "job %s", ttl=100)
    assert lock.acquire() == 21
    with pytest.raises(RuntimeError, match="holds it already"):
        lock.acquire()
    with pytest.raises(LockTimedOut, match="job %s: somebody holds it"):
        Lock(make(), "job %s").acquire(timeout=0.02)
    lock.extend()
    lock.release()
    for late in (lock.release, lock.extend):
        with pytest.raises(LockLost):
            late()


def test_lock_that_was_lost(client: Redis, make: Make) -> None:
    """Its time is over: another one gets it, with a greater token; the first one learns it, and releases nobody's."""
    first, second = Lock(client, "x", ttl=0.02), Lock(make(), "x", ttl=100)
    with pytest.raises(LockLost, match=r"ttl=0.02 s was too short"), first as token:
        assert second.acquire() == token + 1
    assert client.exists("lock:{x}")
    with pytest.raises(KeyError), Lock(client, "y", ttl=100):
        raise KeyError(client.delete("lock:{y}"))
    second.release()


def test_rate_limiter(client: Redis, make: Make) -> None:
    limiter, other = RateLimiter(client, 5, 1000.0), RateLimiter(make(), 5, 1000.0)
    got = [(limiter if n % 2 else other).take("a b%") for n in range(7)]
    assert [a.allowed for a in got] == [True] * 5 + [False] * 2
    assert [a.remaining for a in got] == [4, 3, 2, 1, 0, 0, 0]
    assert 190 < got[-1].retry_after <= 200
    assert limiter.take("other")
    assert not limiter.take("other", 5)
    assert limiter.take("other", 0).remaining == 4
    assert limiter.take("other", 4)
    assert 0 < client.pttl("rate:a b%") <= 1_000_000
    fast = RateLimiter(client, 100, 1.0, burst=1)
    assert fast.take("x")
    until(lambda: fast.take("x"))
    for wrong in ((0, 1.0), (1, 0.0)):
        with pytest.raises(ValueError, match="give numbers above 0"):
            RateLimiter(client, *wrong)


def test_sessions(client: Redis) -> None:
    sessions = Sessions(client, lifetime=100)
    ids = {sessions.create({"user": "é \0", "n": 1}) for _ in range(5)}
    session = ids.pop()
    assert len(ids) == 4
    assert sessions.load(session) == {"user": "é \0", "n": 1}
    assert not any(session.encode() in key for key in client.keys("*")), "ids are not readable in the database"
    client.pexpire(client.keys("session:*")[0], 5)
    assert sessions.save(session, {"n": 2})
    fresh = sessions.renew(session)
    assert fresh is not None
    assert (sessions.load(session), sessions.load(fresh), sessions.renew(session)) == (None, {"n": 2}, None)
    sessions.delete(fresh)
    assert not sessions.save(fresh, {"n": 3}), "it does not come back"
    assert sessions.load(fresh) is None
    for forged in ("", "*", "x" * 43 + "\n", "../" + "x" * 40, "é" * 43):
        assert (sessions.load(forged), sessions.save(forged, {}), sessions.renew(forged)) == (None, False, None)
        sessions.delete(forged)

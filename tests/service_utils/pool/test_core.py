"""The pool: bounded, first come first served, between greenlets of several hubs and threads; nothing gets lost."""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import gevent
import gevent.event
import pytest
from flows import PATIENCE, in_thread, until
from forks import ended_well, in_child

from evpy.errors import DeadlineExceeded, HTTPError
from service_utils.pool import Connector, LeaseOver, Pool, PoolClosed, PoolExhausted, _lease, keeper, lending, upkeep
from service_utils.pool._lease import Slot


class Thing:
    """What is lent; complains when two use it at the same time."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.closed = self.dirty = self.dead = False
        self.users = 0

    def use(self) -> Thing:
        assert not self.closed, "lent after it was closed"
        self.users += 1
        assert self.users == 1, "lent to two"
        return self

    def end_use(self) -> None:
        self.users -= 1


class Things(Connector[Thing]):
    """Makes things; ``fail`` raises, ``hold`` makes connecting wait."""

    def __init__(self) -> None:
        self.made: list[Thing] = []
        self.checks = 0
        self.fail: BaseException | None = None
        self.abandoned: list[Thing] = []

    def connect(self, timeout: float) -> Thing:
        if self.fail is not None:
            raise self.fail
        self.made.append(Thing(len(self.made)))
        return self.made[-1]

    def close(self, connection: Thing) -> None:
        assert not connection.closed, "closed twice"
        connection.closed = True

    def is_alive(self, connection: Thing, timeout: float) -> bool:
        self.checks += 1
        return not connection.dead

    def abandon(self, connection: Thing) -> None:
        self.abandoned.append(connection)

    @property
    def open(self) -> list[Thing]:
        return [thing for thing in self.made if not thing.closed]


class Judged(Things):
    """Things of which one can say whether they are clean."""

    def is_clean(self, connection: Thing) -> bool:
        return not connection.dirty


class Clock:
    """Stands in for time.monotonic."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    for name in ("watch", "hurry"):  # the keeper has another clock, by which everything here is old
        monkeypatch.setattr(keeper, name, lambda *_: None)
    for module in (_lease, lending, upkeep):
        monkeypatch.setattr(module, "monotonic", clock)
    return clock


@pytest.fixture
def things() -> Things:
    return Things()


@pytest.fixture
def pool(things: Things) -> Iterator[Pool[Thing]]:
    with Pool(things, size=2, name="things") as pool:
        yield pool
    assert not things.open


def run_now(function: Any) -> None:
    function()


def test_the_one_used_last_is_lent_first_and_no_more_are_made_than_needed(pool: Pool[Thing], things: Things) -> None:
    with pool.acquire() as first, pool.acquire() as second:
        assert first is not second
    for _ in range(5):
        with pool.acquire() as thing:
            assert thing is first, "the first one was given back last"
    assert len(things.made) == 2
    seen = pool.statistics()
    assert (seen.acquired, seen.connected, seen.idle, seen.held, seen.waited) == (7, 2, 2, 0, 0)


def test_a_lease_is_of_no_use_after_it_was_given_back(pool: Pool[Thing]) -> None:
    lease = pool.acquire()
    thing = lease.connection
    lease.release()
    lease.release()
    lease.discard()
    assert lease.over
    with pytest.raises(LeaseOver, match="given back already"):
        _ = lease.connection
    with pytest.raises(LeaseOver), lease:
        pass
    with pool.acquire() as again:
        assert again is thing
    assert pool.statistics().discarded == 0


def test_the_deadline_is_kept_and_the_message_says_who_holds_them(pool: Pool[Thing]) -> None:
    leases = [pool.acquire(), pool.acquire()]
    with pytest.raises(
        PoolExhausted, match=r"things: none of its 2 connections .* within [\d.]+ s.*test_core.py:\d+"
    ) as caught:
        pool.acquire(timeout=0.01)
    assert isinstance(caught.value, HTTPError)
    assert (caught.value.status, caught.value.detail) == (503, "busy, try again later")
    assert "test_core" not in caught.value.detail
    with pytest.raises(PoolExhausted):
        pool.acquire(timeout=0)
    assert pool.statistics().exhausted == 2
    assert pool.statistics().waiting == 0
    for lease in leases:
        lease.release()
    pool.acquire(timeout=0).release()


@pytest.mark.parametrize("hub", [False, True], ids=["threads", "hubs"])
def test_first_come_first_served(pool: Pool[Thing], hub: bool) -> None:
    """Those that wait get it in their order, wherever they run, and who comes later does not overtake."""
    leases = [pool.acquire(), pool.acquire()]
    order: list[int] = []

    def wait(number: int) -> None:
        with pool.acquire(PATIENCE):
            order.append(number)

    waiting: list[Future[None]] = []
    for number in range(6):
        waiting.append(in_thread(lambda number=number: wait(number), hub=hub))  # type: ignore[misc]
        until(lambda number=number: pool.statistics().waiting == number + 1)
    leases[0].release()
    for future in waiting:
        future.result(PATIENCE)
    assert order == [0, 1, 2, 3, 4, 5]
    leases[1].release()
    assert pool.statistics().waited == 6


def test_what_is_given_back_belongs_to_who_waits_not_to_who_comes(pool: Pool[Thing]) -> None:
    """The hand-over is made by who gives back, before the one that waits has run."""
    leases = [pool.acquire(), pool.acquire()]
    got: list[str] = []

    def wait() -> None:
        with pool.acquire(PATIENCE):
            got.append("who waited")

    greenlet = gevent.spawn(wait)
    gevent.sleep(0)
    assert pool.statistics().waiting == 1
    leases[0].release()
    with pytest.raises(PoolExhausted):
        pool.acquire(timeout=0)  # the one that waited has not run yet
    assert not got
    greenlet.join()
    assert got == ["who waited"]
    leases[1].release()


def test_who_comes_to_wait_just_when_something_is_put_back_is_served(things: Things) -> None:
    """Between the look at those who wait and the putting back, another thread may have come to wait."""
    with Pool(things, size=1) as pool:
        came: list[Future[None]] = []

        class Racing(list[Any]):
            def append(self, slot: Any) -> None:
                came.append(in_thread(lambda: pool.acquire(PATIENCE).release()))
                until(lambda: pool.statistics().waiting == 1)
                super().append(slot)

        lease = pool.acquire()
        idle, pool._idle = pool._idle, Racing()
        lease.release()
        pool._idle = idle
        came[0].result(PATIENCE / 2)


def test_too_many_are_refused_at_once(things: Things) -> None:
    with Pool(things, size=1, max_waiting=1) as pool:
        lease = pool.acquire()
        waiting = gevent.spawn(lambda: pool.acquire(PATIENCE).release())
        gevent.sleep(0)
        with pytest.raises(PoolExhausted, match="1 wait already"):
            pool.acquire(PATIENCE)
        lease.release()
        waiting.get()


def test_who_is_killed_while_waiting_passes_on_what_was_handed_over(pool: Pool[Thing]) -> None:
    leases = [pool.acquire(), pool.acquire()]
    first = gevent.spawn(pool.acquire, PATIENCE)
    second = gevent.spawn(lambda: pool.acquire(PATIENCE).release())
    gevent.sleep(0)
    first.kill(block=False)
    leases[0].release()  # handed to the first one, which is killed before it can run
    second.get(timeout=PATIENCE)
    leases[0] = pool.acquire()
    third = gevent.spawn(pool.acquire, PATIENCE)
    gevent.sleep(0)
    assert pool.statistics().waiting == 1
    third.kill()
    assert pool.statistics().waiting == 0
    for lease in leases:
        lease.release()
    seen = pool.statistics()
    assert (seen.held, seen.waiting, seen.idle) == (0, 0, 2)


def test_connecting_fails_for_one_and_the_next_one_tries(things: Things) -> None:
    with Pool(things, size=1) as pool:
        lease = pool.acquire()
        greenlets = [gevent.spawn(pool.acquire, PATIENCE) for _ in range(3)]
        gevent.sleep(0)
        things.fail = ConnectionRefusedError("nobody listens")
        lease.discard()
        for greenlet in greenlets:
            with pytest.raises(ConnectionRefusedError):
                greenlet.get(timeout=PATIENCE)
        assert pool.statistics().connect_failed == 3
        things.fail = None
        pool.acquire().release()
        assert pool.statistics().held == 0


@pytest.mark.parametrize(
    "error", [ValueError, DeadlineExceeded, gevent.Timeout, gevent.GreenletExit, KeyboardInterrupt]
)
def test_an_error_in_the_block_discards_what_nobody_can_judge(pool: Pool[Thing], error: type[BaseException]) -> None:
    with pytest.raises(error), pool.acquire() as thing:
        raise error
    assert thing.closed
    assert pool.statistics().discarded == 1


def test_a_connection_that_is_clean_survives_an_ordinary_error_but_no_interruption() -> None:
    things = Judged()
    with Pool(things, size=2) as pool:
        with pytest.raises(ValueError, match="x"), pool.acquire() as thing:
            raise ValueError("x")
        assert not thing.closed
        with pytest.raises(gevent.Timeout), pool.acquire() as thing:
            raise gevent.Timeout
        assert thing.closed
        with pool.acquire() as thing:  # the interruption was swallowed; the state tells
            thing.dirty = True
        assert thing.closed
        assert pool.statistics().discarded == 2


def test_age_and_idleness_end_a_connection_at_different_times(things: Things, clock: Clock) -> None:
    random.seed(5)
    with Pool(things, size=20, max_age=100, max_idle=40, jitter=0.5, check_after=1000) as pool:
        leases = [pool.acquire() for _ in range(20)]
        slots = [lease._slot for lease in leases if lease._slot]
        ages = {round(slot.expires - clock.now) for slot in slots}
        limits = {round(slot.idle_limit) for slot in slots}
        assert len(ages) > 10
        assert min(ages) >= 50
        assert max(ages) <= 100
        assert len(limits) > 5
        assert min(limits) >= 20
        assert max(limits) <= 40
        for lease in leases:
            lease.release()
        clock.now += 19
        assert pool._maintain(clock.now, run_now) < clock.now + 22
        assert len(things.open) == 20
        clock.now += 12
        pool._maintain(clock.now, run_now)
        assert 0 < len(things.open) < 20
        clock.now += 10
        pool._maintain(clock.now, run_now)
        assert not things.open
        assert pool.statistics().expired == 20


def test_nobody_is_lent_one_that_is_too_old_or_was_idle_too_long(things: Things, clock: Clock) -> None:
    with Pool(things, size=1, max_age=100, max_idle=40, jitter=0, check_after=30) as pool:
        pool.acquire().release()
        clock.now += 41
        with pool.acquire() as thing:
            assert thing.number == 1
            clock.now += 101
        assert thing.closed, "it grew too old while it was held"
        assert (things.checks, pool.statistics().expired) == (0, 2)


def test_a_suspicious_one_is_asked_whether_it_is_alive(things: Things, clock: Clock) -> None:
    with Pool(things, size=3, check_after=30, jitter=0) as pool:
        leases = [pool.acquire() for _ in range(3)]
        for lease in leases:
            lease.release()
        pool.acquire().release()
        assert things.checks == 0, "who has just been used is not asked"
        clock.now += 31
        pool.acquire().release()
        pool.acquire().release()
        assert things.checks == 1, "asked once, and trusted for a while"
        for thing in things.made:
            thing.dead = True
        clock.now += 31
        with pool.acquire() as thing:
            assert thing.number == 3, "the dead one was replaced"
        clock.now += 1
        pool.acquire().release()
        leases = [pool.acquire(), pool.acquire(), pool.acquire()]
        assert {lease.connection.number for lease in leases} == {3, 4, 5}, "and all others looked at"
        for lease in leases:
            lease.release()


def test_a_glance_tells_of_one_that_was_closed(clock: Clock) -> None:
    class Seen(Things):
        def glance(self, connection: Thing) -> bool:
            glances.append(connection.number)
            return not connection.dead

    glances: list[int] = []
    things = Seen()
    with Pool(things, size=2, glance_after=1, check_after=30, jitter=0) as pool:
        pool.acquire().release()
        pool.acquire().release()
        assert not glances
        clock.now += 2
        pool.acquire().release()
        assert (glances, things.checks) == ([0], 0)
        things.made[0].dead = True
        clock.now += 2
        with pool.acquire() as thing:
            assert thing.number == 1
        assert (glances, things.checks) == ([0, 0], 1)
        pool.suspect()
        pool.acquire().release()
        assert (len(glances), things.checks) == (2, 2), "a suspicious one is asked"


def test_one_that_broke_makes_the_idle_ones_suspicious(things: Things) -> None:
    with Pool(things, size=2) as pool:
        first, second = pool.acquire(), pool.acquire()
        second.release()
        things.made[1].dead = True  # the server was restarted
        first.discard(suspect=True)
        with pool.acquire() as thing:
            assert thing.number == 2
        assert things.checks == 1


def test_connections_are_kept_ready_and_made_anew_in_the_background(things: Things) -> None:
    with Pool(things, size=4, keep=2) as pool:
        until(lambda: pool.statistics().idle == 2)
        first = pool.acquire()
        assert first.connection in things.made[:2]
        first.discard()
        until(lambda: pool.statistics().idle == 2)
        assert len(things.made) == 3
        assert pool.statistics().connect_failed == 0


def test_what_could_not_be_made_in_the_background_is_tried_again_and_again(things: Things) -> None:
    things.fail = ConnectionRefusedError("down")
    with Pool(things, size=2, keep=1) as pool:
        until(lambda: pool.statistics().connect_failed >= 3)
        things.fail = None
        until(lambda: pool.statistics().idle == 1)


def test_the_keeper_ends_what_is_idle_without_anybody_asking(things: Things) -> None:
    with Pool(things, size=2, max_idle=0.05) as pool:
        pool.acquire().release()
        until(lambda: not things.open)
        assert pool.statistics().expired == 1
        assert pool.statistics().idle == 0


def test_a_lease_that_is_dropped_is_found_and_reported(things: Things, caplog: pytest.LogCaptureFixture) -> None:
    with Pool(things, size=1, name="things") as pool, caplog.at_level(logging.WARNING):
        lease: Any = pool.acquire()
        waiting = in_thread(lambda: pool.acquire(PATIENCE).release())
        until(lambda: pool.statistics().waiting == 1)
        del lease
        gc.collect()
        waiting.result(PATIENCE)
        assert things.made[0].closed
        assert pool.statistics().lost == 1
    assert "things: a connection was not given back" in caplog.text


class Collecting(set[Any]):
    """Has the garbage collector run in the middle of the pool's lock."""

    def add(self, item: Any) -> None:
        gc.collect()
        super().add(item)

    def discard(self, item: Any) -> None:
        gc.collect()
        super().discard(item)


@pytest.mark.parametrize("how", ["discard", "release"])
def test_the_collector_gives_one_back_in_the_middle_of_the_lock(how: str) -> None:
    """In any thread at any time: a generator that stands in a block, and that nobody can reach any more."""
    things = Judged()
    with Pool(things, size=2, name="things") as pool:

        def hold(box: list[Any]) -> Iterator[list[Any]]:
            lease = pool.acquire()
            try:
                yield box
            finally:
                getattr(lease, how)()

        box: list[Any] = []
        box.append(hold(box))
        next(box[0])
        pool._slots = Collecting(pool._slots)
        gc.disable()
        try:
            del box
            pool.acquire().release()
        finally:
            gc.enable()
        until(lambda: pool.statistics().held == 0)
        with pool.acquire(PATIENCE), pool.acquire(PATIENCE):
            pass
        assert pool.statistics().lost == 0, "nobody has forgotten it"


def test_holdings_name_greenlet_thread_place_and_request(pool: Pool[Thing]) -> None:
    release = threading.Event()

    def hold_in_thread() -> None:
        with pool.acquire():
            release.wait(PATIENCE)

    def hold_in_greenlet() -> None:
        with pool.acquire():
            gevent.sleep(PATIENCE)

    thread = threading.Thread(target=hold_in_thread, name="the-thread")
    thread.start()
    until(lambda: pool.statistics().held == 1)
    greenlet = gevent.spawn(hold_in_greenlet)
    greenlet.name = "the-greenlet"
    gevent.sleep(0)
    longest, other = pool.holdings()
    release.set()
    thread.join()
    greenlet.kill()
    assert longest.holder == "the-thread"
    assert "hold_in_thread" in longest.place or "threading.py" in longest.place
    assert other.holder == "the-greenlet"
    assert "hold_in_greenlet" in other.place
    assert "test_core.py" in other.place
    assert longest.seconds >= other.seconds >= 0
    assert pool.holdings() == []


def test_closing_lets_nobody_in_and_waits_for_those_that_are_out(things: Things) -> None:
    pool = Pool(things, size=2, name="things")
    held, idle = pool.acquire(), pool.acquire()
    idle.release()
    last = pool.acquire()
    waiting = gevent.spawn(pool.acquire, PATIENCE)
    gevent.sleep(0)
    last.release()
    waiting.get().release()
    waiting = gevent.spawn(lambda: (pool.acquire(), pool.acquire(PATIENCE)))
    gevent.sleep(0)
    assert pool.close() is False
    with pytest.raises(PoolClosed):
        waiting.get()
    with pytest.raises(PoolClosed, match="things: the pool is closed"):
        pool.acquire()
    closing = in_thread(lambda: pool.close(timeout=PATIENCE))
    until(lambda: pool._emptied)
    held.release()
    gc.collect()
    pool._find_lost()  # of the greenlet that got PoolClosed
    assert closing.result(PATIENCE) is True
    assert not things.open
    assert pool.closed


def test_retired_connections_are_replaced_when_they_come_back(things: Things) -> None:
    with Pool(things, size=2) as pool:
        held, idle = pool.acquire(), pool.acquire()
        idle.release()
        pool.retire()
        with pool.acquire() as thing:
            assert thing.number == 2
        held.release()
        assert [t.number for t in things.open] == [2]


def test_the_child_of_a_fork_leaves_the_parents_connections_alone(things: Things) -> None:
    with Pool(things, size=2, keep=1, name="things") as pool:
        until(lambda: pool.statistics().idle == 1)
        with pool.acquire() as idle:
            pass
        lease = pool.acquire()
        other = pool.acquire()
        other.release()

        def child() -> None:
            assert [t.number for t in things.abandoned] == [other_number]
            with pytest.raises(LeaseOver, match="parent process"):
                _ = lease.connection
            lease.release()
            assert sorted(t.number for t in things.abandoned) == [0, 1]
            assert not things.made[0].closed
            assert not things.made[1].closed
            mine = [pool.acquire(), pool.acquire()]
            assert not {0, 1} & {m.connection.number for m in mine}
            for one in mine:
                one.release()
            pool.close()

        other_number = 1 - lease.connection.number
        assert idle.number in (0, 1)
        assert ended_well(in_child(child))
        assert not things.abandoned
        lease.release()
        assert pool.statistics().idle == 2


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"size": 0}, "size=0"), ({"keep": 11}, "keep=11"), ({"jitter": 1.0}, "jitter"), ({"max_age": 0}, "max_age")],
)
def test_settings_that_make_no_sense_are_named(things: Things, settings: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Pool(things, **settings)


def test_many_threads_and_hubs_with_kills_and_errors_lose_nothing_and_share_nothing() -> None:
    """Everybody at once; at the end every slot is back, and no thing was ever lent to two."""
    things = Judged()
    with Pool(things, size=3, max_waiting=10_000, max_age=0.05, check_after=0.01) as pool:

        def use(rng: random.Random, hub: bool) -> None:
            try:
                lease = pool.acquire(rng.choice([0.0005, 5.0]))
            except PoolExhausted:
                return
            with lease as thing:
                thing.use()
                try:
                    if hub:
                        gevent.sleep(rng.choice([0, 0.0002]))
                    elif rng.random() < 0.1:
                        time.sleep(0.0001)
                    if rng.random() < 0.05:
                        thing.dirty = True
                    if rng.random() < 0.05:
                        raise ValueError("x")
                finally:
                    thing.end_use()

        def flow(seed: int, hub: bool) -> None:
            rng = random.Random(seed)
            for _ in range(150):
                try:
                    if hub and rng.random() < 0.5:
                        with gevent.Timeout(rng.random() * 0.002, False):
                            use(rng, hub)
                    else:
                        use(rng, hub)
                except ValueError:
                    pass

        def hub_flow(seed: int) -> None:
            gevent.joinall([gevent.spawn(flow, seed * 100 + n, True) for n in range(8)], raise_error=True)

        flows = [in_thread(lambda seed=seed: flow(seed, False)) for seed in range(3)]  # type: ignore[misc]
        flows += [in_thread(lambda seed=seed: hub_flow(seed), hub=True) for seed in range(2)]  # type: ignore[misc]
        for future in flows:
            future.result(60)
        seen = pool.statistics()
        assert (seen.held, seen.waiting) == (0, 0)
        assert seen.idle <= 3
        assert seen.discarded > 10
        assert seen.waited > 10
        leases = [pool.acquire(timeout=5) for _ in range(3)]
        for lease in leases:
            lease.release()
    assert not things.open


class Slow(Judged):
    """Closing and checking switch greenlets, for as long as the gate is shut."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = gevent.event.Event()
        self.gate.set()
        self.broken = False  # looking raises

    def close(self, connection: Thing) -> None:
        self.gate.wait()
        super().close(connection)

    def is_alive(self, connection: Thing, timeout: float) -> bool:
        self.gate.wait()
        return super().is_alive(connection, timeout)

    def glance(self, connection: Thing) -> bool:
        if self.broken:
            raise ValueError("nobody knows")
        return not connection.dead

    def is_clean(self, connection: Thing) -> bool:
        if self.broken:
            raise ValueError("nobody knows")
        return super().is_clean(connection)


def expired(pool: Pool[Thing]) -> Any:
    lease = pool.acquire()
    pool.retire()
    return lease.release


def suspicious(pool: Pool[Thing]) -> Any:
    with pool.acquire() as thing:
        thing.dead = True
    pool.suspect()
    return pool.acquire


def dropped(pool: Pool[Thing]) -> Any:
    lease = pool.acquire()
    del lease
    return pool.acquire


def unclean(pool: Pool[Thing]) -> Any:
    lease = pool.acquire()
    lease.connection.dirty = True
    return lease.release


@pytest.mark.parametrize("situation", [expired, suspicious, dropped, unclean])
@pytest.mark.parametrize("kills", [1, 2])
def test_who_is_killed_while_a_connection_is_looked_at_or_closed_takes_no_place_away(
    situation: Any, kills: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("watch", "hurry"):  # the keeper is to leave it to the victim
        monkeypatch.setattr(keeper, name, lambda *_: None)
    things = Slow()
    pool = Pool(things, size=1)
    act = situation(pool)
    things.gate.clear()
    victim = gevent.spawn(act)
    for _ in range(kills):
        gevent.sleep(0)
        gevent.sleep(0)
        victim.kill(block=False)
    gevent.sleep(0)
    gevent.sleep(0)
    things.gate.set()
    victim.join(PATIENCE)
    assert isinstance(victim.value, gevent.GreenletExit)
    with pool.acquire(PATIENCE):
        assert pool.statistics().held == 1
    pool.close()
    assert not pool._slots


def test_closing_that_was_interrupted_goes_on_the_next_time() -> None:
    things = Slow()
    pool = Pool(things, size=3)
    for lease in [pool.acquire() for _ in range(3)]:
        lease.release()
    things.gate.clear()
    closing = gevent.spawn(pool.close)
    gevent.sleep(0)
    gevent.sleep(0)
    closing.kill()
    things.gate.set()
    assert pool.close()
    assert len(things.open) == 1  # the one whose closing was interrupted


def test_what_cannot_be_looked_at_is_no_good(clock: Clock) -> None:
    things = Slow()
    with Pool(things, size=1, glance_after=1) as pool:
        pool.acquire().release()
        clock.now += 2
        things.made[0].dead = things.broken = True
        lease = pool.acquire()
        assert (lease.connection.number, things.checks) == (1, 1)
        lease.release()
        assert things.made[1].closed


def test_the_keeper_and_those_who_take_without_the_lock(clock: Clock) -> None:
    """What is lent between looking and taking away is nobody's loss."""
    things = Things()
    with Pool(things, size=3, max_idle=10, jitter=0) as pool:
        leases = [pool.acquire() for _ in range(3)]
        for lease in leases:
            lease.release()
        clock.now += 11
        taken: list[Slot[Thing]] = []

        class Idle(list[Slot[Thing]]):
            def remove(self, slot: Slot[Thing]) -> None:
                if len(self) == 1:  # another thread is faster, just now
                    taken.append(self.pop())
                super().remove(slot)

        pool._idle = Idle(pool._idle)
        pool._maintain(clock.now, run_now)
        assert len(things.open) == 1
        pool._give(taken[0])
        assert len(pool._slots) == 1


def test_what_the_keeper_cannot_begin_is_not_lost(clock: Clock) -> None:
    things = Things()

    def refuse(function: Any) -> None:
        raise RuntimeError("no more threads")

    with Pool(things, size=4, keep=2, max_age=10, jitter=0) as pool:
        leases = [pool.acquire() for _ in range(3)]
        for lease in leases:
            lease.release()
        clock.now += 11
        with pytest.raises(RuntimeError):
            pool._maintain(clock.now, refuse)
        assert len(pool._slots) == len(pool._idle) == 3
        for _ in range(2):
            pool._maintain(clock.now, run_now)
        assert len(things.open) == len(pool._slots) == 2

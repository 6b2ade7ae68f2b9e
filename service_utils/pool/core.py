"""The pool under every client: so many connections at most, lent to one at a time, first come, first served.

``Pool`` lends to greenlets of any number of gevent hubs and to plain threads. Who finds nothing waits on an
``efio.Waiter``, and is woken wherever it is.

How it is made. A slot is a place for one connection; there are ``size`` of them at most. Whoever has a slot alone may
touch its connection, so connecting, checking and closing need no lock: they are done by whoever was given the slot, in
their own time, within their own deadline. If they fail, the slot, empty, goes to the next one who waits.

The idle slots are a stack (the connection used last is the one whose caches are warm; those at the bottom grow old and
are closed). Taking one and putting one back when nobody waits are single operations on a list, atomic under the
interpreter lock; everything else is done with the lock.

Invariants:
* A slot is in ``_idle``, or lent, or in the hands of the keeper; never two of them.
* If somebody waits, nothing is idle. Whoever waits first says so (``_waiting``) and then looks at ``_idle``; whoever
  gives back puts it there and then looks at ``_waiting`` (Dekker's pattern; the interpreter lock orders the accesses).
* Nothing that could call back here is called with the lock held. A lease that was dropped may be noticed by the garbage
  collector in the middle of anything: it is only put aside (``_lost``), and dealt with by whoever comes next.
"""

from __future__ import annotations

import logging
import os
import random
import weakref
from _thread import get_ident
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, TypeVar

from greenlet import getcurrent

from efio import Waiter
from service_utils.pool import keeper
from service_utils.pool.connector import Connector
from service_utils.pool.errors import PoolClosed, PoolExhausted
from service_utils.pool.holders import Holding, describe
from service_utils.pool.lease import Lease, Slot
from service_utils.pool.native import native_lock

__all__ = ["Pool", "PoolStatistics"]

T = TypeVar("T")
log = logging.getLogger("service_utils.pool")

FAILED_PAUSE = 0.1, 1.0  # seconds until a refill that failed is tried again: at first, at most


@dataclass(frozen=True)
class PoolStatistics:
    """How a pool is doing, and what it has done so far. Times in seconds."""

    name: str
    limit: int  #: connections at most
    idle: int
    held: int  #: lent, or being connected or closed at this moment
    waiting: int
    acquired: int
    waited: int  #: had to wait
    wait_seconds: float  #: all of them together
    exhausted: int  #: went away without one
    connected: int
    connect_failed: int
    checked: int  #: asked whether they are alive
    discarded: int  #: ended because they were interrupted, unclean, or did not answer
    expired: int  #: ended because of their age or idleness
    lost: int  #: leases that were dropped instead of given back


class Pool(Generic[T]):
    """Up to ``size`` connections that ``connector`` makes. Times in seconds; ValueError for what makes no sense.

    ``keep``: so many are held ready, and made anew in the background when they end.
    ``timeout``: how long ``acquire`` waits (connecting included) unless it is told; None: for ever.
    ``max_waiting``: who comes when so many wait already is refused at once.
    ``max_age``, ``max_idle``: a connection older than this, or not used for so long, is ended; each by up to ``jitter``
    (a part of 1) sooner, so that those made together do not end together.
    ``glance_after``: one that was not used for so long is looked at before it is lent (``Connector.glance``).
    ``check_after``: one that was not used for so long is asked whether it is alive before it is lent; so are all idle
    ones after one was found broken.
    """

    def __init__(
        self,
        connector: Connector[T],
        *,
        size: int = 10,
        keep: int = 0,
        timeout: float | None = 10.0,
        max_waiting: int = 1000,
        max_age: float = 3600.0,
        max_idle: float = 600.0,
        jitter: float = 0.1,
        glance_after: float = 0.5,
        check_after: float = 30.0,
        check_timeout: float = 2.0,
        name: str = "",
    ) -> None:
        if size < 1:
            raise ValueError(f"size={size}: a pool holds at least one connection")
        if not 0 <= keep <= size:
            raise ValueError(f"keep={keep}: give a number from 0 to size={size}")
        if not 0 <= jitter < 1:
            raise ValueError(f"jitter={jitter}: give a part of 1, from 0 to below 1")
        if max_age <= 0 or max_idle <= 0 or check_timeout <= 0:
            raise ValueError("max_age, max_idle and check_timeout are seconds, above 0")
        self.name = name or type(connector).__name__
        self.connector = connector
        self.size = size
        self.keep = keep
        self.timeout = timeout
        self.max_waiting = max_waiting
        self.max_age = max_age
        self.max_idle = max_idle
        self.jitter = jitter
        self.glance_after = glance_after
        self.check_after = check_after
        self._second_look_after = check_after
        if type(connector).glance is not Connector.glance:
            self._second_look_after = min(check_after, glance_after)
        self.check_timeout = check_timeout
        self._is_clean: Callable[[T], bool] | None = connector.is_clean
        if type(connector).is_clean is Connector.is_clean:
            self._is_clean = None
        self._closed = False
        self._waited = self._exhausted = self._connected = self._connect_failed = 0
        self._checked = self._discarded = self._expired = self._lost_count = self._retired_uses = 0
        self._wait_seconds = 0.0
        self._refilling = 0
        self._pause = 0.0
        self._retry_at = 0.0
        self._begin()
        _pools.add(self)
        if keep:
            keeper.watch(self)

    def _begin(self) -> None:
        self._lock = native_lock()
        self._slots: set[Slot[T]] = set()
        self._idle: list[Slot[T]] = []
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._lost: list[Slot[T]] = []
        self._emptied: list[Waiter] = []  # who waits for the last one to come back

    # --- acquire

    def acquire(self, timeout: float | None = -1) -> Lease[T]:
        """Lends a connection within ``timeout`` seconds, connecting included (-1: as the pool says, None: for ever).

        PoolExhausted when there was none in time or too many wait; PoolClosed; what ``connector.connect`` raises.
        """
        try:
            slot = self._idle.pop()
        except IndexError:
            return self._acquire_slowly(None, timeout)
        now = monotonic()
        if now >= slot.due:
            return self._acquire_slowly(slot, timeout)
        slot.since = now
        slot.thread = get_ident()
        slot.holder = weakref.ref(getcurrent())
        slot.uses += 1
        return Lease(self, slot)

    def _acquire_slowly(self, slot: Slot[T] | None, timeout: float | None) -> Lease[T]:
        if timeout is not None and timeout < 0:
            timeout = self.timeout
        started = monotonic()
        deadline = None if timeout is None else started + timeout
        if slot is None:
            slot = self._take(started, deadline)
        slot.since = monotonic()
        slot.thread = get_ident()
        slot.holder = weakref.ref(getcurrent())
        try:
            if slot.connection is not None and slot.since >= slot.due:
                self._look_again(slot, slot.since, deadline)
            if slot.connection is None:
                self._connect(slot, deadline, started)
        except BaseException:
            self._end(slot)
            self._give(slot)
            raise
        slot.uses += 1
        return Lease(self, slot)

    def _take(self, started: float, deadline: float | None) -> Slot[T]:
        """An idle slot, a new one, or one that is given back."""
        waiter = Waiter()
        refused = False
        with self._lock:
            self._waiting[waiter] = None
            slot = self._idle.pop() if self._idle else None
            if slot is None and len(self._slots) < self.size and not self._closed:
                slot = Slot()
                self._slots.add(slot)
            refused = len(self._waiting) > self.max_waiting
            closed = self._closed
            if slot is not None or refused or closed:
                del self._waiting[waiter]
        if self._lost:
            self._find_lost()
        if slot is not None:
            return slot
        if closed:
            raise PoolClosed(f"{self.name}: the pool is closed")
        if refused:
            self._exhausted += 1
            raise PoolExhausted(f"{self.name}: {self.max_waiting} wait already for one of its {self.size} connections")
        self._waited += 1
        try:
            woken = waiter.wait(None if deadline is None else deadline - started)
        except BaseException:
            with self._lock:
                self._waiting.pop(waiter, None)
            if waiter.woken and waiter.payload is not None:
                self._give(waiter.payload)
            raise
        finally:
            self._wait_seconds += monotonic() - started
        if not woken:
            with self._lock:
                self._waiting.pop(waiter, None)
            self._exhausted += 1
            raise PoolExhausted(self._explain(monotonic() - started))
        given: Slot[T] | None = waiter.payload
        if given is None:
            raise PoolClosed(f"{self.name}: the pool was closed")
        return given

    def _explain(self, seconds: float) -> str:
        holders = "; ".join(map(str, self.holdings()[:3]))
        return (
            f"{self.name}: none of its {self.size} connections became free within {seconds:.3g} s. "
            f"Held longest by: {holders or 'nobody any more'}"
        )

    def _look_again(self, slot: Slot[T], now: float, deadline: float | None) -> None:
        """Before a connection is lent that is too old, or suspicious: leaves the slot empty unless it is good."""
        if now >= slot.expires or now - slot.idle_since >= slot.idle_limit:
            self._expired += 1
            self._end(slot)
            return
        assert slot.connection is not None
        if slot.due and now - slot.idle_since < self.check_after and self.connector.glance(slot.connection):
            return
        self._checked += 1
        timeout = self.check_timeout if deadline is None else max(0.001, min(self.check_timeout, deadline - now))
        alive = False
        try:
            alive = self.connector.is_alive(slot.connection, timeout)
        except Exception as error:  # noqa: BLE001 - whatever it is: not alive
            log.debug("%s: a connection does not answer: %r", self.name, error)
        if not alive:
            self._discarded += 1
            self._end(slot)
            self.suspect()

    def _connect(self, slot: Slot[T], deadline: float | None, started: float) -> None:
        now = monotonic()
        if deadline is not None and now >= deadline:
            self._exhausted += 1
            raise PoolExhausted(self._explain(now - started))
        try:
            connection = self.connector.connect(1e9 if deadline is None else deadline - now)
        except BaseException:
            self._connect_failed += 1
            raise
        self._connected += 1
        now = monotonic()
        slot.expires = now + self.max_age * (1 - self.jitter * random.random())
        slot.idle_limit = self.max_idle * (1 - self.jitter * random.random())
        slot.connection = connection
        keeper.watch(self)

    # --- give back

    def _give_back(self, slot: Slot[T]) -> None:
        if slot.forked:
            return self._abandon(slot)
        if self._is_clean is not None and not self._is_clean(slot.connection):  # type: ignore[arg-type]
            return self._discard(slot, False)
        now = slot.idle_since = monotonic()
        if now >= slot.expires or self._waiting or self._closed or self._lost:
            return self._give_slowly(slot, now)
        slot.due = min(slot.expires, now + self._second_look_after, now + slot.idle_limit)
        slot.holder = None
        self._idle.append(slot)
        if self._waiting or self._closed:
            self._after_put()
        return None

    def _give_slowly(self, slot: Slot[T], now: float) -> None:
        if now >= slot.expires or self._closed:
            self._expired += 1
            self._end(slot)
        slot.due = min(slot.expires, now + self._second_look_after)
        self._give(slot)

    def _give(self, slot: Slot[T]) -> None:
        """Hands a slot, perhaps an empty one, to the first one who waits, or puts it where it belongs."""
        slot.holder = None
        ended = None
        with self._lock:
            while self._waiting:
                waiter, _ = self._waiting.popitem(last=False)
                waiter.payload = slot
                slot.since = monotonic()
                if waiter.wake():
                    break
            else:
                if slot.connection is not None and not self._closed:
                    self._idle.append(slot)
                else:
                    ended = slot
                    self._forget(slot)
        if ended is not None and ended.connection is not None:
            self._end(ended)
        if self._lost:
            self._find_lost()

    def _forget(self, slot: Slot[T]) -> None:
        """With the lock."""
        self._slots.discard(slot)
        self._retired_uses += slot.uses
        if not self._slots:
            for waiter in self._emptied:
                waiter.wake()
        if len(self._slots) < self.keep:
            keeper.hurry()

    def _after_put(self) -> None:
        """Somebody came to wait, or the pool was closed, just when something was put back."""
        with self._lock:
            slot = self._idle.pop() if self._idle else None
        if slot is not None:
            self._give(slot)

    def _discard(self, slot: Slot[T], suspect: bool) -> None:
        if slot.forked:
            return self._abandon(slot)
        self._discarded += 1
        if suspect:
            self.suspect()
        try:
            self._end(slot)
        finally:
            self._give(slot)
        return None

    def _after_error(self, slot: Slot[T], error: BaseException) -> None:
        """The block was left by an error. Only the connector can say in which state the connection is."""
        if isinstance(error, Exception) and self._is_clean is not None:
            self._give_back(slot)
        else:
            self._discard(slot, False)

    def _end(self, slot: Slot[T]) -> None:
        connection, slot.connection = slot.connection, None
        if connection is None:
            return
        try:
            self.connector.close(connection)
        except Exception as error:  # noqa: BLE001 - it was not worth keeping
            log.debug("%s: closing a connection: %r", self.name, error)

    def _abandon(self, slot: Slot[T]) -> None:
        connection, slot.connection = slot.connection, None
        if connection is not None:
            self.connector.abandon(connection)

    def _dropped(self, slot: Slot[T]) -> None:
        """From the destructor of a lease, hence anywhere: nothing may be closed here."""
        self._lost.append(slot)
        keeper.hurry()

    def _find_lost(self) -> None:
        """Deals with leases that were dropped."""
        while self._lost:
            try:
                slot = self._lost.pop()
            except IndexError:  # another thread was faster
                return
            self._lost_count += 1
            log.warning(
                "%s: a connection was not given back; use 'with pool.acquire() as connection'. It was held by %s",
                self.name, describe(slot.holder, slot.thread, monotonic() - slot.since),
            )  # fmt: skip
            self._discard(slot, False)

    # --- looking at it, and ending it

    def statistics(self) -> PoolStatistics:
        with self._lock:
            slots, idle, waiting = list(self._slots), len(self._idle), len(self._waiting)
        return PoolStatistics(
            self.name, self.size, idle, len(slots) - idle, waiting, self._retired_uses + sum(s.uses for s in slots),
            self._waited, self._wait_seconds, self._exhausted, self._connected, self._connect_failed, self._checked,
            self._discarded, self._expired, self._lost_count,
        )  # fmt: skip

    def holdings(self) -> list[Holding]:
        """Who holds a connection, for how long, and what they are doing; the longest first."""
        now = monotonic()
        with self._lock:
            held = [(s.holder, s.thread, now - s.since) for s in self._slots if s.holder is not None]
        return sorted((describe(*h) for h in held), key=lambda holding: -holding.seconds)

    def suspect(self) -> None:
        """Has every idle connection checked before it is lent: after one was found broken."""
        with self._lock:
            for slot in self._idle:
                slot.due = 0.0

    def retire(self) -> None:
        """Has every connection that exists now ended, the held ones when they come back: after a failover."""
        with self._lock:
            for slot in self._slots:
                slot.expires = slot.due = 0.0
        keeper.hurry()

    def close(self, timeout: float = 0.0) -> bool:
        """Lends nothing any more, ends what is idle, waits up to ``timeout`` s for what is lent; whether all came back.

        Those that wait get PoolClosed. What comes back later is ended then.
        """
        with self._lock:
            self._closed = True
            idle, self._idle[:] = list(self._idle), []
            while self._waiting:
                self._waiting.popitem(last=False)[0].wake()
        keeper.forget(self)
        for slot in idle:
            self._end(slot)
        waiter = Waiter()
        with self._lock:
            for slot in idle:
                self._forget(slot)
            done = not self._slots
            if not done and timeout > 0:
                self._emptied.append(waiter)
        if done or timeout <= 0:
            return done
        try:
            return waiter.wait(timeout)
        finally:
            with self._lock:
                self._emptied.remove(waiter)

    @property
    def closed(self) -> bool:
        return self._closed

    def __enter__(self) -> Pool[T]:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Pool {self.name}: {len(self._idle)} idle of {len(self._slots)}, at most {self.size}>"

    # --- for the keeper

    def _maintain(self, now: float, run: Callable[[Callable[[], None]], Any]) -> float:
        """Ends what is too old or idle, makes what is missing, by ``run``; when to come again at the latest."""
        if self._lost:
            self._find_lost()
        with self._lock:
            if self._closed:
                return now + self.max_idle
            surplus = len(self._slots) - self.keep
            old = []
            for slot in self._idle:  # from the bottom: those that were not used for longest
                if now >= slot.expires or (surplus > 0 and now - slot.idle_since >= slot.idle_limit):
                    old.append(slot)
                    surplus -= 1
            for slot in old:
                self._idle.remove(slot)
            times = [min(s.expires, s.idle_since + s.idle_limit) for s in self._idle]
            missing = max(0, min(self.keep - (len(self._slots) - len(old)), self.size - len(self._slots)))
            if now < self._retry_at:
                missing, times = 0, [*times, self._retry_at]
            fresh: list[Slot[T]] = [Slot() for _ in range(missing)]
            self._slots.update(fresh)
        for slot in old:
            self._expired += 1
            run(lambda slot=slot: self._end_and_forget(slot))  # type: ignore[misc]
        for slot in fresh:
            run(lambda slot=slot: self._refill(slot))  # type: ignore[misc]
        return min([t for t in times if t > now], default=now + self.max_idle)

    def _end_and_forget(self, slot: Slot[T]) -> None:
        self._end(slot)
        self._give(slot)

    def _refill(self, slot: Slot[T]) -> None:
        now = monotonic()
        try:
            self._connect(slot, now + (self.timeout or 10.0), now)
        except Exception as error:  # noqa: BLE001 - it is tried again
            first, most = FAILED_PAUSE
            self._pause = min(most, max(first, self._pause * 2))
            self._retry_at = now + self._pause
            log.debug("%s: cannot connect in the background: %r", self.name, error)
        else:
            self._pause = self._retry_at = 0.0
            slot.idle_since = monotonic()
            slot.due = min(slot.expires, slot.idle_since + self._second_look_after)
        self._give(slot)

    def _after_fork(self) -> None:
        """In the child: everything that exists is the parent's."""
        for slot in self._slots:
            slot.forked = True
        idle = self._idle
        self._begin()
        for slot in idle:
            self._abandon(slot)
        if self.keep and not self._closed:
            keeper.watch(self)


_pools: weakref.WeakSet[Pool[Any]] = weakref.WeakSet()


def _after_fork() -> None:
    keeper.after_fork()
    for pool in list(_pools):
        pool._after_fork()


os.register_at_fork(after_in_child=_after_fork)

"""How a pool lends its connections, and takes them back.

How it is made. A slot is a place for one connection; there are ``size`` of them at most. Whoever has a slot alone may
touch its connection, so connecting, checking and closing need no lock: they are done by whoever was given the slot, in
their own time, within their own deadline. If they fail, the slot, empty, goes to the next one who waits.

The idle slots are a stack (the connection used last is the one whose caches are warm; those at the bottom grow old and
are closed). Taking one and putting one back when nobody waits are single operations on a list, atomic under the
interpreter lock (_lease.pyx); everything else is done with the lock.

Invariants:
* A slot is in ``_idle``, or lent, or in the hands of the keeper; never two of them.
* If somebody waits, nothing is idle. Whoever waits first says so (``_waiting``) and then looks at ``_idle``; whoever
  gives back puts it there and then looks at ``_waiting`` (Dekker's pattern; the interpreter lock orders the accesses).
* Nothing that could call back here is called with the lock held. A lease that was dropped may be noticed by the garbage
  collector in the middle of anything: it is only put aside (``_lost``), and dealt with by whoever comes next. So is
  what is given back by whatever the collector throws away while this very thread has the lock (``Guard``).
"""

from __future__ import annotations

import logging
import random
import sys
from collections import OrderedDict
from time import monotonic
from typing import TypeVar

from efio import Waiter
from evpy.errors import DeadlineExceeded
from service_utils.pool import keeper
from service_utils.pool._lease import Guard, Lease, Quick, Slot
from service_utils.pool.connector import Connector
from service_utils.pool.errors import PoolClosed, PoolExhausted
from service_utils.pool.holders import Holding, describe
from service_utils.pool.native import native_lock

__all__ = ["Lending"]

T = TypeVar("T")
log = logging.getLogger("service_utils.pool")


class Lending(Quick[T]):
    """Slots, who waits for them, and how they go to and fro; the settings are those of ``Pool``.

    ``acquire`` and ``_give_back`` are in ``Quick``, and call what is here for everything that takes longer.
    """

    connector: Connector[T]
    size: int
    keep: int
    timeout: float | None
    max_waiting: int
    max_age: float
    max_idle: float
    jitter: float
    check_after: float
    check_timeout: float

    def __init__(self) -> None:
        self._closed = False
        self._waited = self._exhausted = self._connected = self._connect_failed = 0
        self._checked = self._discarded = self._expired = self._lost_count = self._retired_uses = 0
        self._wait_seconds = 0.0
        self._begin()

    def _begin(self) -> None:
        self._lock = Guard(native_lock())
        self._slots: set[Slot[T]] = set()
        self._idle: list[Slot[T]] = []
        self._waiting: OrderedDict[Waiter, None] = OrderedDict()
        self._lost: list[Slot[T]] = []
        self._emptied: list[Waiter] = []  # who waits for the last one to come back

    # --- acquire

    def _acquire_slowly(self, slot: Slot[T] | None, timeout: float | None) -> Lease[T]:
        if timeout is not None and timeout < 0:
            timeout = self.timeout
        started = monotonic()
        deadline = None if timeout is None else started + timeout
        if slot is None:
            slot = self._take(started, deadline)
        slot.hold(monotonic())
        try:
            if slot.connection is not None and slot.since >= slot.due:
                self._look_again(slot, slot.since, deadline)
            if slot.connection is None:
                self._connect(slot, deadline, started)
        except BaseException:
            self._end_and_give(slot)
            raise
        slot.uses += 1
        return Lease(self, slot)

    def _take(self, started: float, deadline: float | None) -> Slot[T]:
        """An idle slot, a new one, or one that is given back."""
        if self._lost:
            self._find_lost()  # before there is anything that could be lost here
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
        if slot.due and now - slot.idle_since < self.check_after and self._seems_well(slot.connection):
            return
        self._checked += 1
        timeout = self.check_timeout if deadline is None else max(0.001, min(self.check_timeout, deadline - now))
        alive = False
        try:
            alive = self.connector.is_alive(slot.connection, timeout)
        except DeadlineExceeded:  # of the caller
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is: not alive
            log.debug("%s: a connection does not answer: %r", self.name, error)
        if not alive:
            self._discarded += 1
            self._end(slot)
            self.suspect()

    def _seems_well(self, connection: T) -> bool:
        try:
            return self.connector.glance(connection)
        except Exception as error:  # noqa: BLE001 - whatever it is: not well
            log.debug("%s: a connection cannot be looked at: %r", self.name, error)
            return False

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
        keeper.watch(self)  # type: ignore[arg-type]  # every one is a Pool

    # --- give back

    def _give_slowly(self, slot: Slot[T], now: float) -> None:
        if self._lock.mine:
            return self._put_aside(slot)
        slot.due = min(slot.expires, now + self._second_look_after)
        if now >= slot.expires or self._closed:
            self._expired += 1
            self._end_and_give(slot)
        else:
            self._give(slot)
        return None

    def _put_aside(self, slot: Slot[T]) -> None:
        """While this thread has the lock. It is ended later, without a report: nobody has forgotten it."""
        slot.holder = None
        self._dropped(slot)

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
        if self._lock.mine:
            try:
                return self._put_aside(self._idle.pop())
            except IndexError:
                return None
        with self._lock:
            slot = self._idle.pop() if self._idle else None
        if slot is not None:
            self._give(slot)
        return None

    def _discard(self, slot: Slot[T], suspect: bool) -> None:
        if slot.forked:
            return self._abandon(slot)
        if sys.is_finalizing():
            return None  # whatever is left open ends with the process, and nothing here can be relied on any more
        if self._lock.mine:
            return self._put_aside(slot)
        self._discarded += 1
        if suspect:
            self.suspect()
        self._end_and_give(slot)
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

    def _end_and_give(self, slot: Slot[T]) -> None:
        """Whoever is killed while the connection is being closed leaves the slot to the others."""
        try:
            self._end(slot)
        finally:
            self._give(slot)

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
            if slot.holder is not None:
                self._lost_count += 1
                log.warning(
                    "%s: a connection was not given back; use 'with pool.acquire() as connection'. It was held by %s",
                    self.name, describe(slot.holder, slot.thread, monotonic() - slot.since),
                )  # fmt: skip
            self._discard(slot, False)

    # --- who holds them, and what they are worth

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

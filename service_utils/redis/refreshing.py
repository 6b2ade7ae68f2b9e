"""Who computes a value while others wait or take an old one: one flight for each name, in this process.

A refresh in the background runs where its caller does: from a greenlet as one more greenlet (a background task of evpy,
which the end of the worker cancels, so that it can clean up), from a plain thread in a thread of
``efio.default_pool()``, which the end of the interpreter waits for. A flight that takes longer than its lease belongs
to somebody who is gone, together with their hub perhaps; then another one may take off.
"""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from efio import Waiter, default_pool
from service_utils.pool.native import native_lock
from service_utils.waiting import in_greenlet

__all__ = ["Flight", "Flights", "in_background"]

PAUSE = 1.0  # seconds after a refresh that failed
MOST_PAUSES = 1000


class Flight:
    """Somebody computes; ``waiters`` wait for it."""

    __slots__ = ("until", "waiters")

    def __init__(self, lease: float) -> None:
        self.until = monotonic() + lease
        self.waiters: list[Waiter] = []


class Flights:
    """Of a cache. Times in seconds."""

    def __init__(self) -> None:
        self._lock = native_lock()
        self._flights: dict[str, Flight] = {}
        self._pauses: dict[str, float] = {}  # until when

    def __len__(self) -> int:
        return len(self._flights)

    def board(self, name: str, timeout: float, lease: float) -> Flight | None:
        """A flight: the caller computes, and calls ``land``. None: somebody else has, or took too long."""
        waiter = Waiter()
        with self._lock:
            flight = self._flights.get(name)
            if flight is None or flight.until <= monotonic():
                flight = self._flights[name] = self._successor(flight, lease)
                return flight
            flight.waiters.append(waiter)
        waiter.wait(timeout)
        return None

    def take_off(self, name: str, lease: float) -> Flight | None:
        """A flight, unless there is one already, or a failed one was a moment ago."""
        now = monotonic()
        with self._lock:
            flight = self._flights.get(name)
            if (flight is not None and flight.until > now) or self._pauses.get(name, 0.0) > now:
                return None
            flight = self._flights[name] = self._successor(flight, lease)
            return flight

    def _successor(self, lost: Flight | None, lease: float) -> Flight:
        flight = Flight(lease)
        if lost is not None:
            flight.waiters, lost.waiters = lost.waiters, []
        return flight

    def land(self, name: str, flight: Flight) -> None:
        """It is over, whatever came of it."""
        with self._lock:
            if self._flights.get(name) is flight:
                del self._flights[name]
            waiters, flight.waiters = flight.waiters, []
        for waiter in waiters:
            waiter.wake()

    def pause(self, name: str) -> None:
        """For a moment no refresh of this name is tried."""
        now = monotonic()
        with self._lock:
            if len(self._pauses) >= MOST_PAUSES:
                self._pauses = {other: until for other, until in self._pauses.items() if until > now}
            if len(self._pauses) < MOST_PAUSES:
                self._pauses[name] = now + PAUSE


def in_background(function: Callable[[], None], name: str) -> None:
    """Runs it, while the caller goes on. RuntimeError at the end of the process."""
    if in_greenlet():
        from evpy.runtime.background import background

        def task() -> None:
            function()

        task.__qualname__ = task.__name__ = name
        background(task)
    else:
        default_pool().submit(function)

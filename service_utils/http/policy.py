"""When to try again, and when to leave a server alone.

* Retries: only what is idempotent (RFC 9110 section 9.2.2) unless told, or was not sent at all; with full jitter
  ("Exponential Backoff And Jitter", AWS, 2015), after Retry-After if the server says so, and from a budget: retries are
  a tenth of the requests at most (Finagle's RetryBudget), so that they never multiply the load of a server in trouble.
* Circuit breaker (Nygard, "Release It!"), one for each origin: when half of at least ``failures`` requests in a window
  fail, nothing is sent for a while; then one request tries.
"""

from __future__ import annotations

import os
import random
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from service_utils.http.errors import CircuitOpen
from service_utils.pool.native import native_lock

__all__ = ["Breaker", "BreakerPolicy", "Budget", "Retries", "Timeouts"]


@dataclass(frozen=True)
class Timeouts:
    """In seconds, above 0."""

    connect: float = 5.0  #: for a connection: waiting for a free one, the name, TCP, TLS
    first_byte: float = 30.0  #: from the request to the first byte of the answer
    read: float = 30.0  #: between two pieces of the answer, or of the request's body
    total: float = 60.0  #: for everything, retries and redirects included; of a streamed answer, up to its head

    def __post_init__(self) -> None:
        for name in ("connect", "first_byte", "read", "total"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)) or not value > 0:
                raise ValueError(f"Timeouts({name}={getattr(self, name)!r}): give seconds, above 0")


@dataclass(frozen=True)
class Retries:
    """How often, and how soon (seconds) a request is tried again."""

    attempts: int = 3  #: the first one included
    base: float = 0.05  #: the first pause is up to this, the next up to twice ...
    longest: float = 2.0  #: ... up to this; and what Retry-After may ask for
    statuses: frozenset[int] = frozenset({429, 502, 503, 504})
    budget: float = 0.1  #: retries for each request
    reserve: float = 10.0  #: retries that may be used before there were any requests

    def pause(self, attempt: int, asked: float | None) -> float | None:
        """Before attempt number ``attempt`` + 1; None: not at all."""
        if attempt >= self.attempts or (asked is not None and asked > self.longest):
            return None
        pause = random.random() * min(self.longest, self.base * 2.0 ** (attempt - 1))
        return max(pause, asked or 0.0)


class Budget:
    """Tokens: every request brings a part of one, every retry takes one."""

    def __init__(self, ratio: float, reserve: float) -> None:
        self._ratio = ratio
        self._most = reserve
        self.tokens = reserve

    def deposit(self) -> None:
        if self.tokens < self._most:
            self.tokens = min(self._most, self.tokens + self._ratio)

    def withdraw(self) -> bool:
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass(frozen=True)
class BreakerPolicy:
    """Times in seconds."""

    failures: int = 10  #: at least so many in the window
    ratio: float = 0.5  #: and this part of the requests
    window: float = 10.0
    pause: float = 1.0  #: for which nothing is sent; doubled while trials fail ...
    longest: float = 30.0  #: ... up to this


class Breaker:
    """Of one origin. Each ``enter`` is followed by one of ``success``, ``failure`` and ``cancelled``."""

    def __init__(self, policy: BreakerPolicy, name: str, clock: Callable[[], float] = monotonic) -> None:
        self._policy = policy
        self._name = name
        self._clock = clock
        self._lock = native_lock()
        _breakers.add(self)
        self._good = self._bad = 0
        self._until = 0.0  # end of the window
        self._closed = True  # requests may pass
        self._pause = policy.pause
        self._open_until = 0.0
        self._trial = False

    @property
    def state(self) -> str:
        """closed, open or half-open"""
        return "closed" if self._closed else "open" if self._clock() < self._open_until else "half-open"

    def enter(self) -> bool:
        """Whether this request is the one that tries. CircuitOpen."""
        if self._closed:
            return False
        with self._lock:
            left = self._open_until - self._clock()
            if left <= 0 and not self._trial:
                self._trial = True
                return True
        raise CircuitOpen(
            f"{self._name} has failed too often; nothing is sent to it "
            + (f"for {left:.1f} s" if left > 0 else "until the request that tries it is done")
        )

    def success(self, trial: bool) -> None:
        self._good += 1
        if trial:
            with self._lock:
                self._closed, self._trial = True, False
                self._good = self._bad = 0
                self._pause = self._policy.pause

    def failure(self, trial: bool) -> None:
        policy, now = self._policy, self._clock()
        with self._lock:
            if trial:
                self._trial = False
                self._pause = min(policy.longest, self._pause * 2)
                self._open_until = now + self._pause * random.uniform(0.8, 1.0)
                return
            if now >= self._until:
                self._until = now + policy.window
                self._good = self._bad = 0
            self._bad += 1
            if self._closed and self._bad >= policy.failures and self._bad >= policy.ratio * (self._good + self._bad):
                self._closed = False
                self._open_until = now + self._pause * random.uniform(0.8, 1.0)

    def cancelled(self, trial: bool) -> None:
        """Nothing was learnt."""
        if trial:
            with self._lock:
                self._trial = False


_breakers: weakref.WeakSet[Breaker] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child, in which nobody holds a lock, nor is the request that tries."""
    for one in list(_breakers):
        one._lock = native_lock()
        one._trial = False


os.register_at_fork(after_in_child=_after_fork)

"""Names to addresses: the system's own lookup, on efio's pool, with a cache.

The system's (and not c-ares') because it alone knows nsswitch.conf: /etc/hosts, mDNS, whatever else an operator has set
up. It has no deadline and blocks a thread, so it runs on ``efio.default_pool()`` while the caller waits on its hub with
a deadline of its own, and not more than ``MAX_LOOKUPS`` run at a time. Many who ask for the same name at the same time
share one lookup. The answer is kept for ``ttl`` seconds (the system does not tell the record's own), a failure for
``negative_ttl``; an old answer is better than a failure for ``stale`` seconds.

Tried and dropped: gevent's binding of c-ares (26.9). It belongs to one hub, and its channels raise errors nobody can
catch when that hub has been destroyed. ``Resolver(lookup)`` takes any other lookup.
"""

from __future__ import annotations

import _socket  # not replaced by gevent
import ipaddress
from collections.abc import Callable
from time import monotonic
from typing import Any

from efio import Waiter, default_pool
from service_utils.pool.native import native_lock

__all__ = ["Address", "Resolver", "interleave"]

Address = tuple[int, Any]  #: family and socket address
MAX_LOOKUPS = 8
MAX_NAMES = 1000


def _system(host: str, port: int) -> list[Address]:
    found = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    return list(dict.fromkeys((int(entry[0]), entry[4]) for entry in found))


class _Lookup:
    """One that is under way, and who waits for it."""

    def __init__(self) -> None:
        self.waiters: list[Waiter] = []


class Resolver:
    """A cache of addresses; one for all clients unless told. Times in seconds."""

    def __init__(
        self,
        lookup: Callable[[str, int], list[Address]] = _system,
        *,
        ttl: float = 30.0,
        negative_ttl: float = 1.0,
        stale: float = 600.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._lookup = lookup
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self.stale = stale
        self._clock = clock
        self._lock = native_lock()
        self._known: dict[tuple[str, int], tuple[float, float, list[Address] | OSError]] = {}  # until, since, what
        self._running: dict[tuple[str, int], _Lookup] = {}

    def resolve(self, host: str, port: int, timeout: float) -> list[Address]:
        """Addresses, at least one, in the order in which they should be tried. OSError; TimeoutError."""
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            pass
        else:
            return [(_socket.AF_INET6 if address.version == 6 else _socket.AF_INET, (host, port))]
        key = host, port
        known = self._known.get(key)
        if known is None or known[0] <= self._clock():
            self._ask(key, timeout)
            known = self._known[key]
        if isinstance(known[2], OSError):
            raise OSError(*known[2].args)
        return known[2]

    def _ask(self, key: tuple[str, int], timeout: float) -> None:
        waiter = Waiter()
        with self._lock:
            running = self._running.get(key)
            first = running is None
            if running is None:
                if len(self._running) >= MAX_LOOKUPS:
                    raise OSError(f"{MAX_LOOKUPS} names are being looked up already, and none is answered")
                running = self._running[key] = _Lookup()
            running.waiters.append(waiter)
        if first:
            default_pool().submit(self._run, key)
        if not waiter.wait(timeout):
            raise TimeoutError(f"the name {key[0]} was not found within {timeout:.3g} s")

    def _run(self, key: tuple[str, int]) -> None:
        """In a thread of the pool."""
        result: list[Address] | OSError
        try:
            result = interleave(self._lookup(*key)) or OSError(f"{key[0]} has no address")
        except OSError as error:
            result = error
        except Exception as error:  # noqa: BLE001 - UnicodeError of the system's lookup, or of one that was given
            result = OSError(f"{key[0]}: {error}")
        now = self._clock()
        with self._lock:
            old = self._known.get(key)
            if isinstance(result, OSError):
                since = now
                if old is not None and not isinstance(old[2], OSError) and now < old[1] + self.ttl + self.stale:
                    since, result = old[1], old[2]
                until = now + self.negative_ttl
            else:
                since, until = now, now + self.ttl
            if len(self._known) >= MAX_NAMES and key not in self._known:
                del self._known[next(iter(self._known))]
            self._known[key] = until, since, result
            waiters = self._running.pop(key).waiters
        for waiter in waiters:
            waiter.wake()


def interleave(addresses: list[Address]) -> list[Address]:
    """The families in turn, beginning with the preferred one (RFC 8305 section 4)."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    mixed = [a for pair in zip(first, other, strict=False) for a in pair]
    shorter = min(len(first), len(other))
    return mixed + first[shorter:] + other[shorter:]

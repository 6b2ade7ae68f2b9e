"""Names to addresses, with a cache, whoever does the lookup.

A lookup (``Lookup``) is begun by the first one who needs a name, and ends in whatever thread it likes; those who ask
for the same name meanwhile wait with the first one, each with a deadline of their own, and whoever goes away leaves it
running for the others. An answer is kept as long as its records say (``least_ttl`` to ``most_ttl`` seconds), or for
``ttl`` seconds where nothing says; a failure for ``negative_ttl`` (c-ares keeps it longer, if the zone says so); an old
answer is better than a failure for ``stale`` seconds.

Usually the lookup is that of c-ares (ares.py). The other one is the system's: it blocks a thread and has no deadline,
so it has threads of its own: those of ``efio.default_pool()`` would all be gone when a name server hangs.
"""

from __future__ import annotations

import _socket  # not replaced by gevent
import ipaddress
import os
import weakref
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any, Protocol

from efio import Waiter
from service_utils.pool.native import native_lock, start_thread

__all__ = ["Address", "Done", "Lookup", "Resolver", "SystemLookup", "interleave", "usual"]

Address = tuple[int, Any]  #: family and socket address
Done = Callable[
    [list[Address] | OSError, float | None], None
]  #: takes what was found, and for how many seconds it holds
MAX_LOOKUPS = 8  # of the system at a time
MAX_WAITING = 1000  # names that are looked up at a time
MAX_NAMES = 1000


class Lookup(Protocol):
    """Finds the addresses of a name."""

    def begin(self, host: str, port: int, done: Done) -> None:
        """Calls ``done`` once: in the end, in any thread, or before it returns. Waits for nothing."""


def _system(host: str, port: int) -> list[Address]:
    found = _socket.getaddrinfo(host, port, 0, _socket.SOCK_STREAM)
    return list(dict.fromkeys((int(entry[0]), entry[4]) for entry in found))


class SystemLookup:
    """The system's, or another function that blocks: in threads of its own, ``MAX_LOOKUPS`` at a time; the others wait
    for their turn."""

    def __init__(self, function: Callable[[str, int], list[Address]] = _system) -> None:
        self._function = function
        self._renew()
        _with_state.add(self)

    def _renew(self) -> None:
        self._lock = native_lock()
        self._line: deque[tuple[str, int, Done]] = deque()
        self._running = 0

    def begin(self, host: str, port: int, done: Done) -> None:
        with self._lock:
            self._line.append((host, port, done))
            starts = self._running < MAX_LOOKUPS
            self._running += starts
        if starts:
            try:
                start_thread(self._run)
            except BaseException:
                with self._lock:
                    self._running -= 1
                    self._line.remove((host, port, done))
                raise

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._line:
                    self._running -= 1
                    return
                host, port, done = self._line.popleft()
            result: list[Address] | OSError
            try:
                result = self._function(host, port)
            except OSError as error:
                result = error
            except Exception as error:  # noqa: BLE001 - UnicodeError of the system's lookup, or of one that was given
                result = OSError(f"{host}: {error}")
            done(result, None)


class Resolver:
    """A cache of addresses; one for all clients unless told. Times in seconds.

    ``lookup``: a ``Lookup``, or a function that blocks; None: the usual one, see ares.py.
    """

    def __init__(
        self,
        lookup: Lookup | Callable[[str, int], list[Address]] | None = None,
        *,
        ttl: float = 30.0,
        least_ttl: float = 1.0,
        most_ttl: float = 300.0,
        negative_ttl: float = 1.0,
        stale: float = 600.0,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._lookup: Lookup | None
        if callable(lookup) and not hasattr(lookup, "begin"):
            self._lookup = SystemLookup(lookup)
        else:
            self._lookup = lookup
        self.ttl = ttl
        self.least_ttl = least_ttl
        self.most_ttl = most_ttl
        self.negative_ttl = negative_ttl
        self.stale = stale
        self._clock = clock
        # until, since, what
        self._known: dict[tuple[str, int], tuple[float, float, list[Address] | OSError]] = {}
        self._renew()
        _with_state.add(self)

    def _renew(self) -> None:
        self._lock = native_lock()
        self._running: dict[tuple[str, int], list[Waiter]] = {}  # who waits for what is being looked up

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
        found = known[2] if known is not None and known[0] > self._clock() else self._ask(key, timeout)
        if isinstance(found, OSError):
            raise type(found)(*found.args)
        return found

    def _ask(self, key: tuple[str, int], timeout: float) -> list[Address] | OSError:
        waiter = Waiter()
        with self._lock:
            running = self._running.get(key)
            first = running is None
            if running is None:
                if len(self._running) >= MAX_WAITING:
                    raise OSError(f"{MAX_WAITING} names are being looked up already, and none is answered")
                running = self._running[key] = []
            running.append(waiter)
        if first:
            self._begin(key)
        if not waiter.wait(timeout):
            raise TimeoutError(f"the name {key[0]} was not found within {timeout:.3g} s")
        found: list[Address] | OSError = waiter.payload
        return found

    def _begin(self, key: tuple[str, int]) -> None:
        lookup = self._lookup
        try:
            if lookup is None:
                from service_utils.ares import usual_lookup

                lookup = self._lookup = usual_lookup()
            lookup.begin(*key, lambda result, holds: self._done(key, result, holds))
        except BaseException as error:
            self._done(key, OSError(f"{key[0]}: {error!r}"), None)
            raise

    def _done(self, key: tuple[str, int], result: list[Address] | OSError, holds: float | None) -> None:
        """In any thread."""
        if not isinstance(result, OSError):
            result = interleave(result) if result else OSError(f"{key[0]} has no address")
        now = self._clock()
        with self._lock:
            waiters = self._running.pop(key, None)
            if waiters is None:
                return
            old = self._known.get(key)
            if isinstance(result, OSError):
                since = now
                if old is not None and not isinstance(old[2], OSError) and now < old[1] + self.ttl + self.stale:
                    since, result = old[1], old[2]
                until = now + self.negative_ttl
            else:
                ttl = self.ttl if holds is None else min(max(holds, self.least_ttl), self.most_ttl)
                since, until = now, now + ttl
            if len(self._known) >= MAX_NAMES and key not in self._known:
                del self._known[next(iter(self._known))]
            self._known[key] = until, since, result
        for waiter in waiters:
            waiter.payload = result
            waiter.wake()


def interleave(addresses: list[Address]) -> list[Address]:
    """The families in turn, beginning with the preferred one (RFC 8305 section 4)."""
    first = [a for a in addresses if a[0] == addresses[0][0]]
    other = [a for a in addresses if a[0] != addresses[0][0]]
    mixed = [a for pair in zip(first, other, strict=False) for a in pair]
    shorter = min(len(first), len(other))
    return mixed + first[shorter:] + other[shorter:]


_with_state: weakref.WeakSet[Resolver | SystemLookup] = weakref.WeakSet()


def _after_fork() -> None:
    """In the child, in which nobody is looking up anything."""
    for one in list(_with_state):
        one._renew()


os.register_at_fork(after_in_child=_after_fork)

usual = Resolver()  #: of all clients that are not told otherwise

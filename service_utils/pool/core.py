"""The pool under every client: so many connections at most, lent to one at a time, first come, first served.

``Pool`` lends to greenlets of any number of gevent hubs and to plain threads. How it does that is in lending.py; what
is done in the background in upkeep.py.
"""

from __future__ import annotations

import logging
import os
import weakref
from collections.abc import Callable
from typing import Any, TypeVar

from efio import Waiter
from service_utils.pool import keeper
from service_utils.pool.connector import Connector
from service_utils.pool.statistics import PoolStatistics
from service_utils.pool.upkeep import Upkeep

__all__ = ["Pool", "PoolStatistics"]

T = TypeVar("T")
log = logging.getLogger("service_utils.pool")


class Pool(Upkeep[T]):
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
        given: dict[str, Any] = {"size": size, "keep": keep, "timeout": timeout}  # out of the environment, perhaps
        for setting, value in given.items():
            if not isinstance(value, int) and (setting != "timeout" or not isinstance(value, float | None)):
                raise ValueError(f"{setting}={value!r}: give a number")
        if size < 1:
            raise ValueError(f"size={size}: a pool holds at least one connection")
        if not 0 <= keep <= size:
            raise ValueError(f"keep={keep}: give a number from 0 to size={size}")
        if timeout is not None and timeout < 0:
            raise ValueError(f"timeout={timeout}: give seconds, or None to wait for ever")
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
        super().__init__()
        _pools.add(self)
        if keep:
            keeper.watch(self)

    # --- looking at it, and ending it

    def statistics(self) -> PoolStatistics:
        with self._lock:
            slots, idle, waiting = list(self._slots), len(self._idle), len(self._waiting)
        return PoolStatistics(
            self.name, self.size, idle, len(slots) - idle, waiting, self._retired_uses + sum(s.uses for s in slots),
            self._waited, self._wait_seconds, self._exhausted, self._connected, self._connect_failed, self._checked,
            self._discarded, self._expired, self._lost_count,
        )  # fmt: skip

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
            while self._waiting:
                self._waiting.popitem(last=False)[0].wake()
        keeper.forget(self)
        while self._idle:  # those that are left when this is interrupted are for whoever closes it again
            try:
                slot = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            try:
                self._end(slot)
            finally:
                with self._lock:
                    self._forget(slot)
        waiter = Waiter()
        with self._lock:
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

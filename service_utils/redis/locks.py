"""Locks between processes and machines, with fencing tokens.

A lock that ends by itself (``ttl``) may end while its holder still works: paused, swapped out, cut off. So each holder
gets a number, greater than all before it; what the lock protects keeps the greatest number that it has seen and refuses
smaller ones (Kleppmann, "How to do distributed locking", 2016). With a single Redis, or one with sentinels: after a
failover two may hold a lock, and a token may come twice; where that matters, use the database.
"""

from __future__ import annotations

import random
import secrets
from time import monotonic
from types import TracebackType
from typing import Any

import redis

from evpy.errors import EvpyError
from service_utils.waiting import sleep

__all__ = ["Lock", "LockLost", "LockTimedOut"]

_take = """
if redis.call('set', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return {redis.call('incr', KEYS[2]), 0} end
return {0, redis.call('pttl', KEYS[1])}
"""
_give = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"
_extend = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('pexpire', KEYS[1], ARGV[2]) end return 0"


class LockTimedOut(EvpyError, TimeoutError):
    """Somebody else held the lock for too long."""


class LockLost(EvpyError):
    """The lock's time was over before its holder was done: somebody else may hold it."""


class Lock:
    """``with Lock(client, "name", ttl=10) as token: store(..., token)``. One object for one holder; times in seconds.

    ``ttl``: for how long it is held unless it is extended. ``timeout``: how long to wait for it; None: for ever.
    """

    def __init__(self, client: redis.Redis, name: str, ttl: float = 10.0, timeout: float | None = 10.0) -> None:
        if ttl <= 0:
            raise ValueError(f"Lock(ttl={ttl}): give seconds, above 0")
        self.client = client
        self.name = name
        self.ttl = ttl
        self.timeout = timeout
        self.token: int | None = None  #: while it is held
        self._keys = f"lock:{{{name}}}", f"lock:{{{name}}}:fence"
        self._secret = secrets.token_bytes(16)

    def acquire(self, timeout: float | None = -1) -> int:
        """The fencing token. LockTimedOut; RuntimeError when this object holds it already."""
        if self.token is not None:
            raise RuntimeError(f"lock {self.name}: this object holds it already; make one for each holder")
        timeout = self.timeout if timeout is not None and timeout < 0 else timeout
        deadline = None if timeout is None else monotonic() + timeout
        pause = 0.005
        while True:
            token, left = self._eval(_take, 2, int(self.ttl * 1000) or 1)
            if token:
                self.token = int(token)
                return self.token
            pause = min(pause * 1.5, 0.1, max(int(left), 1) / 1000)
            wait = pause * random.uniform(0.5, 1.0)
            if deadline is not None:
                wait = min(wait, deadline - monotonic())
                if wait <= 0:
                    raise LockTimedOut(f"lock {self.name}: somebody holds it, and did for {timeout:.3g} s")
            sleep(wait)

    def extend(self) -> None:
        """Holds it for ``ttl`` from now. LockLost."""
        if self.token is None or not self._eval(_extend, 1, int(self.ttl * 1000) or 1):
            self.token = None
            raise LockLost(f"lock {self.name}: it was not held any more; ttl={self.ttl:g} s was too short")

    def release(self) -> None:
        """LockLost when its time was over already."""
        held, self.token = self.token, None
        if held is None or not self._eval(_give, 1):
            raise LockLost(f"lock {self.name}: it was not held any more; ttl={self.ttl:g} s was too short")

    def _eval(self, script: str, keys: int, *more: int) -> Any:
        return self.client.eval(script, keys, *self._keys[:keys], self._secret, *more)

    def __enter__(self) -> int:
        return self.acquire()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.release()
        except (LockLost, redis.RedisError):
            if error is None:
                raise

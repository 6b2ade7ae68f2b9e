"""A cache in Redis with a tier in the process, and functions that remember their results.

When a value is missing, one caller computes it and the others wait: within the process on each other, between processes
on a lock in Redis (a stampede, or dogpile, is what happens without). While an old value is still there (``stale``),
nobody waits: everybody gets it, and the first one has the new value computed in the background (refreshing.py).

Values are msgpack: None, numbers, text, bytes, lists, dicts, datetimes; with ``into`` any type that msgspec knows.
What is handed out is always a copy. The cache is an aid: when Redis cannot be reached, functions are called, and for a
second nobody asks it again; nor do they fail because Redis refuses to keep something, or has what cannot be read.

A result that is forgotten while it is being computed was perhaps computed from what was there before, so it is not
kept: ``forget`` leaves a mark in the place of the value, and a result is not written over another mark than the one
that was there when its computation began.
"""

from __future__ import annotations

import functools
import hashlib
import inspect
import logging
import random
import secrets
import struct
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic
from typing import Any, Generic, ParamSpec, TypeVar

import msgspec
import redis

from evpy.errors import DeadlineExceeded
from service_utils.pool import PoolExhausted
from service_utils.pool.native import native_lock
from service_utils.redis.connection import BINARY
from service_utils.redis.refreshing import Flights, in_background
from service_utils.waiting import sleep

__all__ = ["Cache", "CacheStatistics", "Cached"]

P = ParamSpec("P")
T = TypeVar("T")
log = logging.getLogger("service_utils.redis")

UNREACHABLE = (redis.ConnectionError, redis.TimeoutError, PoolExhausted, OSError)
REST = 1.0  # seconds for which Redis is not asked after it could not be reached
_head = struct.Struct("<d")  # fresh until, seconds since 1970
MARK = struct.pack("<d", float("nan"))  # in place of the time: forgotten, and 8 random bytes
MARK_LIFE = 600.0  # seconds: a computation that takes longer may keep what was forgotten meanwhile
_store = """
local now = redis.call('get', KEYS[1])
if now and #now == 16 and string.sub(now, 1, 8) == ARGV[4] and now ~= ARGV[1] then return 0 end
redis.call('set', KEYS[1], ARGV[2], 'PX', ARGV[3])
return 1
"""
_unlock = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0"


@dataclass(frozen=True)
class CacheStatistics:
    """What functions that are ``cached`` have found, in this process."""

    hits: int
    stale: int  #: old values were given out, and new ones asked for in the background
    misses: int  #: the function was called, and its caller waited
    failed: int  #: an old value stayed, because the function has raised an error
    computing: int  #: at this moment


class Cache:
    """Values by name. ``prefix`` of all names; times in seconds.

    ``local``: for how long a value is taken from the process without asking Redis (0: never): so old may be what
    another process has meanwhile replaced. ``local_size``: so many values.
    """

    def __init__(
        self, client: redis.Redis, prefix: str = "cache:", *, local: float = 1.0, local_size: int = 1000,
        clock: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.client = client
        self.prefix = prefix
        self.local = local
        self.local_size = local_size
        self._clock = clock
        self._lock = native_lock()
        self._near: OrderedDict[str, tuple[float, bytes]] = OrderedDict()  # name: until, value with its head
        self._flights = Flights()
        self._hits = self._stale = self._misses = self._failed = 0
        self._rest_until = 0.0
        self._complaint = 0.0  # when Redis last refused something
        self._forgotten = 0

    # --- plain values

    def get(self, name: str, default: Any = None, into: Any = Any) -> Any:
        """What was set, unless it is too old."""
        data = self._read(name)
        return default if data is None else msgspec.msgpack.decode(memoryview(data)[8:], type=into)

    def set(self, name: str, value: Any, ttl: float, stale: float = 0.0) -> None:
        """Keeps the value for ``ttl`` seconds, and for ``stale`` more as one that is better than none."""
        self._write(name, msgspec.msgpack.encode(value), ttl, stale)

    def delete(self, *names: str) -> None:
        """Forgets values; other processes may have them for ``local`` more seconds."""
        with self._lock:
            for name in names:
                self._near.pop(name, None)
        if names:
            self._try(lambda: self.client.delete(*(self.prefix + name for name in names)))

    def cached(
        self, ttl: float, stale: float = 0.0, *, into: Any = None, name: str = "", lease: float = 10.0
    ) -> Callable[[Callable[P, T]], Cached[P, T]]:
        """Decorator: results are kept by arguments, which must be values as above.

        ``into``: type of the result (default: Any). ``name`` of the function in the cache (default: its own).
        ``lease``: how long others wait for the one who computes, before they do it themselves.
        """
        if ttl <= 0 or stale < 0 or lease <= 0:
            raise ValueError(f"cached(ttl={ttl}, stale={stale}, lease={lease}): give seconds, ttl and lease above 0")

        def decorate(function: Callable[P, T]) -> Cached[P, T]:
            return Cached(self, function, ttl, stale, into or Any, name, lease)

        return decorate

    # --- the two tiers

    def _try(self, call: Callable[[], Any]) -> Any:
        """What Redis says; None when it cannot be reached."""
        if monotonic() < self._rest_until:
            return None
        try:
            return call()
        except DeadlineExceeded:  # of the caller; it is an OSError
            raise
        except UNREACHABLE as error:
            self._rest_until = monotonic() + REST
            log.warning("the cache cannot be reached: %s", error)
            return None
        except redis.RedisError as error:  # its memory is full, it is a replica, ...
            if monotonic() - self._complaint >= REST:
                self._complaint = monotonic()
                log.warning("the cache refuses: %s", error)
            return None

    def _read(self, name: str) -> bytes | None:
        near = self._near.get(name)
        if near is not None and near[0] > monotonic():
            return near[1]
        data = self._far(name)
        if data is not None and len(data) >= 8 and not data.startswith(MARK):
            self._keep(name, data)
            return data
        return None

    def _far(self, name: str) -> bytes | None:
        """What Redis has: a value, a mark, or nothing."""
        client: Any = self.client
        data: bytes | None = self._try(lambda: client.execute_command("GET", self.prefix + name, **BINARY))
        return data

    def _write(self, name: str, encoded: bytes, ttl: float, stale: float) -> None:
        data = _head.pack(self._clock() + ttl) + encoded
        self._keep(name, data, ttl)
        self._try(lambda: self.client.set(self.prefix + name, data, px=max(1, int((ttl + stale) * 1000))))

    def _forget(self, name: str) -> None:
        with self._lock:
            self._near.pop(name, None)
            self._forgotten += 1
        mark = MARK + secrets.token_bytes(8)
        self._try(lambda: self.client.set(self.prefix + name, mark, px=int(MARK_LIFE * 1000)))

    def _store(self, name: str, encoded: bytes, ttl: float, stale: float, before: bytes | None, forgotten: int) -> None:
        """As ``_write``, unless it was forgotten since ``before`` was there, and ``forgotten`` the number of times."""
        data = _head.pack(self._clock() + ttl) + encoded
        left = max(1, int((ttl + stale) * 1000))
        stored = self._try(lambda: self.client.eval(_store, 1, self.prefix + name, before or b"", data, left, MARK))
        if stored != 0 and forgotten == self._forgotten:
            self._keep(name, data, ttl)

    def _keep(self, name: str, data: bytes, most: float = float("inf")) -> None:
        if self.local <= 0:
            return
        left = min(most, self.local, max(0.0, _head.unpack_from(data)[0] - self._clock()))
        with self._lock:
            self._near[name] = monotonic() + left, data
            self._near.move_to_end(name)
            if len(self._near) > self.local_size:
                self._near.popitem(last=False)

    def statistics(self) -> CacheStatistics:
        """Of functions that are ``cached``."""
        return CacheStatistics(self._hits, self._stale, self._misses, self._failed, len(self._flights))


class Cached(Generic[P, T]):
    """A function that remembers."""

    def __init__(
        self, cache: Cache, function: Callable[P, T], ttl: float, stale: float, into: Any, name: str, lease: float
    ) -> None:
        functools.update_wrapper(self, function)
        self._cache = cache
        self._function = function
        self._signature = inspect.signature(function)
        self._ttl = ttl
        self._stale = stale
        self._lease = lease
        self._decoder = msgspec.msgpack.Decoder(into)
        self._name = name or f"{function.__module__}.{function.__qualname__}"

    def key(self, *args: P.args, **kwargs: P.kwargs) -> str:
        """The name of the result in the cache. TypeError for arguments that are no plain values."""
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        encoded = msgspec.msgpack.encode([bound.args, sorted(bound.kwargs.items())])
        return f"{self._name}:{hashlib.blake2b(encoded, digest_size=16).hexdigest()}"

    def forget(self, *args: P.args, **kwargs: P.kwargs) -> None:
        """Forgets the result for these arguments, also one that is just being computed."""
        self._cache._forget(self.key(*args, **kwargs))

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> T:
        cache, name = self._cache, self.key(*args, **kwargs)
        deadline = monotonic() + self._lease
        while True:
            found = self._look(name)
            if found is not None and found[0] > cache._clock():
                cache._hits += 1
                return found[1]
            if found is not None and self._stale > 0:
                cache._stale += 1
                self._refresh(name, args, kwargs)
                return found[1]
            flight = cache._flights.board(name, deadline - monotonic(), self._lease)
            if flight is not None:
                break
            if monotonic() >= deadline:
                return self._function(*args, **kwargs)
        cache._misses += 1
        try:
            return self._compute(name, deadline, args, kwargs)
        finally:
            cache._flights.land(name, flight)

    def _refresh(self, name: str, args: Any, kwargs: Any) -> None:
        """Has the result computed in the background, unless it is being computed, or could not be a moment ago."""
        flights = self._cache._flights
        flight = flights.take_off(name, self._lease)
        if flight is None:
            return

        def compute() -> None:
            try:
                self._compute(name, monotonic() + self._lease, args, kwargs)
            except Exception:
                log.exception("%s: could not be computed in the background", self._name)
                self._note_failure(name)
            finally:
                flights.land(name, flight)

        try:
            in_background(compute, f"refresh of {self._name}")
        except Exception:
            flights.land(name, flight)
            log.exception("%s: nothing can be computed in the background any more", self._name)

    def _note_failure(self, name: str) -> None:
        self._cache._failed += 1
        self._cache._flights.pause(name)

    def _look(self, name: str) -> tuple[float, T] | None:
        """Until when it is fresh, and the value. What is no value of this type, since the program was another one when
        it was written, is none."""
        return self._parsed(self._cache._read(name))

    def _parsed(self, data: bytes | None) -> tuple[float, T] | None:
        if data is None or len(data) < 8 or data.startswith(MARK):
            return None
        try:
            return _head.unpack_from(data)[0], self._decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            log.debug("%s: what the cache has cannot be read: %s", self._name, error)
            return None

    def _decode(self, data: bytes) -> T:
        value: T = self._decoder.decode(memoryview(data)[8:])
        return value

    def _compute(self, name: str, deadline: float, args: Any, kwargs: Any) -> T:
        """As the only one in this process; between processes whoever has the lock."""
        cache, token = self._cache, secrets.token_bytes(16)
        lock = f"{cache.prefix}{name}:lock"
        pause = 0.005
        while True:
            with cache._lock:
                cache._near.pop(name, None)
            old = self._look(name)
            if old is not None and old[0] > cache._clock():
                return old[1]
            taken = cache._try(lambda: [cache.client.set(lock, token, nx=True, px=int(self._lease * 1000) or 1)])
            if taken is None or taken[0] or monotonic() >= deadline:
                break
            if old is not None:
                return old[1]
            sleep(min(pause * random.uniform(0.5, 1.0), max(0.0, deadline - monotonic())))
            pause = min(pause * 2, 0.1)
        try:
            before, forgotten = cache._far(name), cache._forgotten
            if taken is not None and taken[0]:  # whoever had the lock before may have done it since we looked
                fresh = self._parsed(before)
                if fresh is not None and fresh[0] > cache._clock():
                    return fresh[1]
            value = self._function(*args, **kwargs)
            encoded = msgspec.msgpack.encode(value)
            cache._store(name, encoded, self._ttl, self._stale, before, forgotten)
            return self._decode(_head.pack(0) + encoded)
        except Exception as error:
            if old is None or isinstance(error, DeadlineExceeded):
                raise
            log.exception("%s: the old result is used", self._name)
            self._note_failure(name)
            return old[1]
        finally:
            if taken is not None and taken[0]:
                cache._try(lambda: cache.client.eval(_unlock, 1, lock, token))

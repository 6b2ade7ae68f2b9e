"""Which connections are alike: a key with everything that makes a difference, and one pool for each key.

Two users never share a connection: who one is (user, credentials, client certificate) is part of the key, as are the
address and what was negotiated (TLS). The secret takes part in comparing, and is never shown.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from service_utils.pool.core import Pool
from service_utils.pool.native import native_lock

__all__ = ["Key", "Pools"]

T = TypeVar("T")


@dataclass(frozen=True)
class Key:
    """Everything on which it depends whether a connection serves. ``str(key)`` shows no secrets."""

    kind: str  #: of the protocol: "postgresql", "redis", "https"
    host: str
    port: int | None = None
    user: str = ""
    database: str = ""
    secret: Hashable = field(default="", repr=False)  #: password, token, client certificate
    tls: Hashable = field(default=None, repr=False)  #: settings; None: without
    options: Hashable = field(default=(), repr=False)  #: whatever else makes a difference

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        port = f":{self.port}" if self.port is not None else ""
        return f"{self.kind}://{user}{self.host}{port}/{self.database}"


class Pools(Generic[T]):
    """One pool for each key, made when it is first asked for and kept as long as somebody holds it."""

    def __init__(self, make: Callable[[Any], Pool[T]]) -> None:
        self._make = make
        self._lock = native_lock()
        self._pools: weakref.WeakValueDictionary[Hashable, Pool[T]] = weakref.WeakValueDictionary()

    def get(self, key: Hashable) -> Pool[T]:
        """The pool for this key; ``make(key)`` makes it. A closed one is replaced."""
        pool = self._pools.get(key)
        if pool is None or pool.closed:
            fresh = self._make(key)
            with self._lock:
                pool = self._pools.get(key)
                if pool is None or pool.closed:
                    pool = self._pools[key] = fresh
            if pool is not fresh:
                fresh.close()
        return pool

    def __iter__(self) -> Any:
        return iter(list(self._pools.values()))

    def close(self, timeout: float = 0.0) -> bool:
        """Closes all of them; whether everything came back within ``timeout`` seconds for each."""
        return sum(not pool.close(timeout) for pool in self) == 0  # all of them, whatever the first ones say

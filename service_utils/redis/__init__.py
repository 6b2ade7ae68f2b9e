"""Redis for handlers: redis-py's commands, cooperative and pooled; a cache, locks, a rate limiter, sessions.

::

    from service_utils.redis import Cache, connect

    cache = Cache(connect("redis://127.0.0.1/0"))

    @cache.cached(ttl=60, stale=30)
    def price(article: int) -> float: ...
"""

try:
    import redis as _needed  # noqa: F401
except ImportError as missing:
    raise ImportError(f"service_utils.redis needs redis: pip install 'evpy[redis]' ({missing})") from missing

from service_utils.redis.cache import Cache, Cached, CacheStatistics
from service_utils.redis.client import Cluster, Redis, connect, connect_cluster
from service_utils.redis.limits import Allowance, RateLimiter
from service_utils.redis.locks import Lock, LockLost, LockTimedOut
from service_utils.redis.sessions import Sessions

__all__ = [
    "Allowance",
    "Cache",
    "CacheStatistics",
    "Cached",
    "Cluster",
    "Lock",
    "LockLost",
    "LockTimedOut",
    "RateLimiter",
    "Redis",
    "Sessions",
    "connect",
    "connect_cluster",
]

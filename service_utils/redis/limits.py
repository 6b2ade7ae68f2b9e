"""A rate limiter shared by all processes: so many per period, bursts included.

GCRA (the virtual scheduling algorithm of ATM, ITU-T I.371): one number for each key, the time at which the bucket would
be empty again, by the clock of Redis. Checked and counted by one script, so any number of processes may ask.
"""

from __future__ import annotations

from typing import NamedTuple

import redis

__all__ = ["Allowance", "RateLimiter"]

# In microseconds: the cost of one, of a full bucket.
_script = """
local now = redis.call('time')
now = now[1] * 1000000 + now[2]
local each, full, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local filled = math.max(tonumber(redis.call('get', KEYS[1]) or 0), now)
local after = filled + each * count
if after - now > full then return {0, math.floor((full - (filled - now)) / each), after - now - full} end
if count > 0 then redis.call('set', KEYS[1], string.format('%d', after), 'PX', math.ceil((after - now) / 1000)) end
return {1, math.floor((full - (after - now)) / each), 0}
"""


class Allowance(NamedTuple):
    """The answer; true in conditions when it is allowed."""

    allowed: bool
    remaining: int  #: how many more at this moment
    retry_after: float  #: seconds until it would be allowed; 0 when it is

    def __bool__(self) -> bool:
        return self.allowed


class RateLimiter:
    """``limit`` in ``period`` seconds for each key, of which ``burst`` (default: all) at once."""

    def __init__(
        self, client: redis.Redis, limit: int, period: float, *, burst: int | None = None, prefix: str = "rate:"
    ) -> None:
        if limit < 1 or period <= 0 or (burst is not None and burst < 1):
            raise ValueError(f"RateLimiter(limit={limit}, period={period}, burst={burst}): give numbers above 0")
        self.client = client
        self.prefix = prefix
        self._each = max(1, round(period * 1e6 / limit))
        self._burst = burst or limit
        self._full = self._each * self._burst

    def take(self, key: str, count: int = 1) -> Allowance:
        """Counts ``count`` if so many are allowed now; 0 only looks. ValueError for more than ever are."""
        if not 0 <= count <= self._burst:
            raise ValueError(f"take(count={count}): give 0 to {self._burst}; more are never allowed at once")
        answer = self.client.eval(_script, 1, self.prefix + key, self._each, self._full, count)
        allowed, remaining, wait = map(int, answer)
        return Allowance(bool(allowed), max(0, remaining), wait / 1e6)

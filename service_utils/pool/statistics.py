"""What a pool tells about itself."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["PoolStatistics"]


@dataclass(frozen=True)
class PoolStatistics:
    """How a pool is doing, and what it has done so far. Times in seconds."""

    name: str
    limit: int  #: connections at most
    idle: int
    held: int  #: lent, or being connected or closed at this moment
    waiting: int
    acquired: int
    waited: int  #: had to wait
    wait_seconds: float  #: all of them together
    exhausted: int  #: went away without one
    connected: int
    connect_failed: int
    checked: int  #: asked whether they are alive
    discarded: int  #: ended because they were interrupted, unclean, or did not answer
    expired: int  #: ended because of their age or idleness
    lost: int  #: leases that were dropped instead of given back

"""What clients that are one pool and its uses have in common."""

from __future__ import annotations

from typing import Generic, Self, TypeVar

from service_utils.pool.core import Pool
from service_utils.pool.statistics import PoolStatistics

__all__ = ["PooledClient"]

T = TypeVar("T")


class PooledClient(Generic[T]):
    """A client of one service."""

    pool: Pool[T]

    def statistics(self) -> PoolStatistics:
        """How the connections are doing."""
        return self.pool.statistics()

    def close(self, timeout: float = 0.0) -> bool:
        """Ends all connections, waiting up to ``timeout`` seconds for those in use; whether all have come back."""
        return self.pool.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

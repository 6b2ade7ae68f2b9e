"""The errors of pools.

::

    EvpyError
    └── PoolError
        ├── PoolExhausted    503   nothing became free in time, or too many wait already; also an HTTPError
        ├── PoolClosed             the pool is closed or being drained
        └── LeaseOver              what was lent is used after it was given back, or in the child of a fork
"""

from evpy.errors import EvpyError, HTTPError

__all__ = ["LeaseOver", "PoolClosed", "PoolError", "PoolExhausted"]


class PoolError(EvpyError):
    """Base of what pools raise on purpose."""


class PoolExhausted(PoolError, HTTPError):
    """No connection could be had in time. A handler that does not catch it answers 503.

    ``str(error)`` is for the operator: which pool, how long, who holds the connections. Clients see ``detail`` alone.
    """

    explanation: str

    def __init__(self, explanation: str) -> None:
        HTTPError.__init__(self, 503, "busy, try again later", {"Retry-After": "1"})
        self.explanation = explanation

    def __reduce__(self) -> tuple[type["PoolExhausted"], tuple[str]]:
        return type(self), (self.explanation,)

    def __str__(self) -> str:
        return self.explanation


class PoolClosed(PoolError):
    """The pool lends nothing any more."""


class LeaseOver(PoolError):
    """The connection belongs to somebody else by now."""

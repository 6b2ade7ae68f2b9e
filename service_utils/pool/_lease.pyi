"""Lending and taking back while nobody waits; see _lease.pyx."""

from collections import OrderedDict
from collections.abc import Callable
from types import TracebackType
from typing import Any, Generic, TypeVar

from efio import Waiter

_T = TypeVar("_T")

class Guard:
    """The lock of a pool, which knows whether the caller has it already.

    The garbage collector may run anywhere, so also while a thread has the lock; and what it throws away may give a
    connection back: a generator, or a greenlet, that stands in a block. That must not wait for the lock.
    """

    def __init__(self, lock: Any) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...
    @property
    def mine(self) -> bool: ...

class Slot(Generic[_T]):
    """A place in the pool, with a connection in it or (for a moment) without. Known to the pool and one lease."""

    connection: _T | None
    expires: float  # when it is too old
    idle_limit: float  # seconds
    idle_since: float
    due: float  # when lending it needs a second look: too old, unused for long, suspicious (0)
    holder: Any  # weak reference to a greenlet; None: idle, or on the way to who has waited
    thread: int
    since: float  # held
    uses: int
    forked: bool  # it is the parent's; this is the child

    def hold(self, now: float) -> None:
        """Somebody has it: the caller."""

class Lease(Generic[_T]):
    """One connection, lent until ``release()``, ``discard()`` or the end of the ``with`` block.

    ``with pool.acquire() as connection:`` gives it back, and discards it when the block was left by an error, unless
    that is an Exception and the connector says that the connection is clean. A lease that is dropped without either is
    discarded and reported.
    """

    _slot: Slot[_T] | None

    def __new__(cls, pool: Quick[_T], slot: Slot[_T]) -> Lease[_T]: ...
    @property
    def connection(self) -> _T:
        """LeaseOver after it was given back, and in the child of a fork."""

    @property
    def over(self) -> bool:
        """Whether it was given back."""

    def release(self) -> None:
        """Gives it back; it goes to the first one who waits. Nothing happens the second time."""

    def discard(self, *, suspect: bool = False) -> None:
        """Ends the connection, whatever its state. ``suspect``: look at the idle ones before lending them."""

    def __enter__(self) -> _T: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None: ...

class Quick(Generic[_T]):
    """The part of ``Lending`` that is compiled."""

    name: str
    _idle: list[Slot[_T]]
    _waiting: OrderedDict[Waiter, None]
    _lost: list[Slot[_T]]
    _closed: bool
    _is_clean: Callable[[_T], bool] | None
    _second_look_after: float

    def acquire(self, timeout: float | None = -1) -> Lease[_T]:
        """Lends a connection within ``timeout`` seconds, connecting included (-1: as the pool says, None: for ever).

        PoolExhausted when there was none in time or too many wait; PoolClosed; what ``connector.connect`` raises.
        """

    def _give_back(self, slot: Slot[_T]) -> None: ...

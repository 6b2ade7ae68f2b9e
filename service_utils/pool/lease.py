"""What who has acquired something holds in their hands."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from service_utils.pool.errors import LeaseOver

if TYPE_CHECKING:
    from service_utils.pool.lending import Lending

__all__ = ["Lease", "Slot"]

T = TypeVar("T")


class Slot(Generic[T]):
    """A place in the pool, with a connection in it or (for a moment) without. Known to the pool and one lease."""

    __slots__ = (
        "connection",
        "due",
        "expires",
        "forked",
        "holder",
        "idle_limit",
        "idle_since",
        "since",
        "thread",
        "uses",
    )

    def __init__(self) -> None:
        self.connection: T | None = None
        self.expires = 0.0  # when it is too old
        self.idle_limit = 0.0  # seconds
        self.idle_since = 0.0
        self.due = 0.0  # when lending it needs a second look: too old, unused for long, suspicious (0)
        self.holder: Any = None  # weak reference to a greenlet; None: idle, or on the way to who has waited
        self.thread = 0
        self.since = 0.0  # held
        self.uses = 0
        self.forked = False  # it is the parent's; this is the child


class Lease(Generic[T]):
    """One connection, lent until ``release()``, ``discard()`` or the end of the ``with`` block.

    ``with pool.acquire() as connection:`` gives it back, and discards it when the block was left by an error, unless
    that is an Exception and the connector says that the connection is clean. A lease that is dropped without either is
    discarded and reported.
    """

    __slots__ = ("_pool", "_slot")

    def __init__(self, pool: Lending[T], slot: Slot[T]) -> None:
        self._pool = pool
        self._slot: Slot[T] | None = slot

    @property
    def connection(self) -> T:
        """LeaseOver after it was given back, and in the child of a fork."""
        slot = self._slot
        if slot is None or slot.forked:
            raise LeaseOver(
                f"{self._pool.name}: the connection was given back already; acquire another one"
                if slot is None
                else f"{self._pool.name}: the connection belongs to the parent process; acquire one after the fork"
            )
        return slot.connection  # type: ignore[return-value]  # a slot that is lent has one

    @property
    def over(self) -> bool:
        """Whether it was given back."""
        return self._slot is None

    def release(self) -> None:
        """Gives it back; it goes to the first one who waits. Nothing happens the second time."""
        slot = self._slot
        if slot is not None:
            self._slot = None
            self._pool._give_back(slot)

    def discard(self, *, suspect: bool = False) -> None:
        """Ends the connection, whatever its state. ``suspect``: look at the idle ones before lending them."""
        slot = self._slot
        if slot is not None:
            self._slot = None
            self._pool._discard(slot, suspect)

    def __enter__(self) -> T:
        return self.connection

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        slot = self._slot
        if slot is None:
            return
        self._slot = None
        if error is None:
            self._pool._give_back(slot)
        else:
            self._pool._after_error(slot, error)

    def __del__(self) -> None:
        slot = getattr(self, "_slot", None)
        if slot is not None:
            self._slot = None
            self._pool._dropped(slot)

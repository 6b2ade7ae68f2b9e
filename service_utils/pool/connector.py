"""What a pool has to know about the things that it lends."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

__all__ = ["Connector"]

T = TypeVar("T")


class Connector(ABC, Generic[T]):
    """Makes, judges and ends connections (or whatever else is lent). Times in seconds.

    The methods may switch greenlets or block; the pool calls them outside of its lock, each connection being touched
    by one caller at a time. They may be called in another thread than the one that made the connection.
    """

    @abstractmethod
    def connect(self, timeout: float) -> T:
        """A new connection, or whatever error says why not, within ``timeout``."""

    @abstractmethod
    def close(self, connection: T) -> None:
        """Ends it, whatever state it is in: also in the middle of a protocol. Errors are ignored by the pool."""

    def is_clean(self, connection: T) -> bool:
        """Asked whenever one is given back: can the next one begin with it? Must be quick: looks, does not ask.

        False: it is discarded.
        """
        return True

    def glance(self, connection: T) -> bool:
        """Asked before one is lent that was not used for a moment: has the other side closed it, as far as one can see?

        Must be quick, and say nothing to the other side: False when there is something to read, for instance. Then
        ``is_alive`` is asked.
        """
        return True

    def is_alive(self, connection: T, timeout: float) -> bool:
        """Asked before a suspicious one is lent: does the other side answer? An error means no."""
        return True

    def abandon(self, connection: T) -> None:
        """In the child of a fork: forgets a connection of the parent, without a word to the other side.

        By default it is kept for the life of the process: that is safe with everything.
        """
        _abandoned.append(connection)


_abandoned: list[object] = []

"""What an engine has to offer: sessions, each over one connection, and the connector that makes them."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from service_utils.db.errors import error_for
from service_utils.db.rows import Result
from service_utils.pool import Connector
from service_utils.sql.plans import quote_identifier

if TYPE_CHECKING:
    from service_utils.db.hosts import Hosts

__all__ = ["DEFAULT", "Isolation", "Notification", "Options", "Session", "SessionConnector", "check_seconds"]

Isolation = Literal["read uncommitted", "read committed", "repeatable read", "serializable"]
ISOLATIONS = ("read uncommitted", "read committed", "repeatable read", "serializable")


def check_seconds(name: str, value: Any) -> None:
    """ValueError if it is no time that something may take."""
    if not isinstance(value, int | float) or not 0 < value < 1e6:
        raise ValueError(f"{name}={value!r}: give seconds, above 0 and below a million")


@dataclass(frozen=True)
class Options:
    """How a transaction shall be. Times in seconds; None: as the database has it."""

    isolation: Isolation | None = None
    read_only: bool = False
    statement_timeout: float | None = None
    lock_timeout: float | None = None

    def __post_init__(self) -> None:
        if self.isolation is not None and self.isolation not in ISOLATIONS:
            raise ValueError(f"isolation={self.isolation!r}: there are {', '.join(ISOLATIONS)}")
        for name in ("statement_timeout", "lock_timeout"):
            if (value := getattr(self, name)) is not None:
                check_seconds(name, value)


DEFAULT = Options()


@dataclass(frozen=True)
class Notification:
    """What was sent by NOTIFY."""

    channel: str
    payload: str
    pid: int  #: of the server's process that has sent it


def _batches(rows: Iterable[Sequence[Any]], size: int = 1000) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(rows)
    while batch := list(itertools.islice(iterator, size)):
        yield batch


class Session(ABC):
    """One connection. Whatever goes wrong is raised as a DatabaseError, after which ``clean`` tells how it stands.

    Texts are native and values go beside them. Used by one flow of control at a time.
    """

    dialect: str

    @abstractmethod
    def run(self, text: str, values: Sequence[Any]) -> Result:
        """One statement and its whole answer."""

    @abstractmethod
    def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        """The same statement with many sets of values; how many rows were affected."""

    @abstractmethod
    def stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        """The answer in pieces of ``batch`` rows. Within a transaction."""

    def stop_reading(self) -> None:  # noqa: B027 - most engines have nothing to do
        """Before a stream is closed early: neither its rest nor the connection is of interest any more."""

    @abstractmethod
    def begin(self, options: Options) -> None:
        """At the latest with the next statement."""

    @abstractmethod
    def commit(self) -> None:
        """TransactionAborted when an earlier error has ended the transaction; it is rolled back then."""

    @abstractmethod
    def rollback(self) -> None: ...

    @property
    @abstractmethod
    def clean(self) -> bool:
        """Whether the next one can begin with it: in no transaction, in the middle of nothing."""

    @property
    @abstractmethod
    def idle(self) -> bool:
        """Whether a statement could be sent now: in the middle of nothing, perhaps in a transaction."""

    @abstractmethod
    def end(self) -> None:
        """Ends the connection, whatever it is in the middle of. Does not wait for the other side."""

    def run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]:
        """The same query with several sets of values; in one round trip, where the engine can."""
        return [self.run(text, each) for each in values]

    def copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        """Many rows into a table, by the fastest way that the engine has; how many."""
        names = ", ".join(quote_identifier(column, self.dialect) for column in columns)
        text = f"insert into {quote_identifier(table, self.dialect)} ({names}) values "
        if self.dialect == "mysql":  # the driver puts values in by %
            text = text.replace("%", "%%") + f"({', '.join(['%s'] * len(columns))})"
        else:
            text += f"({', '.join('?' * len(columns))})"
        return sum(self.run_many(text, batch) for batch in _batches(rows))

    def copy_out(self, text: str) -> Iterator[bytes]:
        raise error_for("0A000", "COPY ... TO STDOUT is PostgreSQL's alone", self.dialect)

    def listen(self, channels: Sequence[str], timeout: float | None) -> Iterator[Notification]:
        raise error_for("0A000", "LISTEN is PostgreSQL's alone", self.dialect)

    def savepoint(self, name: str) -> None:
        self.run(f"savepoint {name}", ())

    def release(self, name: str) -> None:
        self.run(f"release savepoint {name}", ())

    def rollback_to(self, name: str) -> None:
        self.run(f"rollback to savepoint {name}", ())


class SessionConnector(Connector[Session]):
    """Makes sessions of one engine."""

    dialect: str
    name: str  # for messages, without secrets
    hosts: Hosts | None = None  # of servers

    def close(self, connection: Session) -> None:
        connection.end()

    def is_clean(self, connection: Session) -> bool:
        return connection.clean

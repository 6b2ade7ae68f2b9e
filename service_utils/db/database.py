"""``Database``: what ``connect`` returns."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Concatenate, ParamSpec, TypeVar

from greenlet import getcurrent

from service_utils.db.errors import ConnectionLost, ReadOnlyViolation, TransactionRollback
from service_utils.db.queries import Queries
from service_utils.db.querylog import QueryLog
from service_utils.db.rows import Result
from service_utils.db.session import Isolation, Notification, Options, Session, SessionConnector
from service_utils.db.transaction import Transaction
from service_utils.pool import Lease, Pool, PooledClient
from service_utils.sql import Macros
from service_utils.waiting import sleep

__all__ = ["Database"]

P = ParamSpec("P")
T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.5  # seconds before a transaction is run again


class Database(PooledClient[Session], Queries):
    """A database and its connections. For any number of greenlets and threads; never in the middle of somebody else's
    work.

    Its statements are made each by itself (the database commits them), or, in the block of a transaction of the same
    greenlet, in that transaction.
    """

    def __init__(
        self, connector: SessionConnector, pool: Pool[Session], *, macros: Macros | None = None,
        query_log: QueryLog | None = None,
    ) -> None:  # fmt: skip
        self.dialect = connector.dialect
        self.name = connector.name
        self.connector = connector
        self.pool = pool
        self.macros = macros or Macros()
        self.query_log = query_log or QueryLog(self.name)
        self._ambient: ContextVar[Transaction | None] = ContextVar(f"transaction of {self.name}", default=None)

    # --- transactions

    def transaction(
        self, *, isolation: Isolation | None = None, read_only: bool = False, statement_timeout: float | None = None,
        lock_timeout: float | None = None,
    ) -> Transaction:  # fmt: skip
        """A transaction, for ``with``; within another one of the same greenlet a savepoint, which takes no options.

        ``statement_timeout``, ``lock_timeout``: seconds that a statement may take, or wait for a lock.
        """
        options = Options(isolation, read_only, statement_timeout, lock_timeout)
        outer = self._current()
        if outer is not None and options != Options():
            raise ValueError("a transaction within another one is a savepoint; options belong to the outermost")
        return Transaction(self, options, outer)

    def begin(self, **options: Any) -> Transaction:
        """A transaction that has begun, without a block: for ``commit()`` or ``rollback()``.

        Options as ``transaction``.
        """
        return self.transaction(**options).begin()

    def run(self, function: Callable[Concatenate[Transaction, P], T], /, *arguments: P.args, **keywords: P.kwargs) -> T:
        """``function(tx, ...)`` in a transaction, again when it has to be: as ``retry()`` with its defaults."""
        return self.retry()(function)(*arguments, **keywords)

    def retry(
        self, attempts: int = 5, **options: Any
    ) -> Callable[[Callable[Concatenate[Transaction, P], T]], Callable[P, T]]:
        """Makes ``function(tx, ...)`` a function that runs in a transaction of its own, with options as
        ``transaction``.

        When the database has rolled it back because of others (SerializationFailure 40001, DeadlockDetected 40P01), it
        is run again, up to ``attempts`` times in all, after a pause of some random milliseconds. So it must do nothing
        but work on the database. Within another transaction it is run once: only the outermost can be begun again.
        """
        if attempts < 1:
            raise ValueError(f"attempts={attempts}: at least one")

        def decorate(function: Callable[Concatenate[Transaction, P], T]) -> Callable[P, T]:
            @functools.wraps(function)
            def run(*arguments: P.args, **keywords: P.kwargs) -> T:
                if self._current() is not None:
                    with self.transaction() as tx:
                        return function(tx, *arguments, **keywords)
                pause = FIRST_PAUSE
                for attempt in range(1, attempts + 1):
                    try:
                        with self.transaction(**options) as tx:
                            return function(tx, *arguments, **keywords)
                    except TransactionRollback as error:
                        if attempt == attempts:
                            error.add_note(f"given up after {attempts} attempts")
                            raise
                    sleep(random.uniform(pause / 2, pause))
                    pause = min(LONGEST_PAUSE, pause * 2)
                raise AssertionError("not reached")

            return run

        return decorate

    def _current(self) -> Transaction | None:
        """The innermost open transaction of this greenlet."""
        tx = self._ambient.get()
        while tx is not None and tx.over:
            tx = tx._outer
        # Spawned greenlets inherit the variable; the transaction belongs to the one that has begun it.
        return tx if tx is not None and tx._owner() is getcurrent() else None

    # --- statements

    def _run(self, text: str, values: Sequence[Any]) -> Result:
        if (tx := self._current()) is not None:
            return tx._run(text, values)
        # As _with_session, which costs more: nearly everything comes this way.
        lease = self.pool.acquire()
        log = self.query_log
        started = log.begin()
        try:
            result = lease.connection.run(text, values)
        except BaseException as error:
            self._give_back(lease, error)
            if started:
                log.end(started, (text, values), error)
            raise
        lease.release()
        if started:
            log.end(started, (text, values), result)
        return result

    def _run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        if (tx := self._current()) is not None:
            return tx._run_many(text, values)
        return self._with_session(Session.run_many, text, values)

    def _run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]:
        if (tx := self._current()) is not None:
            return tx._run_together(text, values)
        return self._with_session(Session.run_together, text, values)

    def _copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        with self.transaction() as tx:
            return tx._copy_in(table, columns, rows)

    def _copy_out(self, text: str) -> Iterator[bytes]:
        with Transaction(self, Options(), None, ambient=False) as tx:
            yield from tx._copy_out(text)

    def listen(self, *channels: str, timeout: float | None = None) -> Iterator[Notification]:
        """What is sent to these channels by NOTIFY, as it comes; ends after ``timeout`` seconds (None: never).

        PostgreSQL alone. It listens from this call on, with a connection of its own until its iterator ends or is
        dropped. ConnectionLost when that breaks: what is sent until it listens again is not heard.
        """
        lease = self.pool.acquire()
        try:
            notes = lease.connection.listen(channels, timeout)
        except BaseException:
            lease.discard()
            raise
        return _Notes(notes, lease)

    def notify(self, channel: str, payload: str = "") -> None:
        """Sends to those who listen, when the transaction (if any) is committed. PostgreSQL alone."""
        self.query("select pg_notify(:channel, :payload)", channel=channel, payload=payload)

    def _with_session(self, method: Callable[..., T], *arguments: Any) -> T:
        lease = self.pool.acquire()
        started = self._begin_log()
        try:
            result: T = getattr(lease.connection, method.__name__)(*arguments)
        except BaseException as error:
            self._give_back(lease, error)
            if started:
                self._end_log(started, arguments, error)
            raise
        lease.release()
        if started:
            self._end_log(started, arguments, result)
        return result

    def _stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        if (tx := self._current()) is not None:
            yield from tx._stream(text, values, batch)
            return
        # In a transaction of its own, which is nobody's surroundings: what is done between two rows is done elsewhere.
        with Transaction(self, Options(read_only=True), None, ambient=False) as tx:
            pieces = tx._stream(text, values, batch)
            try:
                for piece in pieces:  # noqa: UP028 - "yield from" would close them before it tells us
                    yield piece
            except GeneratorExit:
                tx._usable().stop_reading()
                raise
            finally:
                pieces.close()  # type: ignore[attr-defined]  # a generator; SQLite's before its connection

    def _give_back(self, lease: Lease[Session], error: BaseException | None) -> None:
        if isinstance(error, ReadOnlyViolation):
            self._notice_read_only()
        if error is None or (isinstance(error, Exception) and not isinstance(error, ConnectionLost)):
            lease.release()  # looks whether it is clean
        else:
            lease.discard(suspect=isinstance(error, ConnectionLost))

    def _notice_read_only(self) -> None:
        """What was the primary when its connections were made is none any more: they are ended, and others made."""
        hosts = self.connector.hosts
        if hosts is not None and hosts.writes:
            self.pool.retire()

    def _begin_log(self) -> float:
        return self.query_log.begin()

    def _end_log(self, started: float, arguments: tuple[Any, ...], outcome: Any) -> None:
        self.query_log.end(started, arguments, outcome)

    def __repr__(self) -> str:
        return f"<Database {self.name}>"


class _Notes(Iterator[Notification]):
    """What is heard, and the connection on which it is; that ends with this."""

    def __init__(self, notes: Iterator[Notification], lease: Lease[Session]) -> None:
        self._notes = notes
        self._lease = lease

    def __next__(self) -> Notification:
        try:
            return next(self._notes)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self._lease.discard()

    __del__ = close

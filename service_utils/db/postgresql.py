"""What is said over a connection to PostgreSQL beyond statements: cursors, COPY, LISTEN, transactions.

What was interrupted leaves the connection in the middle of its protocol, which libpq tells (PQTRANS_ACTIVE): it is
ended, and the server is asked to cancel what it was doing.

A server that says nothing for ``statement_timeout`` and a grace of some seconds is given up.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import Any

from psycopg import RawServerCursor
from psycopg.rows import tuple_row

from service_utils.db.cancelling import tell
from service_utils.db.errors import TransactionAborted
from service_utils.db.postgresql_link import (
    ask_to_cancel,
    cancellation,
    milliseconds,
    patience_for,
)
from service_utils.db.postgresql_statements import ACTIVE, IDLE, INERROR, NUMBERS, OK, Statements
from service_utils.db.rows import Result
from service_utils.db.session import Notification, Options
from service_utils.sql.plans import quote_identifier
from service_utils.waiting import READ

__all__ = ["PostgresqlSession"]


class _Silent:
    """In place of what would tell the server that a COPY is over."""

    def finish(self, error: BaseException | None = None) -> None:
        pass


class PostgresqlSession(Statements):
    """One connection."""

    def stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        self._note(text)
        self._open()
        with self._errors():
            cursor = RawServerCursor(self.connection, f"stream_{next(NUMBERS)}", row_factory=tuple_row)
            cursor.execute(text, values or None)
        read_all = False
        try:
            columns = tuple(column.name for column in cursor.description or ())
            while True:
                with self._errors():
                    rows = cursor.fetchmany(batch)
                if not rows:
                    read_all = True
                    return
                yield Result(columns, rows, len(rows))
        finally:
            cursor._closed = True
            if read_all and self.pgconn.status == OK:
                self._command(f'close "{cursor.name}"')
            # Else it goes with its transaction: who was interrupted, or wants no more, does not wait for the server.

    # --- transactions

    def begin(self, options: Options) -> None:
        texts = ["begin"]
        if options.isolation is not None:
            texts[0] += f" isolation level {options.isolation}"
        if options.read_only:
            texts[0] += " read only"
        if options.statement_timeout is not None:
            texts.append(f"set local statement_timeout = {milliseconds(options.statement_timeout)}")
            self.connection.patience = patience_for(options.statement_timeout)
        if options.lock_timeout is not None:
            texts.append(f"set local lock_timeout = {milliseconds(options.lock_timeout)}")
        self._opening = texts  # goes with the first statement

    def commit(self) -> None:
        self.connection.patience = self._patience
        if self._opening:  # nothing was done
            self._opening = []
            return
        if self.pgconn.transaction_status == INERROR:
            self._command("rollback")
            error = TransactionAborted(
                "nothing was committed: a statement has failed before, and its error was not passed on; "
                "put what may fail into a block of its own (tx.transaction())"
            )
            error.engine, error.sqlstate = "postgresql", "25P02"
            raise error
        self._command("commit")

    def rollback(self) -> None:
        self.connection.patience = self._patience
        if self._opening:
            self._opening = []
            return
        self._command("rollback")

    # --- what PostgreSQL alone has

    def copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int:
        names = ", ".join(quote_identifier(column, "postgresql") for column in columns)
        text = f"copy {quote_identifier(table, 'postgresql')} ({names}) from stdin"
        self._open()
        with self._errors(), self._cursor.copy(text) as copy:
            try:
                for row in rows:
                    copy.write_row(row)
            except Exception:
                raise  # the server is told
            except BaseException:  # nobody waits for what it says to that
                self.end()
                copy.writer = _Silent()
                raise
        return int(self._cursor.rowcount)

    def copy_out(self, text: str) -> Iterator[bytes]:
        self._note(text)
        self._open()
        with self._errors(), self._cursor.copy(text) as copy:
            try:
                for piece in copy:
                    yield bytes(piece)
            except BaseException:  # psycopg would ask the server to cancel it, and block the thread meanwhile
                self.end()
                raise

    def listen(self, channels: Sequence[str], timeout: float | None) -> Iterator[Notification]:
        heard: deque[Any] = deque()
        self.connection.add_notify_handler(heard.append)  # whatever is read from now on is for us
        for channel in channels:
            self._command(f"listen {quote_identifier(channel, 'postgresql')}")
        return self._hear(heard, math.inf if timeout is None else monotonic() + timeout)

    def _hear(self, heard: deque[Any], deadline: float) -> Iterator[Notification]:
        while True:
            while heard:
                note = heard.popleft()
                yield Notification(note.channel, note.payload, note.pid)
            with self._errors():
                while (notify := self.pgconn.notifies()) is not None:
                    yield Notification(notify.relname.decode(), notify.extra.decode(), notify.be_pid)
                left = deadline - monotonic()
                if left <= 0 or not self.connection.waits.wait(READ, None if left == math.inf else left):
                    return
                self.pgconn.consume_input()

    # --- state

    @property
    def clean(self) -> bool:
        pgconn = self.pgconn
        alone = pgconn.transaction_status == IDLE and not self._opening
        return alone and pgconn.status == OK and not self._altered

    @property
    def idle(self) -> bool:
        return self.pgconn.transaction_status != ACTIVE and self.pgconn.status == OK

    def ping(self, timeout: float) -> bool:
        self.connection.patience = timeout
        try:
            self._command("")
        finally:
            self.connection.patience = self._patience
        return True

    def end(self) -> None:
        self.connection.waits.close()
        active = self.pgconn.status == OK and self.pgconn.transaction_status == ACTIVE
        if active and (cancel := cancellation(self.pgconn)) is not None:
            tell(ask_to_cancel, cancel)  # makes a connection of its own, and waits: not here
        self.connection.close()

"""Statements to PostgreSQL: prepared, once, many in one round trip.

They are sent by libpq's functions directly, with psycopg's adapters for values and rows: its cursors would cost twice
as much. What comes for the second time is prepared.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import psycopg
from psycopg import RawCursor, pq
from psycopg.adapt import PyFormat, Transformer
from psycopg.errors import error_from_result
from psycopg.generators import execute

from service_utils.db.errors import DatabaseError, StatementTimeout, error_for
from service_utils.db.lasting import lasts
from service_utils.db.postgresql_link import (
    Link,
    Silence,
    patience_for,
    translated,
)
from service_utils.db.rows import Result
from service_utils.db.session import Session
from service_utils.waiting import READ, WRITE

__all__ = ["ACTIVE", "IDLE", "INERROR", "NUMBERS", "OK", "Statements"]

IDLE, ACTIVE, INERROR = (
    int(s) for s in (pq.TransactionStatus.IDLE, pq.TransactionStatus.ACTIVE, pq.TransactionStatus.INERROR)
)
OK = int(pq.ConnStatus.OK)
_TUPLES, _FATAL, _SYNC = (
    int(s) for s in (pq.ExecStatus.TUPLES_OK, pq.ExecStatus.FATAL_ERROR, pq.ExecStatus.PIPELINE_SYNC)
)
_GOOD = (_TUPLES, int(pq.ExecStatus.COMMAND_OK))
_COPY = tuple(int(s) for s in (pq.ExecStatus.COPY_IN, pq.ExecStatus.COPY_OUT, pq.ExecStatus.COPY_BOTH))
_STEADY = ("select", "insert", "update", "delete")
PREPARED = 300  # statements that a connection keeps prepared
SEEN = 3000  # texts that it remembers having seen
BATCH = 1000  # statements in one round trip
LONGEST = 4000  # characters of a text that is remembered: lists of every length would fill the memory
NUMBERS = itertools.count(1)  # for names of statements and cursors
_WRONG = (psycopg.Error, Silence, UnicodeError)


class _Statement:
    """One that the server has prepared."""

    __slots__ = ("columns", "name", "steady")

    def __init__(self, name: bytes, text: str) -> None:
        self.name = name  #: at the server
        # Other columns than the first time are an error with these ("cached plan must not change result type"), after
        # which the statement is prepared anew; commands like FETCH may have others every time.
        self.steady = text.lstrip()[:6].lower() in _STEADY
        self.columns: tuple[str, ...] = ()  #: when they are known, and steady


class Statements(Session):
    """The part of a session that sends statements."""

    dialect = "postgresql"

    def __init__(self, statement_timeout: float | None, connection: Link) -> None:
        self.connection = connection
        self.pgconn = connection.pgconn
        self._patience = patience_for(statement_timeout)
        connection.patience = self._patience
        self._cursor: Any = RawCursor(connection)
        self._transformer: Any = Transformer(connection)
        self._prepared: dict[tuple[str, tuple[int, ...]], _Statement] = {}  # by text and types of values
        self._seen: set[tuple[str, tuple[int, ...]]] = set()  # once; the second time it is prepared
        self._altered = False  # something was set that outlives the transaction
        self._opening: list[str] = []  # what begins the transaction: it was not sent yet

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except _WRONG as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> DatabaseError:
        if isinstance(error, Silence):
            silence = StatementTimeout(f"the server has said nothing for {self.connection.patience:.3g} s")
            silence.engine, silence.sqlstate = "postgresql", "57014"
            return silence
        return translated(error, lost=self.pgconn.status != OK)

    # --- one

    def run(self, text: str, values: Sequence[Any]) -> Result:
        try:
            params, types, formats = self._dumped(values)
            statement = self._prepared.get((text, types))
            if self._opening:
                if statement is not None:
                    return self._loaded(self._pipeline(text, [values])[0], statement)
                self._open()
            if statement is None:
                if not self._worth_preparing(text, types):
                    return self._run_once(text, params, types, formats)
                statement = self._prepare(text, types)
            self.pgconn.send_query_prepared(statement.name, params, formats)
            result = self._received()
            if result.status == _TUPLES:
                return self._loaded(result, statement)
            if result.status == _FATAL and self._forget(text, types, result):
                return self.run(text, values)
            return self._several([result])
        except _WRONG as error:
            raise self._translated(error) from error

    def _run_once(self, text: str, params: Any, types: tuple[int, ...], formats: Any) -> Result:
        if params is None:
            self.pgconn.send_query(text.encode())  # several statements, perhaps
        else:
            self.pgconn.send_query_params(text.encode(), params, types, formats)
        return self._several(self.connection.wait(execute(self.pgconn)))

    def _open(self) -> None:
        """Begins the transaction, unless that was done, or there is none."""
        if self._opening:
            opening, self._opening = self._opening, []
            self._command("; ".join(opening))

    def _received(self) -> Any:
        """The one result of a statement that was sent: as psycopg's ``execute``, without a generator."""
        pgconn: Any = self.pgconn
        wait, patience = self.connection.waits.wait, self.connection.patience
        while pgconn.flush():  # the server may not read on before we do
            ready = wait(READ | WRITE, patience)
            if not ready:
                raise Silence
            if ready & READ:
                pgconn.consume_input()
        while True:
            if not wait(READ, patience):
                raise Silence
            pgconn.consume_input()
            if not pgconn.is_busy():
                break
        result = pgconn.get_result()
        if result.status in _COPY:
            return result  # there is one for each time that one asks
        # What ends the answer has come as well, as a rule, and is seen when libpq looks for notifications. Those there
        # are come of a LISTEN that was made by hand: nobody will ask for them. (Asking whether libpq is busy would let
        # go of the interpreter, and cost a switch interval while another thread is busy.)
        while pgconn.notifies() is not None:
            pass
        while pgconn.transaction_status == ACTIVE:
            if pgconn.is_busy():
                if not wait(READ, patience):
                    raise Silence
                pgconn.consume_input()
            elif pgconn.get_result() is None:
                break
        return result

    def _dumped(self, values: Sequence[Any]) -> tuple[Any, tuple[int, ...], Any]:
        if not values:
            return None, (), None
        transformer = self._transformer
        params = transformer.dump_sequence(values, [PyFormat.AUTO] * len(values))
        return params, transformer.types or (), transformer.formats

    def _worth_preparing(self, text: str, types: tuple[int, ...]) -> bool:
        key = (text, types)
        if key in self._seen:
            return bool(types) or ";" not in text
        self._note(text)
        if len(text) <= LONGEST:
            if len(self._seen) >= SEEN:
                self._seen.clear()
            self._seen.add(key)
        return False

    def _note(self, text: str) -> None:
        """Before a text is sent for the first time."""
        if lasts(text, "postgresql"):
            self._altered = True

    def _prepare(self, text: str, types: tuple[int, ...]) -> _Statement:
        self._make_room()
        statement = _Statement(b"su_%d" % next(NUMBERS), text)
        self.pgconn.send_prepare(statement.name, text.encode(), types)
        result = self._received()
        if result.status == _FATAL:
            raise error_from_result(result)
        self._prepared[text, types] = statement
        return statement

    def _make_room(self) -> None:
        while len(self._prepared) >= PREPARED:
            key = next(iter(self._prepared))
            old = self._prepared.pop(key)
            self._seen.discard(key)
            self.pgconn.send_query(b"deallocate " + old.name)
            self.connection.wait(execute(self.pgconn))

    def _forget(self, text: str, types: tuple[int, ...], result: Any) -> bool:
        """After an error: drops what the server does not have (any more) as it was; whether to try again at once."""
        state = result.error_field(pq.DiagnosticField.SQLSTATE)
        # A table has changed ("cached plan must not change result type"), or DEALLOCATE ALL, or DISCARD ALL.
        if state not in (b"0A000", b"26000"):
            return False
        statement = self._prepared.pop((text, types), None)
        if statement is None or self.pgconn.transaction_status != IDLE:
            return False
        if state == b"0A000":
            self.pgconn.send_query(b"deallocate " + statement.name)
            self.connection.wait(execute(self.pgconn))
        return True

    def _loaded(self, result: Any, statement: _Statement | None = None) -> Result:
        """Rows of a result that is no error."""
        fields = result.nfields
        affected = result.command_tuples
        if not fields:
            has_rows = result.status == _TUPLES
            return Result(() if has_rows else None, [], -1 if affected is None else affected)
        columns = statement.columns if statement is not None else ()
        if len(columns) != fields:
            columns = tuple([result.fname(i).decode() for i in range(fields)])
            if statement is not None and statement.steady:
                statement.columns = columns
        transformer = self._transformer
        transformer.set_pgresult(result)
        return Result(columns, transformer.load_rows(0, result.ntuples, tuple), affected)

    def _several(self, results: list[Any]) -> Result:
        for result in results:
            if result.status == _FATAL:
                raise error_from_result(result)
            if result.status not in (*_GOOD, pq.ExecStatus.EMPTY_QUERY):
                self.connection.close()  # COPY by another way than copy_in and copy_out: there is no way back
                raise error_for("0A000", "COPY is done by copy_in and copy_out", "postgresql")
        return self._loaded(results[-1])

    def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        affected = 0
        iterator = iter(values)
        batch = list(itertools.islice(iterator, BATCH))
        following = list(itertools.islice(iterator, BATCH))
        whole = bool(following) and self.pgconn.transaction_status == IDLE and not self._opening
        if whole:
            self._command("begin")
        try:
            while batch:
                affected += sum(result.command_tuples or 0 for result in self._pipeline(text, batch))
                batch, following = following, list(itertools.islice(iterator, BATCH))
        except Exception:
            if whole and self.idle:
                self._command("rollback")
            raise
        if whole:
            self._command("commit")
        return affected

    def run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]:
        results = []
        for i in range(0, len(values), BATCH):
            results += [self._loaded(result) for result in self._pipeline(text, values[i : i + BATCH])]
        return results

    def _pipeline(self, text: str, batch: Sequence[Sequence[Any]]) -> list[Any]:
        """The same statement many times in one round trip: PostgreSQL makes a transaction of it, if there is none.

        What begins the transaction goes with it.
        """
        with self._errors():
            self._note(text)
            pgconn, wait = self.pgconn, self.connection.waits.wait
            dumped = [self._dumped(values) for values in batch]
            missing = [types for types in {types for _, types, _ in dumped} if (text, types) not in self._prepared]
            if missing:
                self._open()  # an error of preparing it is one of the transaction
            for types in missing:
                self._prepare(text, types)
            names = [self._prepared[text, types].name for _, types, _ in dumped]
            pgconn.enter_pipeline_mode()
            opening, self._opening = self._opening, []
            for command in opening:
                pgconn.send_query_params(command.encode(), None)
            for name, (params, _, formats) in zip(names, dumped, strict=True):
                pgconn.send_query_prepared(name, params, formats)
            pgconn.pipeline_sync()
            patience = self.connection.patience
            while pgconn.flush():
                # The server may not read on before we do.
                ready = wait(READ | WRITE, patience)
                if not ready:
                    raise Silence
                if ready & READ:
                    pgconn.consume_input()
            results: list[Any] = []
            while True:
                while pgconn.is_busy():
                    if not wait(READ, patience):
                        raise Silence
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    continue
                if result.status == _SYNC:
                    break
                results.append(result)
            pgconn.exit_pipeline_mode()
            for result in results[: len(opening)]:
                if result.status == _FATAL:
                    raise error_from_result(result)
            del results[: len(opening)]
            for (_, types, _), result in zip(dumped, results, strict=False):
                if result.status == _FATAL:
                    self._forget(text, types, result)
                    raise error_from_result(result)
        return results

    def _command(self, text: str) -> None:
        with self._errors():
            self.pgconn.send_query(text.encode())
            self._several(self.connection.wait(execute(self.pgconn)))

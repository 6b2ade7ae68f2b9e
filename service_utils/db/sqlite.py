"""SQLite: the database that is always there.

Its calls block, so those of greenlets are made by threads of ``efio.default_pool()``. Files are in WAL mode: readers
and the writer do not wait for each other. There is one writer at a time; those of this process queue for it here,
first come first served, instead of in SQLite's busy handler, where each of them would occupy a thread of the pool. For
writers of other processes the busy handler waits, for ``lock_timeout``.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from efio import Semaphore, default_pool
from service_utils.db.errors import CannotConnect, DatabaseError, error_for
from service_utils.db.lasting import lasts
from service_utils.db.rows import Result
from service_utils.db.session import Options, Session, SessionConnector
from service_utils.db.sqlite_errors import translated
from service_utils.db.sqlite_values import adapted
from service_utils.waiting import in_greenlet

__all__ = ["SqliteConnector", "SqliteSettings"]

T = TypeVar("T")
STEPS = 20_000  # of SQLite's machine, some milliseconds: so often it looks whether the time is over
_READING = re.compile(
    r"\s*(?:(?:--[^\n]*\n|/\*.*?\*/)\s*)*(?:select|values|explain|pragma"
    r"|with(?!.*\b(?:insert|update|delete|replace)\b))\b",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class SqliteSettings:
    """``path``: a file, or ":memory:"; times in seconds."""

    path: str
    statement_timeout: float | None = 60.0
    lock_timeout: float = 5.0
    read_only: bool = False


class _Writers:
    """The queue of those who write to one file in this process."""

    def __init__(self) -> None:
        self.lock = Semaphore(1)  # first come, first served; released by whoever ends the session


_writers: weakref.WeakValueDictionary[str, _Writers] = weakref.WeakValueDictionary()


def _after_fork() -> None:
    for writers in list(_writers.values()):
        writers.lock = Semaphore(1)


os.register_at_fork(after_in_child=_after_fork)


class SqliteSession(Session):
    dialect = "sqlite"

    def __init__(self, settings: SqliteSettings, writers: _Writers) -> None:
        self.settings = settings
        self._writers = writers
        self._holds_lock = False
        self._changed = False  # settings of the connection, by the transaction
        self._altered = False  # something was set that outlives the transaction
        self._busy = False
        self._deadline: float | None = None
        self._timeout = settings.statement_timeout
        self._lock_timeout = settings.lock_timeout
        try:
            self.connection = self._made(self._connect)
        except CannotConnect as error:
            error.args = (f"{settings.path}: {error}",)
            raise

    def _connect(self) -> sqlite3.Connection:
        path, s = self.settings.path, self.settings
        if s.read_only and not os.path.exists(path):  # SQLite would make it
            raise error_for("08001", f"{path}: there is no such file, and mode=ro makes none", "sqlite")
        uri = path.startswith("file:")
        connection = sqlite3.connect(
            path, timeout=s.lock_timeout, isolation_level=None, check_same_thread=False, uri=uri
        )
        try:
            connection.execute("pragma foreign_keys = on")
            if s.read_only:
                connection.execute("pragma query_only = on")
            elif path != ":memory:":
                try:
                    connection.execute("pragma journal_mode = wal")
                    connection.execute("pragma synchronous = normal")
                except sqlite3.OperationalError as error:
                    if error.sqlite_errorcode & 0xFF != 5:  # busy: another process is doing the same
                        raise
            connection.set_progress_handler(self._look_at_clock, STEPS)
        except BaseException:
            connection.close()
            raise
        return connection

    def _look_at_clock(self) -> int:
        return self._deadline is not None and monotonic() > self._deadline

    # --- statements

    def _made(self, call: Callable[..., T], *arguments: Any) -> T:
        """Makes a call of the driver, in another thread for a greenlet, with its errors translated."""
        self._busy = True
        self._deadline = monotonic() + self._timeout if self._timeout is not None else None
        try:
            result = self._elsewhere(call, arguments) if in_greenlet() else self._call(call, arguments)
        except (sqlite3.Error, OverflowError, UnicodeEncodeError) as error:
            self._busy = False
            raise translated(error) from error
        self._busy = False
        return result

    def _elsewhere(self, call: Callable[..., T], arguments: Any) -> T:
        """By a thread of the pool. Who is killed meanwhile ends the statement, and waits until it has ended."""
        future = default_pool().submit(self._call, call, arguments)
        try:
            return future.result()
        except BaseException:
            while not future.done():
                self._deadline = 0.0
                with contextlib.suppress(BaseException):  # killed again: the first one is raised
                    future.exception()
            raise

    def _call(self, call: Callable[..., T], arguments: Any) -> T:
        try:
            return call(*arguments)
        finally:
            self._deadline = None

    def run(self, text: str, values: Sequence[Any]) -> Result:
        self._note(text)
        values = adapted(values)
        if self._holds_lock or self.connection.in_transaction or _READING.match(text):
            return self._made(self._run, text, values)
        return self._with_lock(self._run, text, values)

    def _note(self, text: str) -> None:
        if lasts(text, "sqlite") and self.settings.path != ":memory:":  # with its connection that would be gone
            self._altered = True

    def _with_lock(self, call: Callable[..., T], *arguments: Any) -> T:
        if self._holds_lock or self.connection.in_transaction:
            return self._made(call, *arguments)
        self._take_lock()
        try:
            return self._made(call, *arguments)
        finally:
            if not self.connection.in_transaction:
                self._drop_lock()

    def _take_lock(self) -> None:
        if not self._writers.lock.acquire(timeout=self._lock_timeout):
            message = f"another transaction of this process has been writing for {self._lock_timeout:g} s"
            raise error_for("55P03", message, "sqlite")
        self._holds_lock = True

    def _drop_lock(self) -> None:
        if self._holds_lock:
            self._holds_lock = False
            self._writers.lock.release()

    def _run(self, text: str, values: Sequence[Any]) -> Result:
        cursor = self.connection.execute(text, values)
        try:
            description = cursor.description
            if description is None:
                return Result(None, [], cursor.rowcount)
            rows = cursor.fetchall()
            affected = cursor.rowcount
            return Result(tuple([column[0] for column in description]), rows, affected if affected >= 0 else len(rows))
        finally:
            cursor.close()

    def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        return self._with_lock(self._run_many, text, [adapted(each) for each in values])

    def _run_many(self, text: str, values: list[Sequence[Any]]) -> int:
        own = not self.connection.in_transaction
        if own:
            self.connection.execute("begin immediate")
        try:
            cursor = self.connection.executemany(text, values)
        except BaseException:
            if own:
                self.connection.execute("rollback")
            raise
        if own:
            self.connection.execute("commit")
        return cursor.rowcount

    def run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]:
        self._note(text)
        return self._made(lambda: [self._run(text, adapted(each)) for each in values])

    def stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        self._note(text)
        cursor = self._made(self.connection.execute, text, adapted(values))
        try:
            if cursor.description is None:
                yield Result(None, [], cursor.rowcount)
                return
            columns = tuple([column[0] for column in cursor.description])
            while rows := self._made(cursor.fetchmany, batch):
                yield Result(columns, rows, len(rows))
        finally:
            cursor.close()

    # --- transactions

    def begin(self, options: Options) -> None:
        self._timeout = options.statement_timeout or self.settings.statement_timeout
        if options.read_only:
            self._changed = True
            self._made(self._script, "pragma query_only = on", "begin")
            return
        if self.settings.read_only:
            self._made(self._script, "begin")
            return
        script = ["begin immediate"]
        if options.lock_timeout is not None:
            self._changed = True
            self._lock_timeout = options.lock_timeout
            script.insert(0, f"pragma busy_timeout = {int(self._lock_timeout * 1000)}")
        # Writers take their lock at once: a reader that wants to write later may find that it cannot (BUSY_SNAPSHOT).
        self._take_lock()
        try:
            self._made(self._script, *script)
        except DatabaseError:
            self._after()
            raise

    def _script(self, *texts: str) -> None:
        for text in texts:
            self.connection.execute(text).close()

    def commit(self) -> None:
        self._made(self._script, "commit")
        self._after()

    def rollback(self) -> None:
        if self.connection.in_transaction:  # an error may have ended it
            self._made(self._script, "rollback")
        self._after()

    def _after(self) -> None:
        self._drop_lock()
        self._timeout, self._lock_timeout = self.settings.statement_timeout, self.settings.lock_timeout
        if self._changed:
            self._changed = False
            self._script(  # these wait for nothing
                f"pragma query_only = {'on' if self.settings.read_only else 'off'}",
                f"pragma busy_timeout = {int(self._lock_timeout * 1000)}",
            )

    @property
    def clean(self) -> bool:
        return not (self._busy or self._altered or self._holds_lock or self.connection.in_transaction)

    @property
    def idle(self) -> bool:
        return not self._busy

    def end(self) -> None:
        try:
            if in_greenlet():
                default_pool().submit(self.connection.close).exception()
            else:
                self.connection.close()  # rolls back
        finally:
            self._drop_lock()


class SqliteConnector(SessionConnector):
    dialect = "sqlite"

    def __init__(self, settings: SqliteSettings) -> None:
        self.settings = settings
        self.name = f"sqlite:{settings.path}"
        self._writers = _writers.get(settings.path) or _Writers()
        _writers[settings.path] = self._writers

    def connect(self, timeout: float) -> Session:
        return SqliteSession(self.settings, self._writers)

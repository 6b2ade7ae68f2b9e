"""MySQL and MariaDB, by PyMySQL over sockets of ours: no monkey patching, and any hub or thread may go on with a
connection.

The driver puts values into the text itself, escaped by the rules of the connection's character set and SQL mode. Dates
and times are in UTC: the time zone of sessions is +00:00, and what has another zone is converted. ``UPDATE`` counts
the rows that it found, as the other engines do, not those that it made different.
"""

from __future__ import annotations

import contextlib
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

import pymysql
import pymysql.cursors

from service_utils.db.cancelling import tell
from service_utils.db.errors import ConcurrentUse, error_for
from service_utils.db.lasting import lasts
from service_utils.db.mysql_errors import translated
from service_utils.db.mysql_values import adapted
from service_utils.db.rows import Result
from service_utils.db.session import Options, Session

if TYPE_CHECKING:
    from service_utils.db.mysql_connector import MysqlConnector

__all__ = ["MysqlSession"]

DRAINING = 0.1  # seconds for reading what is left of a stream that was left early
GRACE = 5.0  # seconds that the server gets beyond the time after which it should have given up by itself
IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS


class MysqlSession(Session):
    dialect = "mysql"

    def __init__(self, connector: MysqlConnector, connection: Any, place: tuple[str, int]) -> None:
        self.connector = connector
        self._place = place
        self.settings = connector.settings
        self.connection = connection
        self.mariadb = "MariaDB" in connection.server_version
        self._stream = connection._sock  # also after the driver has closed and forgotten it
        self._port = self._stream.local_port
        self._busy = False
        self._interrupted = False
        self._streaming = False
        self._cut_off = False
        self._changed = False
        self._altered = False  # something was set that outlives the transaction
        self._set_timeouts(self.settings.statement_timeout, self.settings.lock_timeout)

    def _set_timeouts(self, statement: float | None, lock: float | None) -> None:
        # Long ones can never be too short for what the other side rounds up.
        self._patience(None if statement is None else statement + GRACE)
        parts = []
        if statement is not None or self._changed:
            if self.mariadb:
                parts.append(f"max_statement_time = {statement or 0:g}")
            else:  # it stops queries only
                parts.append(f"max_execution_time = {math.ceil((statement or 0) * 1000)}")
        if lock is not None:
            parts.append(f"innodb_lock_wait_timeout = {max(1, math.ceil(lock))}")
        elif self._changed:
            parts.append("innodb_lock_wait_timeout = default")
        if parts:
            self._run("set session " + ", ".join(parts), ())

    def _patience(self, seconds: float | None) -> None:
        if self.connection._sock is not None:
            self.connection._sock.timeout = seconds

    # --- statements

    @contextlib.contextmanager
    def _exchange(self) -> Iterator[None]:
        """An exchange with the server. If it is not left by its own errors, nobody knows where the protocol stands."""
        if self._cut_off:
            raise error_for("08006", "the connection was ended: a stream was left early, and its rest is long", "mysql")
        if self._streaming:
            raise ConcurrentUse(
                "a stream is open on this connection, and MySQL can do nothing else meanwhile: read it to its end first"
            )
        before = sys.exception()  # what the caller is handling has nothing to do with this
        self._busy = True
        try:
            yield
        except pymysql.MySQLError as error:
            self._busy = self.connection._sock is None
            if self._stream.interruption is not None:
                self._interrupted = True
                raise self._stream.interruption from None
            raise translated(error, before) from error
        except UnicodeEncodeError as error:  # before anything was sent
            self._busy = False
            raise error_for("22021", str(error), "mysql") from error
        except BaseException:
            self._interrupted = True
            raise
        self._busy = False

    def run(self, text: str, values: Sequence[Any]) -> Result:
        self._note(text)
        return self._run(text, values)

    def _note(self, text: str) -> None:
        if lasts(text, "mysql"):
            self._altered = True

    def _run(self, text: str, values: Sequence[Any]) -> Result:
        with self._exchange():
            cursor = self.connection.cursor()
            cursor.execute(text, adapted(values) if values else None)
            description = cursor.description
            if description is None:
                return Result(None, [], cursor.rowcount)
            return Result(tuple([column[0] for column in description]), list(cursor.fetchall()), cursor.rowcount)

    def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        self._note(text)
        with self._exchange():
            cursor = self.connection.cursor()
            rows = [adapted(each) or None for each in values]
            if not _at_once(text):
                return sum(cursor.execute(text, row) for row in rows)
            return int(cursor.executemany(text, rows) or 0)

    def stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        self._note(text)
        with self._exchange():
            cursor = self.connection.cursor(pymysql.cursors.SSCursor)
            cursor.execute(text, adapted(values) if values else None)
        if cursor.description is None:
            yield Result(None, [], cursor.rowcount)
            return
        columns = tuple([column[0] for column in cursor.description])
        self._streaming = True
        try:
            while True:
                self._streaming = False
                with self._exchange():
                    rows = cursor.fetchmany(batch)
                self._streaming = True
                if not rows:
                    return
                yield Result(columns, list(rows), len(rows))
        finally:
            self._streaming = False
            if not self._busy and not self._cut_off:
                # The server cannot be told to stop sending: what is left is read, or the connection is ended.
                deadline = monotonic() + DRAINING
                with self._exchange():
                    while cursor.fetchmany(batch) and monotonic() < deadline:
                        pass
                if cursor._result.unbuffered_active:
                    self.stop_reading()
            if self._cut_off:  # otherwise the driver would read on, in destructors
                cursor.connection, cursor._result.unbuffered_active = None, False

    def stop_reading(self) -> None:
        self._cut_off = self._interrupted = True
        self.connection._force_close()

    # --- transactions

    def begin(self, options: Options) -> None:
        if options.statement_timeout is not None or options.lock_timeout is not None:
            self._set_timeouts(
                options.statement_timeout or self.settings.statement_timeout,
                options.lock_timeout or self.settings.lock_timeout,
            )
            self._changed = True
        if options.isolation is not None:
            self._run(f"set transaction isolation level {options.isolation}", ())
        self._run("start transaction read only" if options.read_only else "start transaction", ())

    def commit(self) -> None:
        self._run("commit", ())
        self._after()

    def rollback(self) -> None:
        self._run("rollback", ())
        self._after()

    def _after(self) -> None:
        if self._changed:
            self._set_timeouts(self.settings.statement_timeout, self.settings.lock_timeout)
            self._changed = False

    # --- state

    @property
    def clean(self) -> bool:
        left = self._streaming or self._changed or self._altered or self.connection.server_status & IN_TRANSACTION
        return self.idle and not left

    @property
    def idle(self) -> bool:
        return not self._busy and self.connection._sock is not None

    def ping(self, timeout: float) -> bool:
        statement = self.settings.statement_timeout
        self._patience(timeout)
        with self._exchange():
            self.connection.ping(reconnect=False)
        self._patience(None if statement is None else statement + GRACE)
        return True

    def end(self) -> None:
        connection = self.connection
        if self.clean:
            with contextlib.suppress(pymysql.MySQLError):
                connection.close()
            return
        connection._force_close()
        if self._interrupted and self._port is not None:
            # Otherwise the server goes on with the statement until it has something to send.
            tell(self.connector.kill, self._place, connection.server_thread_id[0], self._port)


def _at_once(text: str) -> bool:
    """Whether the driver may make one statement with many rows of it: it loses values that stand behind ``values``."""
    match = pymysql.cursors.RE_INSERT_VALUES.match(text)
    if match is None:
        return False
    return all("%s" not in (match.group(part) or "").replace("%%", "") for part in (1, 3))

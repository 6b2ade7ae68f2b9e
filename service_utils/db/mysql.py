"""MySQL and MariaDB, by PyMySQL over sockets of ours: no monkey patching, and any hub or thread may go on with a
connection.

The driver puts values into the text itself, escaped by the rules of the connection's character set and SQL mode. Dates
and times are in UTC: the time zone of sessions is +00:00, and what has another zone is converted. ``UPDATE`` counts
the rows that it found, as the other engines do, not those that it made different.
"""

from __future__ import annotations

import contextlib
import datetime
import decimal
import enum
import math
import re
import ssl
import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec
import pymysql
import pymysql.cursors
from pymysql.constants import CLIENT

from evpy.errors import EvpyError
from service_utils.db.cancelling import tell
from service_utils.db.errors import ConcurrentUse, DatabaseError, error_for
from service_utils.db.hosts import Hosts
from service_utils.db.mysql_errors import interruption, translated
from service_utils.db.rows import Result
from service_utils.db.session import Options, Session, SessionConnector
from service_utils.db.url import Address
from service_utils.sockets import TlsContext, TlsStream, client_context, connect
from service_utils.waiting import READ, poll

__all__ = ["MysqlConnector", "MysqlSettings"]

GRACE = 5.0  # seconds that the server gets beyond the time after which it should have given up by itself
IN_TRANSACTION = 1  # SERVER_STATUS_IN_TRANS

# What would be there for whoever gets the connection next: variables, locks and temporary tables of the session.
_LASTING = re.compile(
    r"(?:\s+|--\s[^\n]*\n|\#[^\n]*\n|/\*.*?\*/)*(?:"
    r"set\s+(?!statement\b)|use\b|lock\s+table|create\s+(?:or\s+replace\s+)?temporary\b|handler\b"
    r"|select\b.*\bget_lock\s*\(|select\b.*:=)",
    re.IGNORECASE | re.DOTALL,
)
_LOCAL = ("localhost", "127.0.0.1", "::1")
_TLS = ("disable", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class MysqlSettings:
    """Times in seconds."""

    address: Address
    statement_timeout: float | None = 60.0
    lock_timeout: float | None = None
    connect_timeout: float = 5.0


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
        if self._streaming:
            raise ConcurrentUse(
                "a stream is open on this connection, and MySQL can do nothing else meanwhile: read it to its end first"
            )
        self._busy = True
        try:
            yield
        except pymysql.MySQLError as error:
            self._busy = self.connection._sock is None
            if self._stream.interruption is not None:
                self._interrupted = True
                raise self._stream.interruption from None
            raise translated(error) from error
        except BaseException:
            self._interrupted = True
            raise
        self._busy = False

    def run(self, text: str, values: Sequence[Any]) -> Result:
        if _lasts(text):
            self._altered = True
        return self._run(text, values)

    def _run(self, text: str, values: Sequence[Any]) -> Result:
        with self._exchange():
            cursor = self.connection.cursor()
            cursor.execute(text, _adapted(values) if values else None)
            description = cursor.description
            if description is None:
                return Result(None, [], cursor.rowcount)
            return Result(tuple([column[0] for column in description]), list(cursor.fetchall()), cursor.rowcount)

    def run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int:
        with self._exchange():
            cursor = self.connection.cursor()
            return int(cursor.executemany(text, [_adapted(each) for each in values]) or 0)

    def stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]:
        with self._exchange():
            cursor = self.connection.cursor(pymysql.cursors.SSCursor)
            cursor.execute(text, _adapted(values) if values else None)
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
            if not self._busy:
                with self._exchange():  # reads what is left: the server cannot be told to stop sending
                    cursor.close()

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


class _Connection(pymysql.Connection):  # type: ignore[type-arg, misc, unused-ignore]
    """One that sends no password in clear text, whatever the server (or whoever is on the way) asks for."""

    def _process_auth(self, plugin_name: bytes, auth_packet: Any, handler: Any = None) -> Any:
        if plugin_name in (b"mysql_clear_password", b"dialog"):
            connection: Any = self
            if not connection._secure and not (connection.host.startswith("/") or connection.host in _LOCAL):
                raise pymysql.OperationalError(
                    1045, f"{connection.host} asks for the password in clear text, and there is no TLS: use sslmode="
                )
        return super()._process_auth(plugin_name, auth_packet, handler)  # type: ignore[misc, unused-ignore]


class MysqlConnector(SessionConnector):
    dialect = "mysql"

    def __init__(self, settings: MysqlSettings) -> None:
        self.settings = settings
        address = settings.address
        self.name = f"mysql://{address}"
        self.hosts: Hosts = Hosts(address, self.name)
        options = self.hosts.options
        mode = options.pop("sslmode", "prefer")
        authority = options.pop("sslrootcert", None)
        if mode not in _TLS:
            raise ValueError(f"{self.name}: sslmode={mode}: there are {', '.join(_TLS)}")
        if options:
            known = "sslmode, sslrootcert, target_session_attrs and load_balance_hosts"
            raise ValueError(f"{self.name}: no option {next(iter(options))!r}; there are {known}")
        self._tls_mode = mode
        self._tls = TlsContext(_tls_context(mode, authority)) if self._tls_mode != "disable" else None
        self._arguments: dict[str, Any] = {
            "user": address.user, "password": address.password.encode(),
            "database": address.database or None, "charset": "utf8mb4", "autocommit": True, "defer_connect": True,
            "client_flag": CLIENT.FOUND_ROWS, "binary_prefix": True, "init_command": "set time_zone = '+00:00'",
            "program_name": "service_utils", "ssl_disabled": True,  # see _open
        }  # fmt: skip

    def _open(self, host: str, port: int, timeout: float) -> Any:
        tls_mode = "disable" if host.startswith("/") else self._tls_mode
        connection: Any = _Connection(host=host, port=port, **self._arguments)
        if tls_mode != "disable":  # the driver would load all certificates anew for each connection
            connection.ssl, connection.ctx = True, self._tls
            connection._ssl_required = tls_mode != "prefer"
        try:
            stream = connect(host, port, timeout)
        except OSError as error:
            if isinstance(error, EvpyError):  # a deadline of evpy is a TimeoutError
                raise
            raise error_for("08001", f"cannot connect to {self.name}: {error}", "mysql") from error
        try:
            stream.timeout = timeout
            connection.connect(stream)
        except pymysql.MySQLError as error:
            if (ended_by := interruption(error)) is not None:
                raise ended_by from None
            raise translated(error, connecting=True) from error
        except BaseException:
            stream.close()
            raise
        if tls_mode not in ("disable", "prefer") and not isinstance(connection._sock, TlsStream):
            connection.close()
            raise error_for("08001", f"{self.name}: sslmode={tls_mode}, but the server offers no TLS", "mysql")
        return connection

    def connect(self, timeout: float) -> Session:
        return self.hosts.connect(timeout, self.settings.connect_timeout, self._connect_to)

    def _connect_to(self, host: str, port: int, wanted: str, timeout: float) -> Session:
        session = MysqlSession(self, self._open(host, port, timeout), (host, port))
        if wanted != "any":
            try:
                replica = bool(session.run("select @@global.read_only", ()).rows[0][0])
                if replica != (wanted in ("read-only", "standby")):
                    raise error_for("08001", "the server is " + ("read-only" if replica else "not read-only"), "mysql")
            except BaseException:
                session.end()
                raise
        return session

    def glance(self, connection: Session) -> bool:
        assert isinstance(connection, MysqlSession)
        return not poll(connection.connection._sock.fileno(), READ, 0)

    def is_alive(self, connection: Session, timeout: float) -> bool:
        assert isinstance(connection, MysqlSession)
        return connection.ping(timeout)

    def kill(self, place: tuple[str, int], thread: int, port: int) -> None:
        """Ends a connection at the server, if it is still the one that came from this port of ours.

        After a restart of the server the number may be that of somebody else's connection.
        """
        with contextlib.suppress(DatabaseError, pymysql.MySQLError):
            connection = self._open(*place, self.settings.connect_timeout)
            try:
                with connection.cursor() as cursor:
                    cursor.execute(
                        "select id from information_schema.processlist where id = %s and host like %s",
                        (thread, f"%:{port}"),
                    )
                    if cursor.fetchall():
                        cursor.execute(f"kill {int(thread)}")
            finally:
                connection.close()


def _tls_context(mode: str, authority: str | None) -> ssl.SSLContext:
    context = client_context(cafile=authority)
    context.check_hostname = mode == "verify-full"
    if not mode.startswith("verify"):
        context.verify_mode = ssl.CERT_NONE
    return context


@lru_cache(maxsize=2000)
def _lasts(text: str) -> bool:
    return _LASTING.match(text) is not None


_NATIVE = frozenset({int, float, str, bytes, bool, type(None), decimal.Decimal})


def _adapted(values: Sequence[Any]) -> Sequence[Any]:
    """Values as the driver knows them: times in UTC, UUIDs as text, lists and dicts as JSON."""
    for value in values:
        if type(value) not in _NATIVE:
            return [value if type(value) in _NATIVE else _adapt(value) for value in values]
    return values


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, enum.Enum):
        return _adapt(value.value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    kinds: tuple[Any, ...] = (int, float, str, bytes)
    for kind in kinds:  # the driver goes by the very type
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return value
    # The driver would send what str() makes of it.
    raise error_for("22023", f"cannot send values of type {type(value).__name__!r}", "mysql")

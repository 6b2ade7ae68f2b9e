"""How connections to MySQL and MariaDB are made: the addresses of the server, TLS, passwords.

The sockets are ours, so any hub or thread may go on with a connection.
"""

from __future__ import annotations

import contextlib
import ssl
import sys
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from evpy.errors import EvpyError
from service_utils.db.errors import DatabaseError, error_for
from service_utils.db.hosts import Hosts
from service_utils.db.mysql import MysqlSession
from service_utils.db.mysql_errors import interruption, translated
from service_utils.db.session import Session, SessionConnector
from service_utils.db.url import ServerSettings
from service_utils.sockets import TlsContext, TlsStream, client_context, connect
from service_utils.waiting import READ, poll

__all__ = ["MysqlConnector"]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_TLS = ("disable", "prefer", "require", "verify-ca", "verify-full")


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

    def __init__(self, settings: ServerSettings) -> None:
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
        before = sys.exception()
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
            if (ended_by := interruption(error, before)) is not None:
                raise ended_by from None
            raise translated(error, before, connecting=True) from error
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

"""How connections to PostgreSQL are made: the addresses of the server, options of libpq."""

from __future__ import annotations

from time import monotonic
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from evpy.errors import EvpyError
from service_utils.db.errors import error_for
from service_utils.db.hosts import Hosts
from service_utils.db.postgresql import PostgresqlSession
from service_utils.db.postgresql_link import milliseconds, open_link, translated
from service_utils.db.session import Session, SessionConnector
from service_utils.db.url import ServerSettings
from service_utils.sockets import resolve
from service_utils.waiting import READ, poll

__all__ = ["PostgresqlConnector"]


class PostgresqlConnector(SessionConnector):
    dialect = "postgresql"

    def __init__(self, settings: ServerSettings) -> None:
        self.settings = settings
        address = settings.address
        self.name = f"postgresql://{address}"
        options = []
        if settings.statement_timeout is not None:
            options.append(f"-c statement_timeout={milliseconds(settings.statement_timeout)}")
        if settings.lock_timeout is not None:
            options.append(f"-c lock_timeout={milliseconds(settings.lock_timeout)}")
        self.hosts: Hosts = Hosts(address, self.name)
        given = self.hosts.options
        if more := given.pop("options", ""):
            options.append(more)
        parts: dict[str, Any] = {
            "host": address.host, "port": address.port, "user": address.user or None,
            "password": address.password or None, "dbname": address.database or None, "gssencmode": "disable",
            "application_name": "service_utils", "options": " ".join(options) or None,
        }  # fmt: skip
        try:
            self.conninfo = make_conninfo("", **{**parts, **given})
        except psycopg.ProgrammingError as error:
            raise ValueError(f"{self.name}: {error}".strip()) from None

    def connect(self, timeout: float) -> Session:
        return self.hosts.connect(timeout, self.settings.connect_timeout, self._connect_to)

    def _connect_to(self, host: str, port: int, wanted: str, timeout: float) -> Session:
        conninfo = make_conninfo(self.conninfo, host=host, port=port, target_session_attrs=wanted)
        if not host.startswith("/"):
            # libpq would ask the resolver itself, and block the hub meanwhile.
            started = monotonic()
            try:
                addresses = list(dict.fromkeys(str(address[0]) for _, address in resolve(host, port, timeout)))
            except OSError as error:
                if isinstance(error, EvpyError):  # a deadline of evpy is a TimeoutError
                    raise
                raise error_for(
                    "08001", f"the name {host!r} of the server cannot be resolved: {error}", "postgresql"
                ) from error
            hosts = ",".join([host] * len(addresses))
            conninfo = make_conninfo(conninfo, host=hosts, hostaddr=",".join(addresses))
            timeout = max(0.001, timeout - (monotonic() - started))
        try:
            return PostgresqlSession(self.settings.statement_timeout, open_link(conninfo, timeout))
        except psycopg.Error as error:
            raise translated(error, lost=True, connecting=True) from error

    def glance(self, connection: Session) -> bool:
        assert isinstance(connection, PostgresqlSession)
        return not poll(connection.pgconn.socket, READ, 0)

    def is_alive(self, connection: Session, timeout: float) -> bool:
        assert isinstance(connection, PostgresqlSession)
        return connection.ping(timeout)

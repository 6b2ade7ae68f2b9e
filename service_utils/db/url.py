"""URLs of databases, and the connector for each kind.

``sqlite:FILE`` (``sqlite:///FILE`` is the same, with a fourth slash for an absolute path), ``sqlite::memory:``;
``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE``, ``mysql://...`` and ``mariadb://...``. What has special
characters is percent-encoded (RFC 3986). An option that is not known is an error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from service_utils.db.session import SessionConnector

__all__ = ["DEFAULT_URL", "Address", "connector_for", "parse_network_url"]

DEFAULT_URL = "sqlite:database.sqlite"
_KINDS = {
    "sqlite": "sqlite", "postgresql": "postgresql", "postgres": "postgresql", "mysql": "mysql", "mariadb": "mysql",
}  # fmt: skip


@dataclass(frozen=True)
class Address:
    """What a URL of a server says."""

    host: str  #: a name, an address, or the path of a Unix socket('s folder)
    port: int
    user: str
    password: str = field(repr=False)
    database: str
    options: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.user}@{self.host}:{self.port}/{self.database}"


def connector_for(
    url: str, *, statement_timeout: float | None, lock_timeout: float | None, connect_timeout: float
) -> SessionConnector:
    """The connector for a URL. ValueError when it is none, ImportError when its driver is not installed."""
    scheme, colon, rest = url.partition(":")
    kind = _KINDS.get(scheme)
    if not colon or kind is None:
        shown = url if "@" not in url else scheme + ":..."
        raise ValueError(f"{shown!r} is not the URL of a database: it begins with {', '.join(f'{k}:' for k in _KINDS)}")
    if kind == "sqlite":
        from service_utils.db.sqlite import SqliteConnector, SqliteSettings

        path, _, query = rest.partition("?")
        options = dict(parse_qsl(query))
        read_only = options.pop("mode", "rw") == "ro"
        if options:
            raise ValueError(f"sqlite has no option {next(iter(options))!r}; there is mode=ro")
        path = unquote(path.removeprefix("///"))
        if not path or path.startswith("//"):
            raise ValueError(f"{url!r} names no file: write sqlite:FILE or sqlite::memory:")
        if path != ":memory:":
            path = os.path.abspath(path)
        return SqliteConnector(SqliteSettings(path, statement_timeout, lock_timeout or 5.0, read_only))
    if kind == "postgresql":
        try:
            from service_utils.db.postgresql_connector import PostgresqlConnector, PostgresqlSettings
        except ImportError as error:
            raise ImportError(f"PostgreSQL needs psycopg: pip install 'evpy[postgresql]' ({error})") from error
        address = parse_network_url(url, 5432)
        return PostgresqlConnector(PostgresqlSettings(address, statement_timeout, lock_timeout, connect_timeout))
    try:
        from service_utils.db.mysql import MysqlConnector, MysqlSettings
    except ImportError as error:
        raise ImportError(f"MySQL and MariaDB need PyMySQL: pip install 'evpy[mysql]' ({error})") from error
    address = parse_network_url(url, 3306)
    return MysqlConnector(MysqlSettings(address, statement_timeout, lock_timeout, connect_timeout))


def parse_network_url(url: str, default_port: int) -> Address:
    """The parts of a URL of a server."""
    parts = urlsplit(url)
    try:
        port = parts.port or default_port
    except ValueError:
        raise ValueError("the URL of the database has a port that is no number from 1 to 65535") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    host = unquote(parts.hostname or "") or options.pop("host", "localhost")
    if "%2f" in (place := parts.netloc.rpartition("@")[2]).lower():  # a folder: its case matters
        host = unquote(place.partition(":")[0])
    return Address(
        host, port, unquote(parts.username or "") or options.pop("user", ""), unquote(parts.password or ""),
        unquote(parts.path.lstrip("/")), tuple(options.items()),
    )  # fmt: skip

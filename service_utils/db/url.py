"""URLs of databases, and the connector for each kind.

``sqlite:FILE`` (``sqlite:///FILE`` is the same, with a fourth slash for an absolute path), ``sqlite::memory:``;
``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?OPTION=VALUE``, ``mysql://...`` and ``mariadb://...``; several hosts
with commas between them. What has special characters is percent-encoded (RFC 3986). An option that is not known is an
error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from service_utils.db.session import SessionConnector

__all__ = ["DEFAULT_URL", "Address", "ServerSettings", "connector_for", "parse_network_url"]

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
    more: tuple[tuple[str, int], ...] = ()  #: hosts and ports besides the first, see hosts.py

    def __str__(self) -> str:
        places = ",".join(f"{host}:{port}" for host, port in ((self.host, self.port), *self.more))
        return f"{self.user}@{places}/{self.database}"


@dataclass(frozen=True)
class ServerSettings:
    """Of the connections to a server. Times in seconds."""

    address: Address
    statement_timeout: float | None
    lock_timeout: float | None
    connect_timeout: float


def connector_for(
    url: str, *, statement_timeout: float | None, lock_timeout: float | None, connect_timeout: float
) -> SessionConnector:
    """The connector for a URL. ValueError when it is none, ImportError when its driver is not installed."""
    if not isinstance(url, str):
        raise TypeError(f"{url!r} is not the URL of a database: give text, such as sqlite:FILE")
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
            from service_utils.db.postgresql_connector import PostgresqlConnector
        except ImportError as error:
            raise ImportError(f"PostgreSQL needs psycopg: pip install 'evpy[postgresql]' ({error})") from error
        address = parse_network_url(url, 5432)
        return PostgresqlConnector(ServerSettings(address, statement_timeout, lock_timeout, connect_timeout))
    try:
        from service_utils.db.mysql_connector import MysqlConnector
    except ImportError as error:
        raise ImportError(f"MySQL and MariaDB need PyMySQL: pip install 'evpy[mysql]' ({error})") from error
    address = parse_network_url(url, 3306)
    return MysqlConnector(ServerSettings(address, statement_timeout, lock_timeout, connect_timeout))


def parse_network_url(url: str, default_port: int) -> Address:
    """The parts of a URL of a server, or of several with commas between them. ValueError."""
    try:
        parts = urlsplit(url)
    except ValueError:  # its text has all of the URL in it
        raise ValueError(
            "the URL of the database cannot be understood: special characters in it are percent-encoded"
        ) from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    login, _, given = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    texts = given.split(",") if given else _from_options(options)
    places = [_place(text, default_port) for text in texts]
    (host, port), *more = places
    if more and not all(host for host, _ in places):
        raise ValueError("the URL of the database has a comma without a host")
    return Address(
        host or "localhost", port, unquote(user) or options.pop("user", ""), unquote(password),
        unquote(parts.path.lstrip("/")), tuple(options.items()), tuple(more),
    )  # fmt: skip


def _from_options(options: dict[str, str]) -> list[str]:
    """``?host=one,two&port=1,2``; one port is that of all hosts."""
    hosts = options.pop("host", "").split(",")
    ports = options.pop("port", "").split(",")
    if len(ports) not in (1, len(hosts)):
        raise ValueError(f"the URL of the database has {len(hosts)} hosts and {len(ports)} ports")
    ports *= len(hosts) if len(ports) == 1 else 1
    hosts = [f"[{host}]" if ":" in host else host for host in hosts]
    return [f"{host}:{port}" if port else host for host, port in zip(hosts, ports, strict=True)]


def _place(text: str, default_port: int) -> tuple[str, int]:
    """Host (lower case, unless it is a folder) and port."""
    if text.startswith("["):  # an IPv6 address
        host, _, rest = text[1:].partition("]")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
    host = unquote(host)
    if colon not in ("", ":") or (port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ValueError("the URL of the database has a port that is no number from 1 to 65535")
    return host if host.startswith("/") else host.lower(), int(port) if port else default_port

"""Databases: SQLite, PostgreSQL, MySQL and MariaDB, in the same words.

::

    db = connect()  # a file; or connect("postgresql://user@host/database")
    with db.transaction() as tx:
        tx.execute("insert into orders (name) values (:name)", name="tea")
    print(db.query("select * from orders where name in :names", names=["tea", "coffee"]))
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from service_utils.db.database import Database
from service_utils.db.errors import DatabaseError
from service_utils.db.querylog import QueryLog
from service_utils.db.session import Options, check_seconds
from service_utils.db.transaction import Transaction
from service_utils.db.url import DEFAULT_URL, connector_for
from service_utils.pool import Pool
from service_utils.sql import Macros

__all__ = ["Database", "DatabaseError", "Options", "Transaction", "connect"]


def connect(
    url: str | None = None,
    *,
    size: int = 10,
    keep: int = 0,
    timeout: float | None = 10.0,
    connect_timeout: float = 5.0,
    statement_timeout: float | None = 60.0,
    lock_timeout: float | None = None,
    macros: Macros | Mapping[str, str] | None = None,
    slow_query: float | None = 1.0,
    log_values: bool = False,
    **pool_options: Any,
) -> Database:
    """A database; connections are made when they are needed.

    ``url``: see url.py; without one, that of the environment variable DATABASE_URL, else the file database.sqlite.
    ``size``: connections at most, ``keep``: kept ready; ``timeout``: seconds to wait for one. Further ``pool_options``
    are those of ``service_utils.pool.Pool``. ``statement_timeout``: seconds that a statement may take (None: for
    ever),
    ``lock_timeout``: that it may wait for a lock. Raises ValueError for a URL that is none and times that are none,
    ImportError when the driver is not installed.
    """
    check_seconds("connect_timeout", connect_timeout)
    for name, value in (("statement_timeout", statement_timeout), ("lock_timeout", lock_timeout)):
        if value is not None:
            check_seconds(name, value)
    if url is None:  # an empty one is a mistake: a variable that is not set, perhaps
        url = os.environ.get("DATABASE_URL") or DEFAULT_URL
    connector = connector_for(
        url, statement_timeout=statement_timeout, lock_timeout=lock_timeout, connect_timeout=connect_timeout
    )
    options: dict[str, Any] = {"size": size, "keep": keep, "timeout": timeout, "name": connector.name, **pool_options}
    if connector.name == "sqlite::memory:":  # each connection would be a database of its own
        options |= {"size": 1, "keep": 0, "max_age": 1e9, "max_idle": 1e9, "check_after": 1e9}
    if macros is not None and not isinstance(macros, Macros):
        macros = Macros(macros)
    query_log = QueryLog(connector.name, slow=slow_query, values=log_values)
    return Database(connector, Pool(connector, **options), macros=macros, query_log=query_log)

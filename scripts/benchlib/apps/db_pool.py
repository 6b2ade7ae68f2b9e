"""Measures one pool: db_pool.py NAME SCALE. Prints a line of JSON: microseconds for acquire and release.

The connections do nothing: what is measured is the pool alone. psycopg_pool looks at a connection's transaction status
when it comes back, which these have.
"""

from __future__ import annotations

import json
import sys
import timeit
from types import SimpleNamespace
from typing import Any, Self

NAME, SCALE = sys.argv[1], float(sys.argv[2])
NUMBER, REPEAT = int(30_000 * SCALE), 7


class Connection:
    """Nothing, with the attributes that psycopg_pool asks for."""

    def __init__(self) -> None:
        self.pgconn = SimpleNamespace(transaction_status=0, status=0)
        self.closed = False
        self._pool: Any = None

    @classmethod
    def connect(cls, *args: object, **options: object) -> Connection:
        return cls()

    def close(self) -> None:
        pass

    rollback = close

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass


def best(function: Any) -> float:
    function()
    return min(timeit.repeat(function, number=NUMBER, repeat=REPEAT)) / NUMBER * 1e6


def main() -> None:
    if NAME == "service_utils.pool":
        from service_utils.pool import Connector, Pool

        class Connections(Connector[Connection]):
            def connect(self, timeout: float) -> Connection:
                return Connection()

            def close(self, connection: Connection) -> None:
                pass

        pool = Pool(Connections(), size=10)

        def call() -> None:
            pool.acquire().release()

        def block() -> None:
            with pool.acquire():
                pass

    elif NAME == "psycopg_pool":
        from psycopg_pool import ConnectionPool

        theirs: Any = ConnectionPool("", connection_class=Connection, min_size=1, max_size=10, open=True)
        theirs.wait()

        def call() -> None:
            theirs.putconn(theirs.getconn())

        def block() -> None:
            with theirs.connection():
                pass

    else:
        from sqlalchemy.pool import QueuePool

        queue_pool: Any = QueuePool(Connection, pool_size=10)

        def call() -> None:
            queue_pool.connect().close()

        block = call
    sys.stdout.write(json.dumps({"call": best(call), "block": best(block)}) + "\n")
    sys.stdout.flush()
    import os

    os._exit(0)  # the threads of a pool may be waited for


main()

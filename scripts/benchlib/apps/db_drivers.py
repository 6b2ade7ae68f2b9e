"""Measures one way to PostgreSQL: db_drivers.py NAME SCALE URL. Prints JSON: queries/s, us of CPU for each."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

NAME, SCALE, URL = sys.argv[1], float(sys.argv[2]), sys.argv[3]
FLOWS, WORLDS = 16, 10_000
EACH = int(2500 * SCALE)
TABLE = (
    "create table if not exists world as select n as id, n as randomnumber from generate_series(1, 10000) n",
    "create unique index if not exists world_id on world (id)",
)


def timed(run: Callable[[], object], queries: int) -> tuple[float, float]:
    """Queries/s, CPU us."""
    wall, cpu = time.perf_counter(), time.process_time()
    run()
    return queries / (time.perf_counter() - wall), (time.process_time() - cpu) / queries * 1e6


def measure(single: Callable[[int], object], many: Callable[[int], object]) -> None:
    single(200)
    many(20)
    rate, cpu = timed(lambda: single(EACH), EACH * FLOWS)
    _, many_cpu = timed(lambda: many(EACH // 20), EACH // 20 * 20 * FLOWS)
    sys.stdout.write(json.dumps({"rate": rate, "cpu": cpu, "many_cpu": many_cpu}) + "\n")


def ours() -> None:
    import gevent

    from service_utils.db import connect

    db = connect(URL, size=FLOWS)
    for text in TABLE:
        db.execute(text)
    sql = "select id, randomnumber from world where id = :id"

    def single(n: int) -> None:
        for i in range(n):
            db.query(sql, id=i % WORLDS + 1, into=tuple)

    def many(n: int) -> None:
        for i in range(n):
            db.query_many(sql, [{"id": (i + j) % WORLDS + 1} for j in range(20)], into=tuple)

    def flows(function: Callable[[int], object]) -> Callable[[int], object]:
        return lambda n: gevent.joinall([gevent.spawn(function, n) for _ in range(FLOWS)], raise_error=True)

    measure(flows(single), flows(many))
    db.close()


def psycopg_gevent() -> None:
    from gevent import monkey

    monkey.patch_all()
    import gevent
    from psycopg_pool import ConnectionPool

    pool: Any = ConnectionPool(URL, min_size=FLOWS, max_size=FLOWS, kwargs={"autocommit": True}, open=True)
    pool.wait()
    with pool.connection() as connection:
        for text in TABLE:
            connection.execute(text)
    sql = "select id, randomnumber from world where id = %s"

    def single(n: int) -> None:
        for i in range(n):
            with pool.connection() as connection:
                connection.execute(sql, (i % WORLDS + 1,)).fetchall()

    def many(n: int) -> None:
        for i in range(n):
            with pool.connection() as connection, connection.pipeline():
                cursors = [connection.execute(sql, ((i + j) % WORLDS + 1,)) for j in range(20)]
                for cursor in cursors:
                    cursor.fetchall()

    def flows(function: Callable[[int], object]) -> Callable[[int], object]:
        return lambda n: gevent.joinall([gevent.spawn(function, n) for _ in range(FLOWS)], raise_error=True)

    measure(flows(single), flows(many))
    pool.close()


def asyncpg_uvloop() -> None:
    import asyncio

    import asyncpg
    import uvloop

    sql = "select id, randomnumber from world where id = $1"
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    pool: Any = loop.run_until_complete(asyncpg.create_pool(URL, min_size=FLOWS, max_size=FLOWS))
    for text in TABLE:
        loop.run_until_complete(pool.execute(text))

    async def single(n: int) -> None:
        for i in range(n):
            async with pool.acquire() as connection:
                await connection.fetch(sql, i % WORLDS + 1)

    async def many(n: int) -> None:
        for i in range(n):
            async with pool.acquire() as connection:
                statement = await connection.prepare(sql)
                for j in range(20):
                    await statement.fetch((i + j) % WORLDS + 1)

    def flows(function: Callable[[int], Any]) -> Callable[[int], object]:
        async def all_of_them(n: int) -> None:
            await asyncio.gather(*(function(n) for _ in range(FLOWS)))

        return lambda n: loop.run_until_complete(all_of_them(n))

    measure(flows(single), flows(many))
    loop.run_until_complete(pool.close())


os.sched_setaffinity(0, {0})
{"service_utils.db": ours, "psycopg-gevent": psycopg_gevent, "asyncpg": asyncpg_uvloop}[NAME]()

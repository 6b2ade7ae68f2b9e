"""Between us and the database is a wire that breaks: anywhere in an answer, by an end, a reset, one direction alone, or
by somebody else's bytes. It is an error of the right kind each time, the connection is ended, and the next statement
gets its own answer over another one."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from urllib.parse import urlsplit

import gevent
import pytest
from flows import PATIENCE, in_thread, until
from wires import WAYS, Wire

from service_utils.db import connect
from service_utils.db.errors import ConnectionLost, DatabaseError, StatementTimeout

pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)
ROWS = 300


@pytest.fixture
def wire(url: str) -> Iterator[Wire]:
    wire = Wire(urlsplit(url).port or 0)
    yield wire
    wire.stop()


@pytest.mark.parametrize("hub", [True, False])
def test_it_breaks_anywhere(url: str, wire: Wire, hub: bool) -> None:
    sequence = f"seq_1_to_{ROWS}" if url.startswith("mysql") else f"generate_series(1, {ROWS})"
    column = "seq" if url.startswith("mysql") else "n"
    number = "" if url.startswith("mysql") else "::int"
    sql = f"select :n{number} + {column} as v from {sequence} {'' if url.startswith('mysql') else 'n'}"

    def work() -> None:
        rng = random.Random(7)
        with connect(url.replace(f":{urlsplit(url).port}/", f":{wire.port}/"), size=2, statement_timeout=None) as db:
            db.query(sql, n=0)
            broken = 0
            for how in WAYS * 8:
                if how == "silence" and not hub:
                    continue  # a plain thread waits as long as it is told to
                wire.breaks = how, rng.choice([0, 1, 5, rng.randrange(1500)])
                n = rng.randrange(10**6)
                with gevent.Timeout(0.05, False) if how == "silence" else contextlib.nullcontext():
                    try:
                        rows = db.query(sql, n=n, into=tuple)
                    except (ConnectionLost, StatementTimeout):
                        broken += 1
                    except DatabaseError:
                        assert how == "noise", how
                        broken += 1
                    else:  # it was cut behind the answer; noise may look like a part of it
                        assert how == "noise" or rows == [(n + i,) for i in range(1, ROWS + 1)]
                wire.breaks = None
                n = rng.randrange(10**6)
                for _ in range(2):
                    with contextlib.suppress(ConnectionLost):  # of a connection that was cut while it was idle
                        assert db.value(f"select :n{number} + 0", n=n) == n
                assert db.value(f"select :n{number} + 0", n=n) == n
            assert broken >= 16
            assert db.statistics().held == 0

    in_thread(work, hub=hub).result(PATIENCE * 3)
    assert wire.broken >= 20


def test_who_is_killed_while_nobody_can_be_reached(url: str, wire: Wire) -> None:
    """The server shall be told to stop, over another connection, which it accepts and does not answer: nobody waits for
    that, neither who was killed nor anybody else in this process."""
    sleep = "select sleep(:s)" if url.startswith("mysql") else "select pg_sleep(:s)::text"
    with connect(url.replace(f":{urlsplit(url).port}/", f":{wire.port}/"), size=2) as db:
        db.query(sleep, s=0.0)
        wire.deaf = True
        asking = gevent.spawn(db.query, sleep, s=5.0)
        gevent.sleep(0.05)
        asking.kill(timeout=PATIENCE)
        assert asking.dead
        until(lambda: wire.ignored)
        for _ in range(20):
            gevent.sleep(0.005)
        assert db.statistics().held == 0

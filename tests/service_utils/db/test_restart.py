"""A server that is stopped and started again while greenlets query it: errors as long as it is away, of the right kind;
then all is well, with no connection left over, and nobody ever gets another one's answer.

How long it takes until everything has its former speed is measured by ``scripts/bench db restart``.
"""

from __future__ import annotations

import random
import threading
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until

from service_utils.db import Database, connect
from service_utils.db.errors import CannotConnect, ConnectionLost, DatabaseError

HUBS, FLOWS = 2, 6
pytestmark = pytest.mark.parametrize("engine", ["postgresql", "mysql"], indirect=True)


class Load:
    """Greenlets in several hubs that read, and write in transactions."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.good = 0  # in all
        self.errors: list[Exception] = []
        self.committed: set[int] = set()
        self.uncertain: set[int] = set()  # the server was gone before it said whether
        self.turns = [0] * (HUBS * FLOWS)  # of each flow
        self.end = threading.Event()
        self._hubs = [in_thread(lambda seed=seed: self._hub(seed), hub=True) for seed in range(HUBS)]  # type: ignore[misc]

    def _hub(self, seed: int) -> None:
        flows = range(seed * FLOWS, (seed + 1) * FLOWS)
        gevent.joinall([gevent.spawn(self._flow, number) for number in flows], raise_error=True)

    def _flow(self, number: int) -> None:
        rng = random.Random(number)
        mysql = self.db.dialect == "mysql"
        while not self.end.is_set():
            n = rng.randrange(10**9)
            try:
                if rng.random() < 0.2:
                    self._write(n)
                else:
                    got = self.db.value("select :n + 0" if mysql else "select :n::int", n=n)
                    assert got == n, "somebody else's answer"
            except DatabaseError as error:
                self.errors.append(error)
                gevent.sleep(0.005)
            else:
                self.good += 1
            self.turns[number] += 1

    def _write(self, n: int) -> None:
        try:
            with self.db.transaction() as tx:
                tx.execute("insert into kept (n) values (:n)", n=n)
        except DatabaseError:
            self.uncertain.add(n)
            raise
        self.committed.add(n)

    def some(self) -> None:
        """Waits until many more have worked, and everybody has come to the end of what was under way."""
        target, turns = self.good + 200, [n + 2 for n in self.turns]
        until(lambda: self.good > target and all(n >= least for n, least in zip(self.turns, turns, strict=True)))

    def stop(self) -> None:
        self.end.set()
        for hub in self._hubs:
            hub.result(PATIENCE)


@pytest.mark.leaves_behind("a server that the session ends")
@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_the_server_is_restarted_under_load(server: Any, url: str, how: str) -> None:
    with connect(url, size=4, keep=2, timeout=PATIENCE) as db:
        db.execute("create table kept (n bigint)")
        load = Load(db)
        try:
            for _ in range(2):
                load.some()
                before = len(load.errors)
                server.stop(server.crash if how == "crashed" else None)
                until(lambda: any(isinstance(error, CannotConnect) for error in load.errors[before:]))  # noqa: B023
                server.start()
                load.some()  # whoever was connecting when it came back may still fail
                failed = len(load.errors)
                load.some()
                assert len(load.errors) == failed, "no error any more once it is back"
        finally:
            load.stop()
        assert {type(error) for error in load.errors} <= {CannotConnect, ConnectionLost}
        kept = {row["n"] for row in db.query("select n from kept")}
        assert kept <= load.committed | load.uncertain
        if not (db.dialect == "mysql" and how == "crashed"):  # the tests' server writes its log once a second only
            assert load.committed <= kept
        seen = db.statistics()
        assert seen.held == seen.waiting == seen.lost == 0
        assert seen.connected > 4

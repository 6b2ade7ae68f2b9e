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
        self.end = threading.Event()
        self._hubs = [in_thread(lambda seed=seed: self._hub(seed), hub=True) for seed in range(HUBS)]  # type: ignore[misc]

    def _hub(self, seed: int) -> None:
        gevent.joinall(
            [gevent.spawn(self._flow, random.Random(seed * FLOWS + i)) for i in range(FLOWS)], raise_error=True
        )

    def _flow(self, rng: random.Random) -> None:
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

    def _write(self, n: int) -> None:
        try:
            with self.db.transaction() as tx:
                tx.execute("insert into kept (n) values (:n)", n=n)
        except DatabaseError:
            self.uncertain.add(n)
            raise
        self.committed.add(n)

    def some(self) -> None:
        """Waits until that many more have worked."""
        target = self.good + 200
        until(lambda: self.good > target)

    def stop(self) -> None:
        self.end.set()
        for hub in self._hubs:
            hub.result(PATIENCE)


@pytest.mark.leaves_behind("a server that the session ends")
@pytest.mark.parametrize("how", ["stopped", "crashed"])
def test_the_server_is_restarted_under_load(server: Any, url: str, how: str) -> None:
    with connect(url, size=4, keep=2, timeout=5) as db:
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

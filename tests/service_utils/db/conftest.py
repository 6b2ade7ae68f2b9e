"""``db``: an empty database of each engine in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from service_utils.db import Database, connect

ENGINES = ("sqlite",)


@pytest.fixture(params=ENGINES)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    return f"sqlite:{tmp_path}/test.sqlite"


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with connect(url, size=4) as db:
        yield db
        seen = db.statistics()
        assert seen.held == 0, db.pool.holdings()
        assert seen.lost == 0

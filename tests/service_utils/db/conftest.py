"""``db``: an empty database of each engine in turn. Servers are started once for the session, if a test wants them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import servers

from service_utils.db import Database, connect

ENGINES = ("sqlite", "postgresql", "mysql")


@pytest.fixture(scope="session", autouse=True)
def _servers(request: pytest.FixtureRequest, _session_leaves_nothing: None) -> Iterator[None]:
    """Before any module's fixtures: what they leave behind is compared."""
    wanted = {item.callspec.params.get("engine") for item in request.session.items if hasattr(item, "callspec")}
    wanted |= {m.args[0] for item in request.session.items for m in item.iter_markers("server")}
    servers.start(wanted)
    yield
    servers.stop()


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def url(engine: str, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if engine == "sqlite":
        return f"sqlite:{tmp_path}/test.sqlite"
    server = servers.get(engine)
    server.empty()
    return str(server.url)


@pytest.fixture
def db(url: str) -> Iterator[Database]:
    with connect(url, size=4) as db:
        yield db
        seen = db.statistics()
        assert seen.held == 0, db.pool.holdings()
        assert seen.lost == 0


@pytest.fixture
def server(engine: str) -> Any:
    return servers.get(engine)

"""``server``: a Redis that the session has started, emptied. ``client``, ``make``: they end with nothing lent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import servers

from service_utils.redis import Redis, connect


@pytest.fixture(scope="session", autouse=True)
def _redis(_session_leaves_nothing: None) -> Iterator[None]:
    """Before any module's fixtures: what they leave behind is compared."""
    servers.start({"redis"})
    yield
    servers.stop()


@pytest.fixture
def server() -> Any:
    found = servers.get("redis")
    found.empty()
    return found


@pytest.fixture
def make(server: Any) -> Iterator[Callable[..., Redis]]:
    """Further clients."""
    clients: list[Redis] = []

    def make(url: str = "", **more: Any) -> Redis:
        clients.append(connect(url or server.url, **more))
        return clients[-1]

    yield make
    for client in clients:
        seen = client.statistics()
        client.close()
        assert (seen.held, seen.lost) == (0, 0)


@pytest.fixture
def client(make: Callable[..., Redis]) -> Redis:
    return make(size=4)

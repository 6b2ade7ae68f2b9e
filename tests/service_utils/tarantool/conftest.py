"""``server``: a Tarantool that the session has started, emptied. ``client``, ``make``: they end with nothing lent."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import servers

from service_utils.tarantool import Tarantool, connect


@pytest.fixture(scope="session", autouse=True)
def _tarantool(_session_leaves_nothing: None) -> Iterator[None]:
    """Before any module's fixtures: what they leave behind is compared."""
    servers.start({"tarantool"})
    yield
    servers.stop()


@pytest.fixture
def server() -> Any:
    found = servers.get("tarantool")
    found.empty()
    return found


@pytest.fixture
def make(server: Any) -> Iterator[Callable[..., Tarantool]]:
    """Further clients."""
    clients: list[Tarantool] = []

    def make(url: str = "", **more: Any) -> Tarantool:
        clients.append(connect(url or server.url, **more))
        return clients[-1]

    yield make
    for client in clients:
        seen = client.statistics()
        client.close()
        assert (seen.held, seen.lost) == (0, 0)


@pytest.fixture
def client(make: Callable[..., Tarantool]) -> Tarantool:
    client = make(size=4)
    client.eval(
        "local s = box.schema.space.create('item', {format = {{'id', 'unsigned'}, {'name', 'string'}, "
        "{'price', 'number', is_nullable = true}}}) "
        "s:create_index('primary', {parts = {'id'}}) s:create_index('name', {parts = {'name'}, unique = false})"
    )
    return client

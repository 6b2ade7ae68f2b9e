"""``serve``: starts a peer. ``make``: a client that is closed at the end, with nothing left in use."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pycares
import pytest

sys.path.insert(0, str(Path(__file__).parent))
from peers import Peer

from service_utils import http

pycares.Channel().close()  # starts the one thread of the process that ends channels


@pytest.fixture
def serve() -> Iterator[Callable[..., Peer]]:
    peers: list[Peer] = []

    def start(*args: Any, **more: Any) -> Peer:
        peers.append(Peer(*args, **more))
        return peers[-1]

    yield start
    for peer in peers:
        peer.stop()


@pytest.fixture
def make(serve: object) -> Iterator[Callable[..., http.Client]]:
    clients: list[http.Client] = []

    def client(*args: Any, **more: Any) -> http.Client:
        clients.append(http.Client(*args, **{"timeouts": 20, **more}))
        return clients[-1]

    yield client
    for one in clients:
        left = {name: (s.held, s.lost) for name, s in one.statistics().items() if s.held or s.lost}
        one.close()
        assert not left, f"connections were not given back: {left}"

"""How long a connection lives without a request on it."""

from __future__ import annotations

import pytest
from serving import Server

APP = """
import evpy

def handle(request):
    evpy.sleep(float(request.query.get("sleep", "0")))
    return request.path
"""


@pytest.fixture(params=["0", "1"], ids=["inline", "gateway"])
def workers(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def test_an_idle_connection_is_closed(workers: str) -> None:
    with Server(APP, "-w", workers, "--keep-alive", "1.5") as server, server.client() as client:
        assert client.get("/1").header("connection") is None
        assert client.get("/2").body == b"/2"
        assert client.is_closed()


def test_keep_alive_0_closes_after_each_response_and_says_so(workers: str) -> None:
    with Server(APP, "-w", workers, "--keep-alive", "0") as server, server.client() as silent:
        with server.client() as client:
            answer = client.get("/?sleep=0.2")  # some ticks of the gateway's timers
            assert (answer.body, answer.header("connection")) == (b"/", "close")
            assert client.is_closed()
        assert silent.get("/late").body == b"/late", "what comes before a request is not keep-alive"
        assert silent.is_closed()


def test_a_connection_that_never_asks_is_closed(workers: str) -> None:
    options = ("--keep-alive", "0", "--header-timeout", "0.2")
    with Server(APP, "-w", workers, *options) as server, server.client() as client:
        assert client.is_closed()

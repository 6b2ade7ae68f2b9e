"""The handler's side of HTTP through the whole stack, in both modes: worker processes, and everything in one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from serving import Server

MODES = {"gateway": "1", "inline": "0"}  # one worker, so that a handler's globals are the same for every request

Serve = Callable[..., Server]


@pytest.fixture(params=MODES, scope="module")
def mode(request: pytest.FixtureRequest) -> str:
    """Value of --workers."""
    return MODES[request.param]


@pytest.fixture(scope="module")
def serve(mode: str) -> Iterator[Serve]:
    """``serve(target, *options)`` starts a server in this mode; it is stopped after the last test of the module."""
    with ExitStack() as servers:
        yield lambda target, *options, **settings: servers.enter_context(
            Server(target, "-w", mode, *options, **settings)
        )

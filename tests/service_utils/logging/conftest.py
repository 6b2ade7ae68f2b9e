"""The standard logging module is the process's: every test gets it back as it was."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import pytest

from service_utils.logging import Sink, SinkHandler, configure

Logged = Callable[..., logging.Logger]


@pytest.fixture
def logged() -> Iterator[Logged]:
    """``logged(sink, ..., levels="info")`` configures, and gives a logger."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level

    def set_up(*sinks: Sink, levels: str = "info") -> logging.Logger:
        configure(levels, sinks)
        return logging.getLogger("shop")

    yield set_up
    for handler in list(root.handlers):
        if isinstance(handler, SinkHandler):
            root.removeHandler(handler)
            handler.close()
    root.handlers[:] = before
    root.setLevel(level)
    for name in ("shop", "shop.db"):
        logging.getLogger(name).setLevel(logging.NOTSET)

"""``Future``, on which greenlets, asyncio tasks and threads wait: see ThreadPool, which makes them."""

from typing import TYPE_CHECKING

from efio._impl import PYTHON

if TYPE_CHECKING or not PYTHON:
    from efio._futures import Future
else:
    from efio._pure.futures import Future

__all__ = ["Future"]

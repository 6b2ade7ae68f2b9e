"""Future in Python: the twin of _futures.pyx. The standard one, on efio's Condition."""

from __future__ import annotations

import asyncio
from collections.abc import Generator
from concurrent.futures import Future as _StandardFuture
from typing import Any, TypeVar

from efio._pure.parking import Waiter
from efio._pure.sync import Condition, Event

__all__ = ["Future"]

T = TypeVar("T")


class _Observers(list[Any]):
    """Who of the standard library waits for a future: its `_waiters`."""

    def append(self, observer: Any) -> None:
        if not observer.event.is_set() and type(observer.event) is not Event:
            observer.event = Event()
        super().append(observer)


class Future(_StandardFuture[T]):
    """See efio/_futures.pyi."""

    __module__ = "efio"

    def __init__(self) -> None:
        super().__init__()
        self._condition: Any = Condition()
        self._waiters: Any = _Observers()

    async def _outcome_async(self) -> T:
        waiter = Waiter()
        self.add_done_callback(lambda _: waiter.wake())
        try:
            await waiter.wait_async()
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self.cancelled():
            raise asyncio.CancelledError
        return self.result()

    def __await__(self) -> Generator[Any, None, T]:
        return self._outcome_async().__await__()

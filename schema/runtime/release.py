"""Letting go of large objects without a blocked event loop.

CPython frees an object and all that hangs on it at one go, 10 ms for an invoice of 2 MB, whenever the last reference
to it goes: in the user's code, not in ours. What takes the time hangs on long lists. Hence, where an event loop would
have to wait, the readers make long lists of a class of their own, a list in every other respect: when it dies, it
hands its items to the loop, which lets go of them in slices of half a millisecond, between other work.

Only lists: an object without long ones is freed in no time. Nothing is kept longer than the list itself by more than a
few turns of the loop, and items that are still used elsewhere simply stay.
"""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from schema.runtime.offload import BREATH, current, pace

__all__ = ["LONG", "Many", "let_go", "many"]

LONG = 64  # items; freeing fewer than these is left alone
_AT_ONCE = 16  # items between two looks at the clock


class Many(list[Any]):
    """A long list whose items are freed bit by bit."""

    __slots__ = ()

    def __del__(self, _finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if len(self) > LONG and not _finalizing():
            _bury(self)


def many(items: list[Any]) -> list[Any]:
    """The same list, if it is short."""
    return items if len(items) <= LONG else Many(items)


class _Graves(threading.local):
    def __init__(self) -> None:
        self.lists: list[list[Any]] = []
        self.digging = False


_graves = _Graves()


def _bury(items: list[Any]) -> None:
    """Leaves the items to this thread's loop; where there is none, they are freed by the caller as ever."""
    again = _next_turn()
    if again is not None:
        _graves.lists.append(items[:])
        if not _graves.digging:
            _graves.digging = True
            again(_dig)


def _next_turn() -> Callable[[Callable[[], None]], object] | None:
    """How to have a function called in the next turn of this thread's loop."""
    local = sys.modules.get("gevent._hub_local")
    hub = local.get_hub_if_exists() if local is not None else None
    if hub is not None:
        return lambda function: hub.loop.timer(0.0).start(function)
    loop = asyncio._get_running_loop()
    return loop.call_soon if loop is not None else None


def _dig() -> None:
    """A slice of the work."""
    due = time.perf_counter() + BREATH
    lists = _graves.lists
    while lists:
        items = lists.pop()  # what they hold may bring further lists
        while items:
            del items[-_AT_ONCE:]
            if time.perf_counter() > due:
                if items:
                    lists.append(items)
                again = _next_turn() if lists else None
                if again is None:  # the loop has ended
                    lists.clear()
                    _graves.digging = False
                else:
                    again(_dig)
                return
    _graves.digging = False


def let_go(value: Any) -> None:
    """Empties the long lists of an object or a JSON value that nobody else has, with breaths; where no loop waits, does
    nothing.
    """
    if current() is None:
        return
    pending = [value]
    for _ in pace(iter(pending.__len__, 0)):
        item = pending.pop()
        if isinstance(item, list):
            if len(item) <= LONG:
                pending += item
                continue
            for _ in pace(range(0, len(item), _AT_ONCE)):
                del item[-_AT_ONCE:]
        elif isinstance(item, dict):
            pending += item.values()
        elif isinstance(item, msgspec.Struct):
            pending += [getattr(item, name) for name in item.__struct_fields__]

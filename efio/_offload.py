"""Blocking calls of a gevent hub's greenlets, made by the default pool while the greenlet is switched out.

In a thread without a hub, in a callback of the hub itself (where nobody could be switched to), in one of the pool's own
threads (which might wait for each other) and at the interpreter's end, the call is simply made.

A call that has begun cannot be taken back: a greenlet that is killed meanwhile sees it after the call has ended, so
that no buffer and no descriptor is used any more when its owner goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from efio import pool as pools
from efio._gevent import in_greenlet

__all__ = ["call", "call_async", "in_greenlet"]

T = TypeVar("T")


def call(function: Callable[..., T], *arguments: Any) -> T:
    """function(*arguments); from a greenlet of a hub, in another thread while the greenlet is switched out."""
    if not in_greenlet():
        return function(*arguments)
    pool = pools.default_pool()
    if pools.at_exit() or pool.is_worker():
        return function(*arguments)
    future = pool.submit(function, *arguments)
    interruption: BaseException | None = None
    while not future.done():
        try:
            future.exception()
        except BaseException as error:  # noqa: BLE001 - raised when the call has ended
            interruption = error
    if interruption is not None:
        raise interruption
    return future.result()


async def call_async(function: Callable[..., T], *arguments: Any) -> T:
    """The same for a task of asyncio. A cancelled task sees it after the call has ended, unless that had not begun."""
    if pools.at_exit():
        return function(*arguments)
    future = await pools.default_pool().submit_async(function, *arguments)
    interruption: BaseException | None = None
    while not future.done():
        try:
            await future
        except asyncio.CancelledError as error:
            interruption = error
        except BaseException:  # noqa: BLE001 - the call's own; raised below
            pass
    if interruption is not None:
        raise interruption
    return future.result()

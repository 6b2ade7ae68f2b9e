"""Waiting, whatever it is that waits: a greenlet of a gevent hub, a task of asyncio, a thread.

``Waiter`` is what all of efio waits with, for whoever builds on it something that waits. One is made for each wait, by
who waits; told to those who may wake it; and waited on once::

    waiter = Waiter()
    waiting.append(waiter)
    try:
        if not waiter.wait(timeout):  # or: await waiter.wait_async(timeout)
            ...  # timeout: waiter.wake() returns False from now on
    except BaseException:  # killed, cancelled, KeyboardInterrupt
        if waiter.woken:
            ...  # the wake-up was given all the same: pass it on
        raise
"""

from typing import TYPE_CHECKING

from efio._impl import PYTHON

if TYPE_CHECKING or not PYTHON:
    from efio._parking import Waiter
else:
    from efio._pure.parking import Waiter

__all__ = ["Waiter"]

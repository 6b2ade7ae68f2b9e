"""Mutual exclusion between greenlets of any hubs, asyncio tasks and threads at once.

``Lock`` and ``RLock`` have the interfaces of the standard library's and may stand in for them, in threading.Condition
too. ``TicketLock`` is handed over strictly in order, ``SpinLock`` gives way a little before it sleeps; both check who
releases them. Waiting switches the greenlet on a gevent hub, suspends the task (``async with``, Lock only), and blocks
any other thread.
"""

from typing import TYPE_CHECKING

from efio._impl import PYTHON
from efio._sync_types import LockStatistics

if TYPE_CHECKING or not PYTHON:
    from efio._locks import Lock, RLock, SpinLock, TicketLock
else:
    from efio._pure.locks import Lock, RLock, SpinLock, TicketLock

__all__ = ["Lock", "LockStatistics", "RLock", "SpinLock", "TicketLock"]

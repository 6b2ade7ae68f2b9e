"""What threads, greenlets and tasks agree by: semaphores, events, conditions, a reader-writer lock, once, atomics.

The interfaces are those of ``threading`` where it has such a thing. All work between greenlets of any hubs and threads
at once; Semaphore and Event between asyncio tasks, too (``acquire_async``, ``wait_async``).
"""

from typing import TYPE_CHECKING

from efio._impl import PYTHON
from efio._sync_types import (
    ConditionStatistics,
    EventStatistics,
    OnceStatistics,
    RWLockStatistics,
    SemaphoreStatistics,
)

if TYPE_CHECKING or not PYTHON:
    from efio._atomics import AtomicInt, AtomicRef
    from efio._rwlock import RWLock
    from efio._sync import BoundedSemaphore, Condition, Event, Once, Semaphore
else:
    from efio._pure.atomics import AtomicInt, AtomicRef
    from efio._pure.rwlock import RWLock
    from efio._pure.sync import BoundedSemaphore, Condition, Event, Once, Semaphore

__all__ = [
    "AtomicInt",
    "AtomicRef",
    "BoundedSemaphore",
    "Condition",
    "ConditionStatistics",
    "Event",
    "EventStatistics",
    "Once",
    "OnceStatistics",
    "RWLock",
    "RWLockStatistics",
    "Semaphore",
    "SemaphoreStatistics",
]

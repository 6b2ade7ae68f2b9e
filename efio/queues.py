"""Queues between greenlets of any hubs, asyncio tasks and threads at once, with the interfaces of the module ``queue``.

``SimpleQueue`` (no limit, no task_done), ``Queue``, ``LifoQueue``, ``PriorityQueue``, and ``Stack``. The exceptions are
the standard ones, Empty and Full; ShutDown is queue.ShutDown where Python has it.
"""

from queue import Empty, Full
from typing import TYPE_CHECKING

from efio._impl import PYTHON
from efio._queues_types import QueueStatistics, ShutDown

if TYPE_CHECKING or not PYTHON:
    from efio._queues import LifoQueue, PriorityQueue, Queue, SimpleQueue, Stack
else:
    from efio._pure.queues import LifoQueue, PriorityQueue, Queue, SimpleQueue, Stack

__all__ = [
    "Empty",
    "Full",
    "LifoQueue",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "ShutDown",
    "SimpleQueue",
    "Stack",
]

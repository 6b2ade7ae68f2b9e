"""efio: threads, queues, shared memory and files. It never imports evpy.

Names are looked up when they are first used, so that importing efio costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

# The public names, and where each one lives.
_HOMES = {
    "AsyncFile": "efio.asyncfiles",
    "AtomicInt": "efio.sync",
    "AtomicRef": "efio.sync",
    "BoundedSemaphore": "efio.sync",
    "BufferedStream": "efio.buffered_stream",
    "ChunkedStream": "efio.streams",
    "ChunkedStreamStatistics": "efio.streams",
    "Condition": "efio.sync",
    "ConditionStatistics": "efio.sync",
    "Empty": "efio.queues",
    "Event": "efio.sync",
    "EventStatistics": "efio.sync",
    "FileIO": "efio.files",
    "FileStatistics": "efio.files",
    "Full": "efio.queues",
    "Future": "efio.futures",
    "LifoQueue": "efio.queues",
    "Lock": "efio.locks",
    "LockStatistics": "efio.locks",
    "Once": "efio.sync",
    "OnceStatistics": "efio.sync",
    "PoolStatistics": "efio.pool",
    "PriorityQueue": "efio.queues",
    "Queue": "efio.queues",
    "QueueStatistics": "efio.queues",
    "RLock": "efio.locks",
    "RWLock": "efio.sync",
    "RWLockStatistics": "efio.sync",
    "Semaphore": "efio.sync",
    "SemaphoreStatistics": "efio.sync",
    "SharedCounters": "efio.shared_values",
    "SharedMap": "efio.shared_values",
    "SharedMapStatistics": "efio.shared_values",
    "SharedMemory": "efio.shared_values",
    "SharedQueue": "efio.shared_queue",
    "SharedQueueStatistics": "efio.shared_queue",
    "ShutDown": "efio.queues",
    "SimpleQueue": "efio.queues",
    "SpinLock": "efio.locks",
    "Stack": "efio.queues",
    "StreamBroken": "efio.streams",
    "ThreadPool": "efio.pool",
    "TicketLock": "efio.locks",
    "Waiter": "efio.parking",
    "WriteBehind": "efio.behind",
    "WriteBehindStatistics": "efio.behind",
    "aopen": "efio.asyncfiles",
    "atomic_write": "efio.atomic",
    "awatch": "efio.watching",
    "default_pool": "efio.pool",
    "open": "efio.files",
    "remove_stale_segments": "efio.segments",
    "run_blocking": "efio.files",
    "run_blocking_async": "efio.files",
    "watch": "efio.watching",
}

__all__ = [
    "AsyncFile",
    "AtomicInt",
    "AtomicRef",
    "BoundedSemaphore",
    "BufferedStream",
    "ChunkedStream",
    "ChunkedStreamStatistics",
    "Condition",
    "ConditionStatistics",
    "Empty",
    "Event",
    "EventStatistics",
    "FileIO",
    "FileStatistics",
    "Full",
    "Future",
    "LifoQueue",
    "Lock",
    "LockStatistics",
    "Once",
    "OnceStatistics",
    "PoolStatistics",
    "PriorityQueue",
    "Queue",
    "QueueStatistics",
    "RLock",
    "RWLock",
    "RWLockStatistics",
    "Semaphore",
    "SemaphoreStatistics",
    "SharedCounters",
    "SharedMap",
    "SharedMapStatistics",
    "SharedMemory",
    "SharedQueue",
    "SharedQueueStatistics",
    "ShutDown",
    "SimpleQueue",
    "SpinLock",
    "Stack",
    "StreamBroken",
    "ThreadPool",
    "TicketLock",
    "Waiter",
    "WriteBehind",
    "WriteBehindStatistics",
    "aopen",
    "atomic_write",
    "awatch",
    "default_pool",
    "open",
    "remove_stale_segments",
    "run_blocking",
    "run_blocking_async",
    "watch",
]

if TYPE_CHECKING:
    from efio.asyncfiles import AsyncFile, aopen
    from efio.atomic import atomic_write
    from efio.behind import WriteBehind, WriteBehindStatistics
    from efio.buffered_stream import BufferedStream
    from efio.files import FileIO, FileStatistics, open, run_blocking, run_blocking_async
    from efio.futures import Future
    from efio.locks import Lock, LockStatistics, RLock, SpinLock, TicketLock
    from efio.parking import Waiter
    from efio.pool import PoolStatistics, ThreadPool, default_pool
    from efio.queues import Empty, Full, LifoQueue, PriorityQueue, Queue, QueueStatistics, ShutDown, SimpleQueue, Stack
    from efio.segments import remove_stale_segments
    from efio.shared_queue import SharedQueue, SharedQueueStatistics
    from efio.shared_values import SharedCounters, SharedMap, SharedMapStatistics, SharedMemory
    from efio.streams import ChunkedStream, ChunkedStreamStatistics, StreamBroken
    from efio.sync import (
        AtomicInt,
        AtomicRef,
        BoundedSemaphore,
        Condition,
        ConditionStatistics,
        Event,
        EventStatistics,
        Once,
        OnceStatistics,
        RWLock,
        RWLockStatistics,
        Semaphore,
        SemaphoreStatistics,
    )
    from efio.watching import awatch, watch


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'efio' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

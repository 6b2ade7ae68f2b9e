"""What both implementations of the pool return."""

from dataclasses import dataclass

__all__ = ["PoolStatistics"]


@dataclass(frozen=True, slots=True)
class PoolStatistics:
    """A pool at one moment."""

    workers: int  # threads
    max_workers: int
    idle: int  # threads that wait for work
    queued: int  # calls that have not begun
    queue_size: int  # how many there may be
    running: int
    submitted: int  # calls, since the beginning
    waiting_submitters: int  # greenlets, tasks and threads that wait for room in the queue
    is_shutdown: bool

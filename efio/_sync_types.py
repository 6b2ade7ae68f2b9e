"""What the locks and the rest tell of themselves, in both implementations."""

from dataclasses import dataclass

__all__ = [
    "ConditionStatistics",
    "EventStatistics",
    "LockStatistics",
    "OnceStatistics",
    "RWLockStatistics",
    "SemaphoreStatistics",
]


@dataclass(frozen=True, slots=True)
class LockStatistics:
    """A lock at one moment."""

    held: bool
    waiting: int  # greenlets, tasks and threads that wait for it


@dataclass(frozen=True, slots=True)
class RWLockStatistics:
    """A reader-writer lock at one moment."""

    readers: int  # that hold it
    writing: bool  # whether a writer holds it
    waiting: int  # greenlets and threads that wait for it, readers and writers


@dataclass(frozen=True, slots=True)
class SemaphoreStatistics:
    """A semaphore at one moment."""

    value: int  # permits that can be taken at once
    waiting: int  # greenlets, tasks and threads that wait for one


@dataclass(frozen=True, slots=True)
class EventStatistics:
    """An event at one moment."""

    is_set: bool
    waiting: int  # greenlets, tasks and threads that wait for it


@dataclass(frozen=True, slots=True)
class ConditionStatistics:
    """A condition variable at one moment."""

    waiting: int  # greenlets and threads that wait to be notified


@dataclass(frozen=True, slots=True)
class OnceStatistics:
    """A Once at one moment."""

    done: bool  # it has its result
    running: bool  # somebody runs the function
    waiting: int  # greenlets and threads that wait for the result

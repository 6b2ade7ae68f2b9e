"""Which worker is stuck, as seen from outside: decided from numbers in the shared segment, never from an answer that
Python must give in time.

Two numbers, both written by native code: the heart-beat of the process, and for each scheduler thread the time for
which a ping has been unanswered. From them:

* a thread is *blocked* when its ping is older than ``limit``. The worker's control thread reports that with a stack.
  When there is no report half a second later the interpreter lock is stuck, and the process is asked for its stacks
  by a signal (``Ask``); they are logged a moment later (``Log``).
* a process is *frozen* when its heart-beat is older than ``limit``: stopped by a signal, by a debugger, by the kernel.
* above ``kill`` either is a reason to replace the process (``Replace``), but never before it has been logged.

If the supervisor itself did not run for a while, all numbers are old; then it waits a moment before it believes them.
No process, no clock: time comes in as an argument, and what to do goes out as a list.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

__all__ = ["BLOCKED", "RECOVERED", "Action", "Ask", "Freeze", "Log", "Recover", "Replace", "Watchdog"]

BLOCKED = "a scheduler thread is blocked"  # what the log says
RECOVERED = "a scheduler thread has come round again"
ASK_AFTER = 0.5  # seconds for the worker to report by itself
READ_AFTER = 0.3  # seconds for the stacks to be written
BLIND = 2.0  # seconds between two looks after which the numbers say more about us than about the workers


@dataclass(frozen=True, slots=True)
class Action:
    slot: int


@dataclass(frozen=True, slots=True)
class Ask(Action):
    """Ask the process for its stacks; these threads are blocked."""

    threads: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Log(Action):
    """Log what was written since ``Ask``; these threads are blocked, the longest for so many seconds."""

    threads: tuple[int, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Freeze(Action):
    """Log that the process does not run, not even its native thread."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Recover(Action):
    """Log that what was logged by ``Log`` or ``Freeze`` is over."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Replace(Action):
    """Replace the process; it has been logged."""

    why: str


@dataclass(slots=True)
class _Watched:
    """What is known of one process."""

    generation: int
    told: set[tuple[int, int]] = field(default_factory=set)  # (thread, tick) that are in the log
    asked_at: float | None = None
    ask_covers: dict[int, int] = field(default_factory=dict)  # thread: tick, when it was asked
    log_covers: dict[int, int] = field(default_factory=dict)  # the same, once logged: to notice the end
    blocked_for: float = 0.0
    frozen: bool = False
    replaced: bool = False


class Watchdog:
    """Looks at workers, some times per second. ``limit`` and ``kill`` in seconds; 0 switches either off."""

    def __init__(self, limit: float, kill: float) -> None:
        self.limit = limit
        self.kill = kill
        self._watched: dict[int, _Watched] = {}
        self._last_look: float | None = None
        self._blind_until = 0.0

    def forget(self, slot: int) -> None:
        """The process is gone."""
        self._watched.pop(slot, None)

    def reported(self, slot: int, thread: int, tick: int) -> None:
        """The worker itself has reported this thread, and it has been logged."""
        if slot in self._watched:
            self._watched[slot].told.add((thread, tick))

    def begin(self, now: float) -> None:
        """To be called before each round of ``look``."""
        if self._last_look is not None and now - self._last_look > BLIND:
            self._blind_until = now + BLIND
        self._last_look = now

    def trusts(self, now: float) -> bool:
        """Whether the numbers say something about others: not just after a pause of our own."""
        return now >= self._blind_until

    def look(self, slot: int, info: dict[str, Any], now: float) -> list[Action]:
        """What to do about a worker that serves; ``info`` is that of ``Segment.worker_info``."""
        watched = self._watched.get(slot)
        if watched is None or watched.generation != info["generation"]:
            watched = self._watched[slot] = _Watched(info["generation"])
        if not (self.limit or self.kill) or not self.trusts(now):
            return []
        return [
            *self._look_at_heartbeat(slot, watched, info["heartbeat_age"] or 0.0),
            *self._look_at_threads(slot, watched, info["threads"], now),
        ]

    def _look_at_heartbeat(self, slot: int, watched: _Watched, age: float) -> list[Action]:
        limit = self.limit or self.kill
        actions: list[Action] = []
        if age < limit:
            if watched.frozen:
                watched.frozen = False
                actions.append(Recover(slot, watched.blocked_for))
            return actions
        watched.blocked_for = age
        if not watched.frozen:
            watched.frozen = True
            actions.append(Freeze(slot, age))
        if self._over(age) and not watched.replaced:
            watched.replaced = True
            actions.append(Replace(slot, f"it has not run for {age:.1f} s (watchdog-kill)"))
        return actions

    def _look_at_threads(self, slot: int, watched: _Watched, threads: list[dict[str, Any]], now: float) -> list[Action]:
        limit = self.limit or self.kill
        actions: list[Action] = []
        ticks = {thread["index"]: thread["tick"] for thread in threads}
        blocked = {t["index"]: t["blocked_for"] for t in threads if t["blocked_for"] >= limit}
        if watched.asked_at is not None and now >= watched.asked_at + READ_AFTER:
            watched.asked_at = None
            news = {index: tick for index, tick in watched.ask_covers.items() if (index, tick) not in watched.told}
            watched.told |= set(news.items())
            watched.log_covers = news
            if news:  # also when it has come round meanwhile: the stacks are there
                actions.append(Log(slot, tuple(news), watched.blocked_for))
        if blocked:
            watched.blocked_for = max(blocked.values())
        if watched.log_covers and all(ticks.get(index) != tick for index, tick in watched.log_covers.items()):
            watched.log_covers = {}
            actions.append(Recover(slot, watched.blocked_for))
        watched.told = {(index, tick) for index, tick in watched.told if ticks.get(index) == tick}
        untold = {index: seconds for index, seconds in blocked.items() if (index, ticks[index]) not in watched.told}
        if untold:
            if watched.asked_at is None and not watched.frozen and max(untold.values()) >= limit + ASK_AFTER:
                watched.asked_at = now
                watched.ask_covers = {index: ticks[index] for index in untold}
                actions.append(Ask(slot, tuple(untold)))
        elif blocked and self._over(max(blocked.values())) and not watched.replaced:
            watched.replaced = True
            why = f"a scheduler thread has been blocked for {max(blocked.values()):.1f} s (watchdog-kill)"
            actions.append(Replace(slot, why))
        return actions

    def _over(self, seconds: float) -> bool:
        return bool(self.kill) and seconds >= self.kill

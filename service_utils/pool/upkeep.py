"""What the keeper has done for a pool: ending what is too old or idle, making what shall be ready."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any, TypeVar

from service_utils.pool._lease import Slot
from service_utils.pool.lending import Lending

__all__ = ["Upkeep"]

T = TypeVar("T")
FAILED_PAUSE = 0.1, 1.0  # seconds until a refill that failed is tried again: at first, at most
log = logging.getLogger("service_utils.pool")


class Upkeep(Lending[T]):
    """The part of ``Pool`` that runs in the background."""

    def __init__(self) -> None:
        super().__init__()
        self._pause = 0.0
        self._retry_at = 0.0

    def _maintain(self, now: float, run: Callable[[Callable[[], None]], Any]) -> float:
        """Ends what is too old or idle, makes what is missing, by ``run``; when to come again at the latest."""
        if self._lost:
            self._find_lost()
        with self._lock:
            if self._closed:
                return now + self.max_idle
            surplus = len(self._slots) - self.keep
            old = []
            for slot in list(self._idle):  # from the bottom: those that were not used for longest
                if now >= slot.expires or (surplus > 0 and now - slot.idle_since >= slot.idle_limit):
                    try:
                        self._idle.remove(slot)
                    except ValueError:  # lent meanwhile: that needs no lock
                        continue
                    old.append(slot)
                    surplus -= 1
            times = [min(s.expires, s.idle_since + s.idle_limit) for s in self._idle]
            missing = max(0, min(self.keep - (len(self._slots) - len(old)), self.size - len(self._slots)))
            if now < self._retry_at:
                missing, times = 0, [*times, self._retry_at]
            fresh: list[Slot[T]] = [Slot() for _ in range(missing)]
            self._slots.update(fresh)
        self._expired += len(old)
        self._begin_work(run, [*((self._end_and_give, s) for s in old), *((self._refill, s) for s in fresh)])
        return min([t for t in times if t > now], default=now + self.max_idle)

    def _begin_work(
        self, run: Callable[[Callable[[], None]], Any], jobs: list[tuple[Callable[[Slot[T]], None], Slot[T]]]
    ) -> None:
        """By ``run``. The slots of what cannot be begun, at exit for instance, are not lost."""
        for number, (work, slot) in enumerate(jobs):
            try:
                run(partial(work, slot))
            except BaseException:
                for _, left in jobs[number:]:
                    self._give(left)
                raise

    def _refill(self, slot: Slot[T]) -> None:
        now = monotonic()
        try:
            self._connect(slot, now + (self.timeout or 10.0), now)
        except Exception as error:  # noqa: BLE001 - it is tried again
            first, most = FAILED_PAUSE
            self._pause = min(most, max(first, self._pause * 2))
            self._retry_at = now + self._pause
            log.debug("%s: cannot connect in the background: %r", self.name, error)
        else:
            self._pause = self._retry_at = 0.0
            slot.idle_since = monotonic()
            slot.due = min(slot.expires, slot.idle_since + self._second_look_after)
        finally:
            self._give(slot)

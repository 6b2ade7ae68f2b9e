"""The decisions of the supervisor about worker processes: which to start, retire, kill, and when. No process, no clock.

A fleet has a fixed number of *seats*. A seat has an *incumbent*, the worker that serves, and for a while a *successor*,
which will. Everything that replaces a living worker (reload, recycling, a hung thread) is the same move: start the
successor, wait until it is *ready*, let it take the seat, then retire the incumbent. A reload is that move made by all
seats at the same moment; when one successor fails to start, all of them leave and nothing has happened.

::

    STARTING --ready--> READY --retire--> RETIRING --exit--> (slot free once the gateway has acknowledged)
        |                 |                  |
        +--- condemn -----+------------------+--> CONDEMNED: examined (stacks are logged), then killed

The world is reached through `Driver` and comes back through the ``on_...`` methods; every method is given the time in
seconds of one monotonic clock. Shapes seen in Erlang's supervisors (restart intensity) and in systemd (back-off).

Invariants (tests/evpy/server/test_fleet.py drives random events against them):

* a READY worker is retired only when its seat has another READY one, or the server stops
* a slot has one member at a time and is used again only when the driver says that it is free
* at most one seat is recycled at a time; hung workers do not wait for that
* whatever crashes, once it stops crashing every seat gets a READY worker again
"""

from __future__ import annotations

import enum
import sys
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Protocol

__all__ = ["Backoff", "Driver", "Fleet", "Limits", "Member", "Phase", "Seat"]

BACKOFF_FIRST = 0.1  # seconds; the very first restart is immediate
BACKOFF_MAX = 10.0
BACKOFF_RESET = 30.0  # a worker that has lived so long, or has answered a request, is not in a crash loop
EXAMINE = 0.3  # seconds between asking a process for its stacks and killing it
DISCARD_GRACE = 5.0  # for a worker that has not served yet and is not needed any more
RELOAD_FAILED = "the reload has failed"


class Phase(enum.Enum):
    STARTING = "starting"
    READY = "ready"
    RETIRING = "retiring"
    CONDEMNED = "condemned"


@dataclass(eq=False, slots=True)
class Member:
    """One worker process, from the decision to start it until it is gone."""

    slot: int
    seat: Seat | None  # None: it has left its seat, or never got one
    epoch: int  # which settings it runs with
    started: float
    phase: Phase = Phase.STARTING
    deadline: float | None = None  # of the phase: ready by, gone by, killed at
    why: str = ""  # it is to be replaced, leaves, or is killed for this reason
    hung: bool = False  # to be killed rather than retired, once it is replaced
    failure: str = ""  # why it could not start
    killed: bool = False

    @property
    def name(self) -> str:
        return f"worker-{self.slot + 1}"


class Backoff:
    """Pauses between restarts: none before the first, then 0.1 s, doubled up to 10 s."""

    def __init__(self) -> None:
        self.failures = 0
        self.not_before = 0.0

    def failed(self, now: float, *, lived: float, useful: bool) -> float:
        """Notes a death and returns the pause in seconds before the next start."""
        if useful or lived >= BACKOFF_RESET:
            self.failures = 0
        pause = 0.0 if self.failures == 0 else min(BACKOFF_MAX, BACKOFF_FIRST * 2.0 ** min(self.failures - 1, 20))
        self.failures += 1
        self.not_before = now + pause
        return pause


@dataclass(eq=False, slots=True)
class Seat:
    """A place that always has, or is about to get, a worker that serves."""

    incumbent: Member | None = None
    successor: Member | None = None
    backoff: Backoff = field(default_factory=Backoff)


class Driver(Protocol):
    """What the fleet can do to the world."""

    def free_slot(self) -> int | None:
        """A slot that may be used (again) now."""

    def begin_reload(self) -> bool:
        """Reads the settings that members of the next epoch get; False: there is a mistake in them, no reload."""

    def spawn(self, member: Member) -> None:
        """Starts the process; OSError when the system refuses."""

    def retire(self, member: Member) -> None:
        """Tells gateway and worker that it gets no more requests, finishes those it has, and ends."""

    def examine(self, member: Member) -> None:
        """Asks the process for its stacks and logs them, with what it is doing and ``member.why``."""

    def kill(self, member: Member) -> None:
        """SIGKILL."""

    def note(self, what: str, member: Member | None = None, **fields: object) -> None:
        """One line in the log."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds."""

    start: float  # a worker must be ready
    grace: float  # a retiring worker must be gone


class Fleet:
    """All workers of one server."""

    def __init__(self, size: int, limits: Limits, driver: Driver) -> None:
        self.seats = [Seat() for _ in range(size)]
        self.limits = limits
        self.members: dict[int, Member] = {}  # by slot; every process that has not been reaped
        self.epoch = 0  # of the incumbents
        self.reloading = False
        self.stopping = False  # no reload, no recycling any more
        self.leaving = False  # nothing is started any more
        self.up = False  # all seats have been ready at one time
        self.failed: str | None = None  # why the first start failed
        self._driver = driver
        self._queued = False  # another reload is wanted

    # --- what the supervisor asks

    @property
    def ready(self) -> int:
        """Seats that serve."""
        return sum(seat.incumbent is not None and seat.incumbent.phase is Phase.READY for seat in self.seats)

    def next_deadline(self) -> float | None:
        """When `tick` has something to do at the latest, if nothing happens before."""
        times = [member.deadline for member in self.members.values() if member.deadline is not None]
        times += [seat.backoff.not_before for seat in self.seats if self._wants(seat)]
        return min(times, default=None)

    # --- orders

    def reload(self, now: float) -> bool:
        """Replaces all workers by ones of the next epoch; False when it has to wait for the one under way."""
        if self.stopping:
            return True
        if self.reloading or not self.up:
            self._queued = True
            return False
        self._queued = False
        if not self._driver.begin_reload():
            return True
        self.reloading = True
        for seat in self.seats:
            if seat.successor is not None:  # of a recycling, with the settings of before
                self._leave(seat.successor, "a reload has begun", now)
                seat.successor = None
        self._driver.note("reload begun", workers=len(self.seats))
        self.tick(now)
        return True

    def recycle(self, slot: int, why: str, now: float) -> None:
        """Asks for a replacement of this worker, which serves until it is replaced; one at a time."""
        member = self.members.get(slot)
        if member is not None and member.phase is Phase.READY and not member.why:
            member.why = why
            self.tick(now)

    def replace_hung(self, slot: int, why: str, now: float) -> None:
        """Asks for a replacement of a worker that will not end by itself: it is killed when the other one is ready."""
        member = self.members.get(slot)
        if member is None or member.hung or member.phase is Phase.CONDEMNED:
            return
        member.hung, member.why = True, why
        if member.phase is Phase.READY and not self.stopping:
            self.tick(now)
        else:
            self._condemn(member, why, now)

    def stop(self) -> None:
        """Stops replacing what works. Workers that crash while requests are still open are replaced."""
        self.stopping = True
        self._queued = self.reloading = False

    def leave(self, now: float, deadline: float, overdue: Collection[int] = ()) -> None:
        """Retires everybody, to be gone by the deadline; those in the ``overdue`` slots have had their time."""
        self.stop()
        self.leaving = True
        for member in list(self.members.values()):
            if member.phase is not Phase.CONDEMNED and not member.failure:  # that one is on its way out
                grace = DISCARD_GRACE if member.phase is Phase.STARTING else float("inf")
                self._retire(member, "", now if member.slot in overdue else min(deadline, now + grace))
        self.tick(now)

    def kill_all(self) -> None:
        """Ends everybody now, without a word."""
        self.stop()
        self.leaving = True
        for member in self.members.values():
            member.phase, member.why, member.deadline = Phase.CONDEMNED, "stop now", None
            self._kill(member)

    # --- events

    def on_ready(self, slot: int, now: float) -> None:
        """The worker has set its slot READY."""
        member = self.members.get(slot)
        if member is None:
            return
        if member.phase is Phase.RETIRING:  # it was about to become ready when it was told to go
            self._driver.retire(member)
        if member.phase is not Phase.STARTING:
            return
        member.phase, member.deadline = Phase.READY, None
        self._driver.note("worker started", member, seconds=round(now - member.started, 3))
        seat = member.seat
        assert seat is not None, member
        if seat.successor is member:
            if self.reloading:
                self._maybe_swap_all(now)
            else:
                self._swap(seat, now)
        if not self.up and self.ready == len(self.seats):
            self.up = True
        if self.up and self._queued and not self.reloading:
            self.reload(now)

    def on_failed(self, slot: int, reason: str) -> None:
        """The worker has said why it cannot start; its exit follows."""
        member = self.members.get(slot)
        if member is not None and not member.failure:
            member.failure = reason

    def on_exit(self, slot: int, how: str, now: float, *, useful: bool, clean: bool) -> None:
        """The process is gone and its slot is marked dead. ``how`` in words; ``useful``: it has answered a request."""
        member = self.members.pop(slot)
        seat, phase = member.seat, member.phase
        lived = now - member.started
        if seat is not None:
            if seat.incumbent is member:
                seat.incumbent = None
            if seat.successor is member:
                seat.successor = None
        if phase is Phase.STARTING or member.failure:
            self._failed_to_start(
                member, seat, member.failure or f"{how} while it was starting the application", lived, now
            )
        elif phase is Phase.READY:
            pause = seat.backoff.failed(now, lived=lived, useful=useful) if seat is not None else 0.0
            self._driver.note("worker crashed", member, how=how, lived=round(lived, 3), restart_in=pause)
        elif phase is Phase.CONDEMNED:
            self._driver.note("worker killed", member, why=member.why)
        else:
            fields = {} if clean else {"how": how}
            self._driver.note("worker retired", member, **fields, **({"why": member.why} if member.why else {}))
        self.tick(now)

    def tick(self, now: float) -> None:
        """Acts on what is due."""
        for member in list(self.members.values()):
            if member.deadline is not None and now >= member.deadline:
                self._overdue(member, now)
        if not self.leaving:
            self._fill(now)

    # --- how

    def _overdue(self, member: Member, now: float) -> None:
        if member.phase is Phase.STARTING:
            member.failure = f"not ready after {self.limits.start:g} s (start-timeout)"
            self._condemn(member, member.failure, now)
        elif member.phase is Phase.RETIRING:
            self._condemn(member, "its grace time is over", now)
        else:
            member.deadline = None
            self._kill(member)

    def _wants(self, seat: Seat) -> bool:
        """Whether this seat needs a process that has not been started."""
        if self.leaving or self.failed:
            return False
        if self.reloading:
            return seat.successor is None
        if seat.incumbent is None:
            return seat.successor is None
        return seat.successor is None and bool(seat.incumbent.why) and not self.stopping and self._may_recycle(seat)

    def _may_recycle(self, seat: Seat) -> bool:
        assert seat.incumbent is not None
        if seat.incumbent.hung:
            return self.up
        under_way = any(other.successor is not None for other in self.seats)
        return self.up and not under_way and all(other.phase is not Phase.RETIRING for other in self.members.values())

    def _fill(self, now: float) -> None:
        # Empty seats first: they serve nobody.
        for seat in sorted(self.seats, key=lambda seat: seat.incumbent is not None):
            if self._wants(seat) and now >= seat.backoff.not_before:
                slot = self._driver.free_slot()
                if slot is None:
                    return
                self._start(seat, slot, now)

    def _start(self, seat: Seat, slot: int, now: float) -> None:
        assert slot not in self.members, slot
        epoch = self.epoch + 1 if self.reloading else self.epoch
        member = Member(slot, seat, epoch, now, deadline=now + self.limits.start)
        incumbent = seat.incumbent
        if incumbent is not None or self.reloading:
            seat.successor = member
        else:
            seat.incumbent = member
        if incumbent is not None and not self.reloading:
            self._driver.note("worker is being replaced", incumbent, why=incumbent.why, by=member.name)
        self.members[slot] = member
        try:
            self._driver.spawn(member)
        except OSError as error:
            self.on_failed(slot, f"the process cannot be started: {error.filename or sys.executable}: {error.strerror}")
            self.on_exit(slot, "never started", now, useful=False, clean=False)

    def _failed_to_start(self, member: Member, seat: Seat | None, reason: str, lived: float, now: float) -> None:
        if self.stopping or seat is None:
            if reason != self.failed:  # all of them usually fail for the same reason
                self._driver.note("worker did not start", member, reason=reason)
        elif not self.up:
            if self.failed is None:
                self.failed = reason
                self._driver.note("the first start has failed", member, reason=reason)
        elif self.reloading:
            self._driver.note("worker did not start", member, reason=reason)
            self._cancel_reload(reason, now)
        else:
            pause = seat.backoff.failed(now, lived=lived, useful=False)
            self._driver.note("worker did not start", member, reason=reason, restart_in=pause)

    def _maybe_swap_all(self, now: float) -> None:
        if not all(seat.successor is not None and seat.successor.phase is Phase.READY for seat in self.seats):
            return
        self.reloading = False
        self.epoch += 1
        for seat in self.seats:
            if seat.incumbent is not None and not seat.incumbent.hung:
                seat.incumbent.why = "reload"
            self._swap(seat, now)
        self._driver.note("reload done", workers=len(self.seats))

    def _cancel_reload(self, reason: str, now: float) -> None:
        self.reloading = False
        self._driver.note("reload failed, the old workers stay", reason=reason)
        for seat in self.seats:
            new, seat.successor = seat.successor, None
            if new is None:
                continue
            old = seat.incumbent
            if new.phase is Phase.READY and (old is None or old.phase is not Phase.READY):
                # The old one has crashed meanwhile: the new one serves, until it is recycled.
                seat.incumbent, new.why = new, RELOAD_FAILED
                new = old
            if new is not None:
                self._leave(new, RELOAD_FAILED, now)
        if self._queued:
            self.reload(now)

    def _swap(self, seat: Seat, now: float) -> None:
        """The successor, which is ready, takes the seat."""
        old, seat.incumbent, seat.successor = seat.incumbent, seat.successor, None
        if old is None:
            return
        old.seat = None
        if old.hung:
            self._condemn(old, old.why, now)
        else:
            self._retire(old, old.why, now + self.limits.grace)

    def _leave(self, member: Member, why: str, now: float) -> None:
        """A worker that is not needed any more before it has served (or served long)."""
        member.seat = None
        if member.phase in (Phase.STARTING, Phase.READY):
            grace = self.limits.grace if member.phase is Phase.READY else min(DISCARD_GRACE, self.limits.grace)
            self._retire(member, why, now + grace)

    def _retire(self, member: Member, why: str, deadline: float) -> None:
        if member.phase is not Phase.RETIRING:
            member.phase, member.why = Phase.RETIRING, why
            self._driver.retire(member)
        member.deadline = deadline if member.deadline is None else min(member.deadline, deadline)

    def _condemn(self, member: Member, why: str, now: float) -> None:
        member.phase, member.why, member.deadline = Phase.CONDEMNED, why, now + EXAMINE
        self._driver.examine(member)

    def _kill(self, member: Member) -> None:
        if not member.killed:
            member.killed = True
            self._driver.kill(member)

"""Decisions about workers, driven by a fake clock and fake processes; no process is started here."""

from __future__ import annotations

import errno
import random
import sys
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evpy.server.fleet import BACKOFF_MAX, DISCARD_GRACE, EXAMINE, Backoff, Fleet, Limits, Member, Phase, Seat

START, GRACE = 60.0, 30.0


@dataclass
class World:
    """Fake processes: what was done to each slot, and what was logged."""

    size: int
    slots: list[str] = field(default_factory=list)  # free, used, unacked
    spawned: list[Member] = field(default_factory=list)
    retired: list[Member] = field(default_factory=list)
    examined: list[Member] = field(default_factory=list)
    killed: list[Member] = field(default_factory=list)
    notes: list[tuple[str, str, dict[str, object]]] = field(default_factory=list)
    acknowledge: bool = True
    settings_are_right: bool = True
    refuse: int = 0
    now: float = 1000.0
    fleet: Fleet = None  # type: ignore[assignment]
    seats: dict[int, Seat | None] = field(default_factory=dict)  # by id of the member
    served: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.slots = ["free"] * (2 * self.size + 2)
        self.fleet = Fleet(self.size, Limits(START, GRACE), self)

    # --- the driver
    def free_slot(self) -> int | None:
        return self.slots.index("free") if "free" in self.slots else None

    def begin_reload(self) -> bool:
        return self.settings_are_right

    def spawn(self, member: Member) -> None:
        assert self.slots[member.slot] == "free"
        if self.refuse:
            self.refuse -= 1
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        self.slots[member.slot] = "used"
        self.spawned.append(member)
        self.seats[id(member)] = member.seat

    def retire(self, member: Member) -> None:
        if member not in self.retired:
            self.check_replaced(member)
        self.retired.append(member)

    def examine(self, member: Member) -> None:
        if member not in self.retired:
            self.check_replaced(member)
        self.examined.append(member)

    def check_replaced(self, member: Member) -> None:
        """A worker that serves loses its seat to one that serves, or at the stop."""
        seat = self.seats[id(member)]
        if id(member) in self.served and not self.fleet.stopping:
            assert seat is not None
            assert seat.incumbent is not None
            assert seat.incumbent is not member
            assert seat.incumbent.phase is Phase.READY

    def kill(self, member: Member) -> None:
        self.killed.append(member)

    def note(self, what: str, member: Member | None = None, **fields: object) -> None:
        self.notes.append((what, member.name if member else "", fields))

    # --- what happens
    def exit(self, slot: int, how: str = "killed by SIGSEGV", *, useful: bool = False, clean: bool = False) -> None:
        self.slots[slot] = "free" if self.acknowledge else "unacked"
        self.fleet.on_exit(slot, how, self.now, useful=useful, clean=clean)

    def ready(self, *slots: int) -> None:
        for slot in slots:
            if self.fleet.members[slot].phase is Phase.STARTING:
                self.served.add(id(self.fleet.members[slot]))
            self.fleet.on_ready(slot, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.fleet.tick(self.now)

    def logged(self, what: str) -> list[dict[str, object]]:
        return [fields for name, _, fields in self.notes if name == what]

    def starting(self) -> list[int]:
        return [m.slot for m in self.fleet.members.values() if m.phase is Phase.STARTING]

    def incumbents(self) -> list[int | None]:
        return [seat.incumbent.slot if seat.incumbent else None for seat in self.fleet.seats]


def up(size: int) -> World:
    world = World(size)
    world.fleet.tick(world.now)
    world.ready(*range(size))
    return world


def test_starts_all_at_once_and_is_up_when_the_last_is_ready() -> None:
    world = World(3)
    world.fleet.tick(world.now)
    assert [m.slot for m in world.spawned] == [0, 1, 2]
    world.ready(2, 0)
    assert (world.fleet.up, world.fleet.ready) == (False, 2)
    world.ready(1)
    assert (world.fleet.up, world.fleet.ready) == (True, 3)


def test_first_start_fails_with_the_reason_of_the_worker() -> None:
    world = World(2)
    world.fleet.tick(world.now)
    world.fleet.on_failed(1, "main.py:3: ValueError: no")
    world.exit(1, "exit code 3")
    assert world.fleet.failed == "main.py:3: ValueError: no"
    world.pass_time(100)
    assert len(world.spawned) == 2, "it must not loop"


def test_first_start_fails_when_a_worker_crashes_before_it_is_ready() -> None:
    world = World(1)
    world.fleet.tick(world.now)
    world.exit(0)
    assert world.fleet.failed == "killed by SIGSEGV while it was starting the application"


def test_start_timeout_examines_then_kills_and_is_a_failure() -> None:
    world = World(1)
    world.fleet.tick(world.now)
    world.pass_time(START - 0.1)
    assert world.examined == []
    world.pass_time(0.1)
    assert (len(world.examined), world.killed) == (1, [])
    world.pass_time(EXAMINE)
    assert len(world.killed) == 1
    world.exit(0, "killed by SIGKILL")
    assert world.fleet.failed == "not ready after 60 s (start-timeout)"


def test_refused_process_is_a_failure_of_the_first_start_and_is_tried_again_later() -> None:
    world = World(1, refuse=1)
    world.fleet.tick(world.now)
    assert world.fleet.failed == f"the process cannot be started: {sys.executable}: Resource temporarily unavailable"
    world = up(1)
    world.refuse = 1
    world.exit(0, useful=True)
    assert world.logged("worker did not start")[0]["restart_in"] == pytest.approx(0.1)
    world.pass_time(0.1)
    assert world.starting() == [0]


def test_crashed_worker_is_replaced_at_once() -> None:
    world = up(2)
    world.exit(0, useful=True)
    assert world.starting() == [0]
    assert world.logged("worker crashed")[0]["how"] == "killed by SIGSEGV"
    assert world.logged("worker crashed")[0]["restart_in"] == 0


def test_dead_slot_is_used_again_only_after_its_acknowledgement() -> None:
    world = up(1)
    world.acknowledge = False
    for _ in range(3):
        (slot,) = (slot for slot in world.incumbents() if slot is not None)
        world.exit(slot, useful=True)
        world.ready(*world.starting())
    assert world.slots == ["unacked", "unacked", "unacked", "used"]
    world.exit(3, useful=True)
    assert world.starting() == []
    world.slots[1] = "free"
    world.pass_time(0.01)
    assert world.starting() == [1]


def test_back_off_grows_and_a_useful_or_long_life_ends_it() -> None:
    backoff = Backoff()
    pauses = [backoff.failed(0.0, lived=1, useful=False) for _ in range(12)]
    assert pauses[:5] == [0, 0.1, 0.2, 0.4, 0.8]
    assert pauses[-1] == BACKOFF_MAX
    assert backoff.failed(0.0, lived=1, useful=True) == 0
    assert backoff.failed(0.0, lived=1, useful=False) > 0
    assert backoff.failed(0.0, lived=30, useful=False) == 0


def test_crash_loop_waits_between_starts() -> None:
    world = up(1)
    for pause in (0, 0.1, 0.2, 0.4):
        world.exit(0)
        if pause:
            assert world.starting() == []
            assert world.fleet.next_deadline() == pytest.approx(world.now + pause)
            world.pass_time(pause)
        assert world.starting() == [0]
        world.ready(0)


def test_reload_retires_the_old_only_when_all_new_are_ready() -> None:
    world = up(2)
    assert world.fleet.reload(world.now)
    assert world.starting() == [2, 3]
    world.ready(3)
    assert world.retired == []
    world.ready(2)
    assert sorted(m.slot for m in world.retired) == [0, 1]
    assert world.incumbents() == [2, 3]
    assert [m.epoch for m in world.spawned] == [0, 0, 1, 1]
    assert world.fleet.epoch == 1
    assert not world.fleet.reloading


def test_reload_that_fails_keeps_the_old_and_says_why() -> None:
    world = up(2)
    world.fleet.reload(world.now)
    world.ready(3)
    world.fleet.on_failed(2, "main.py:1: SyntaxError")
    world.exit(2, "exit code 3")
    assert [m.slot for m in world.retired] == [3]
    assert world.incumbents() == [0, 1]
    assert world.logged("reload failed, the old workers stay") == [{"reason": "main.py:1: SyntaxError"}]
    world.exit(3, clean=True)
    assert (world.starting(), world.fleet.epoch, world.fleet.ready) == ([], 0, 2)


def test_reload_with_wrong_settings_starts_nothing() -> None:
    world = up(2)
    world.settings_are_right = False
    world.fleet.reload(world.now)
    assert (world.starting(), world.fleet.reloading) == ([], False)


def test_successor_that_is_ready_when_the_reload_fails_serves_where_the_old_one_has_died() -> None:
    world = up(2)
    world.fleet.reload(world.now)
    world.exit(0, useful=True)
    world.ready(2)
    world.fleet.on_failed(3, "no")
    world.exit(3, "exit code 3")
    assert world.incumbents() == [2, 1]
    assert world.retired == []
    (new,) = world.starting()  # with the settings of before
    assert world.fleet.members[new].epoch == 0
    world.ready(new)
    assert world.incumbents() == [new, 1]
    assert [m.slot for m in world.retired] == [2]


def test_successor_that_gets_ready_while_told_to_go_is_told_again() -> None:
    world = up(1)
    world.fleet.reload(world.now)
    (first,) = world.starting()
    world.fleet.stop()
    world.fleet.leave(world.now, world.now + GRACE)
    world.ready(first)
    assert [m.slot for m in world.retired].count(first) == 2
    assert world.incumbents() == [0]


def test_second_reload_waits_and_a_third_is_the_same() -> None:
    world = up(1)
    assert world.fleet.reload(world.now)
    assert not world.fleet.reload(world.now)
    assert not world.fleet.reload(world.now)
    world.ready(1)
    assert world.incumbents() == [1]
    (slot,) = world.starting()
    world.ready(slot)
    assert (world.starting(), len(world.logged("reload done"))) == ([], 2)


def test_second_reload_is_not_forgotten_when_the_first_fails() -> None:
    """Somebody mends the program and sends SIGHUP again while the broken one still tries to start."""
    world = up(2)
    assert world.fleet.reload(world.now)
    assert not world.fleet.reload(world.now)
    world.fleet.on_failed(2, "main.py:1: SyntaxError")
    world.exit(2, "exit code 3")
    world.exit(3, clean=True)
    assert world.fleet.reloading
    world.ready(*world.starting())
    assert len(world.logged("reload done")) == 1
    assert set(world.incumbents()).isdisjoint({0, 1})


def test_reload_before_the_first_start_is_done_waits_for_it() -> None:
    world = World(1)
    world.fleet.tick(world.now)
    assert not world.fleet.reload(world.now)
    assert world.starting() == [0]
    world.ready(0)
    assert world.starting() == [1]


def test_recycling_goes_one_at_a_time_and_waits_for_the_old_one_to_be_gone() -> None:
    world = up(3)
    for slot in range(3):
        world.fleet.recycle(slot, "max-requests", world.now)
    for slot in range(3):
        (new,) = world.starting()
        assert [m.slot for m in world.retired] == list(range(slot))
        world.ready(new)
        assert world.retired[-1].slot == slot
        assert world.starting() == []
        world.exit(slot, "exit code 0", clean=True)
    assert world.fleet.ready == 3
    assert world.starting() == []


def test_failed_replacement_keeps_the_old_one_and_is_tried_again() -> None:
    world = up(1)
    world.fleet.recycle(0, "max-memory", world.now)
    for pause in (0.0, 0.1, 0.2):
        (new,) = world.starting()
        world.exit(new)
        assert world.incumbents() == [0]
        world.pass_time(pause)
    world.ready(*world.starting())
    assert [m.slot for m in world.retired] == [0]


def test_reload_takes_over_from_a_recycling() -> None:
    world = up(2)
    world.fleet.recycle(0, "max-requests", world.now)
    (early,) = world.starting()
    world.fleet.reload(world.now)
    assert [m.slot for m in world.retired] == [early]
    world.exit(early, "exit code 0", clean=True)
    world.ready(*world.starting())
    assert world.fleet.epoch == 1
    assert sorted(m.slot for m in world.retired if m.slot < 2) == [0, 1]


def test_hung_worker_is_killed_once_replaced_and_not_before() -> None:
    world = up(2)
    world.fleet.recycle(1, "max-requests", world.now)
    world.fleet.replace_hung(0, "blocked for 60 s", world.now)
    assert len(world.starting()) == 2, "a hung worker does not wait for the recycling"
    new = world.fleet.seats[0].successor
    assert new is not None
    assert world.examined == []
    world.ready(new.slot)
    assert [m.slot for m in world.examined] == [0]
    assert world.killed == []
    world.pass_time(EXAMINE)
    assert [m.slot for m in world.killed] == [0]


def test_retiring_worker_is_examined_and_killed_after_its_grace() -> None:
    world = up(1)
    world.fleet.reload(world.now)
    world.ready(1)
    world.pass_time(GRACE - 0.1)
    assert world.examined == []
    world.pass_time(0.1)
    world.pass_time(EXAMINE)
    assert [m.slot for m in world.killed] == [0]
    world.exit(0, "killed by SIGKILL")
    assert world.logged("worker killed") == [{"why": "its grace time is over"}]
    assert world.starting() == []


def test_crash_during_the_stop_is_replaced_until_all_leave() -> None:
    world = up(2)
    world.fleet.stop()
    world.fleet.recycle(0, "max-requests", world.now)
    assert world.starting() == []
    world.exit(1, useful=True)
    assert world.starting() == [1]
    world.fleet.leave(world.now, world.now + 5)
    assert sorted(m.slot for m in world.retired) == [0, 1]
    world.exit(0, "exit code 0", clean=True)
    world.pass_time(5)
    world.pass_time(EXAMINE)
    assert [m.slot for m in world.killed] == [1]
    world.exit(1, "killed by SIGKILL")
    assert world.fleet.members == {}


def test_one_that_is_still_starting_at_the_stop_has_not_the_whole_grace_time() -> None:
    world = World(1)
    world.fleet.tick(world.now)
    world.fleet.stop()
    world.fleet.leave(world.now, world.now + GRACE)
    world.pass_time(DISCARD_GRACE)
    assert [m.slot for m in world.examined] == [0]


def test_all_fail_for_the_same_reason_and_nothing_is_signalled() -> None:
    world = World(2)
    world.fleet.tick(world.now)
    for slot in (0, 1):
        world.fleet.on_failed(slot, "no database")
    world.exit(0, "exit code 3")
    world.fleet.leave(world.now, world.now + 5)
    world.exit(1, "exit code 3")
    assert world.fleet.failed == "no database"
    assert world.retired == []
    assert [what for what, _, _ in world.notes] == ["the first start has failed"]


def test_overdue_workers_are_not_waited_for() -> None:
    world = up(2)
    world.fleet.leave(world.now, world.now + 5, {1})
    assert [m.slot for m in world.examined] == [1]
    world.pass_time(EXAMINE)
    assert [m.slot for m in world.killed] == [1]


def test_kill_all_kills_each_once() -> None:
    world = up(2)
    world.fleet.reload(world.now)
    world.fleet.kill_all()
    world.fleet.kill_all()
    assert sorted(m.slot for m in world.killed) == [0, 1, 2, 3]
    for slot in range(4):
        world.exit(slot, "killed by SIGKILL")
    assert (world.fleet.members, world.starting()) == ({}, [])


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 4))
def test_random_events_keep_the_invariants(seed: int, size: int) -> None:
    """No seat loses its ready worker by our decision (World.check_replaced), and in the end all serve."""
    rng = random.Random(seed)
    world = up(size)
    fleet = world.fleet

    def step() -> None:
        slots = list(fleet.members)
        slot = rng.choice(slots) if slots else 0
        event = rng.choice(["ready"] * 4 + ["exit", "fail", "reload", "recycle", "hung", "time", "ack", "refuse"])
        if event == "ready" and world.starting():
            world.ready(rng.choice(world.starting()))
        elif event == "exit" and slots:
            world.acknowledge = rng.random() < 0.7
            clean = fleet.members[slot].phase is Phase.RETIRING
            world.exit(slot, useful=rng.random() < 0.5, clean=clean)
        elif event == "fail" and world.starting():
            slot = rng.choice(world.starting())
            fleet.on_failed(slot, "reason")
            world.exit(slot, "exit code 3")
        elif event == "reload":
            fleet.reload(world.now)
        elif event == "recycle":
            fleet.recycle(slot, "max-requests", world.now)
        elif event == "hung":
            fleet.replace_hung(slot, "blocked", world.now)
        elif event == "time":
            world.pass_time(rng.choice([0.01, 0.1, 1, 20]))
        elif event == "ack":
            world.slots = ["free" if state == "unacked" else state for state in world.slots]
        elif event == "refuse":
            world.refuse = 1
        check()

    def check() -> None:
        assert [i for i, state in enumerate(world.slots) if state == "used"] == sorted(fleet.members)
        seated = [m for seat in fleet.seats for m in (seat.incumbent, seat.successor) if m is not None]
        assert len(seated) == len(set(map(id, seated)))
        assert all(m.seat is not None and m is fleet.members[m.slot] for m in seated)
        assert all(m.seat is None or m in seated for m in fleet.members.values())
        waiting_to_recycle = [s for s in fleet.seats if s.successor and not fleet.reloading and s.incumbent]
        assert sum(not s.incumbent.hung for s in waiting_to_recycle if s.incumbent) <= 1

    for _ in range(150):
        step()
    world.refuse, world.acknowledge = 0, True
    for _ in range(60):  # calm: everything that starts gets ready, whoever is told to go goes
        world.slots = ["free" if state == "unacked" else state for state in world.slots]
        for slot in list(fleet.members):
            member = fleet.members.get(slot)
            if member is not None and (member.phase is Phase.RETIRING or member.killed):
                world.exit(slot, "exit code 0", clean=True)
        world.ready(*world.starting())
        world.pass_time(BACKOFF_MAX)
        check()
    assert fleet.ready == size
    assert len(fleet.members) == size
    assert not fleet.reloading

"""What the supervisor makes of the numbers in the segment; time and numbers are made up here."""

from __future__ import annotations

from typing import Any

from evpy.server.watchdog import (
    ASK_AFTER,
    BLIND,
    READ_AFTER,
    Action,
    Ask,
    Freeze,
    Log,
    Recover,
    Replace,
    Watchdog,
)

LIMIT, KILL = 5.0, 60.0


def info(*blocked_for: float, tick: int = 7, generation: int = 1, heartbeat_age: float | None = 0.1) -> dict[str, Any]:
    threads = [{"index": i, "tick": tick, "blocked_for": seconds} for i, seconds in enumerate(blocked_for)]
    return {"generation": generation, "heartbeat_age": heartbeat_age, "threads": threads}


class Clock:
    """Looks at slot 0 as the supervisor does, every quarter of a second at the latest."""

    def __init__(self, dog: Watchdog) -> None:
        self.dog, self.now = dog, 100.0

    def look(self, numbers: dict[str, Any], after: float = 0.25) -> list[Action]:
        self.now += after
        self.dog.begin(self.now)
        return self.dog.look(0, numbers, self.now)


def test_a_thread_that_comes_round_is_left_alone() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(0.0, 4.9)) == []
    assert clock.look(info(0.0, 0.0, tick=8)) == []


def test_the_worker_reports_by_itself_and_is_not_asked() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(LIMIT)) == []
    clock.dog.reported(0, 0, 7)
    assert clock.look(info(LIMIT + ASK_AFTER)) == []
    assert clock.look(info(KILL - 1)) == []


def test_without_a_report_the_process_is_asked_once_and_logged_once() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(LIMIT, LIMIT)) == []
    assert clock.look(info(LIMIT + ASK_AFTER, LIMIT + 0.2)) == [Ask(0, (0, 1))]
    assert clock.look(info(LIMIT + 0.6, LIMIT + 0.3), READ_AFTER / 2) == []
    (log,) = clock.look(info(LIMIT + 1, LIMIT + 0.7), READ_AFTER)
    assert isinstance(log, Log)
    assert log.threads == (0, 1)
    assert log.seconds >= LIMIT
    assert clock.look(info(LIMIT + 10, LIMIT + 10)) == []


def test_stacks_that_were_asked_for_are_logged_although_the_thread_has_come_round_since() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(LIMIT + ASK_AFTER)) == [Ask(0, (0,))]
    log, recover = clock.look(info(0.0, tick=8), READ_AFTER)
    assert isinstance(log, Log)
    assert isinstance(recover, Recover)
    assert clock.look(info(0.0, tick=9)) == []


def test_a_report_that_comes_after_the_question_is_enough() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(LIMIT + ASK_AFTER)) == [Ask(0, (0,))]
    clock.dog.reported(0, 0, 7)
    assert clock.look(info(LIMIT + 1), READ_AFTER) == []


def test_blocking_again_is_news() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    clock.look(info(LIMIT))
    clock.dog.reported(0, 0, 7)
    assert clock.look(info(0.0, tick=8)) == []
    assert clock.look(info(LIMIT + ASK_AFTER, tick=9)) == [Ask(0, (0,))]


def test_above_the_hard_limit_the_process_is_replaced_once() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    clock.look(info(LIMIT))
    clock.dog.reported(0, 0, 7)
    (replace,) = clock.look(info(KILL))
    assert isinstance(replace, Replace)
    assert "blocked for 60.0 s" in replace.why
    assert clock.look(info(KILL + 1)) == []


def test_nothing_is_replaced_before_it_is_in_the_log() -> None:
    clock = Clock(Watchdog(LIMIT, LIMIT))
    assert clock.look(info(LIMIT + ASK_AFTER)) == [Ask(0, (0,))]
    log, replace = clock.look(info(LIMIT + 1), READ_AFTER)
    assert isinstance(log, Log)
    assert isinstance(replace, Replace)


def test_a_process_that_does_not_run_is_frozen_and_later_replaced() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    assert clock.look(info(4.0, heartbeat_age=4.0)) == []
    (freeze,) = clock.look(info(LIMIT + 1, heartbeat_age=LIMIT))
    assert isinstance(freeze, Freeze)
    assert clock.look(info(LIMIT + 2, heartbeat_age=LIMIT + 1)) == []  # it could not answer
    (replace,) = clock.look(info(0.0, heartbeat_age=KILL))
    assert isinstance(replace, Replace)


def test_a_process_that_runs_again_is_reported() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    clock.look(info(0.0, heartbeat_age=LIMIT + 2))
    assert clock.look(info(0.0)) == [Recover(0, LIMIT + 2)]
    assert clock.look(info(0.0)) == []


def test_before_the_first_heart_beat_nothing_is_wrong() -> None:
    assert Clock(Watchdog(LIMIT, KILL)).look(info(heartbeat_age=None)) == []


def test_numbers_are_not_believed_after_a_pause_of_our_own() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    clock.look(info(0.0))
    assert clock.dog.trusts(clock.now)
    assert clock.look(info(100.0, heartbeat_age=100.0), after=100.0) == []
    assert not clock.dog.trusts(clock.now)
    assert clock.look(info(0.0, tick=8), after=BLIND - 0.1) == []
    (freeze, replace) = clock.look(info(0.0, tick=8, heartbeat_age=100.0), after=0.2)
    assert isinstance(freeze, Freeze)
    assert isinstance(replace, Replace)


def test_limits_of_zero_switch_it_off() -> None:
    off = Clock(Watchdog(0.0, 0.0))
    assert off.look(info(1000.0, heartbeat_age=1000.0)) == []
    no_kill = Clock(Watchdog(LIMIT, 0.0))
    no_kill.look(info(LIMIT))
    no_kill.dog.reported(0, 0, 7)
    assert no_kill.look(info(10_000.0)) == []
    only_kill = Clock(Watchdog(0.0, KILL))
    assert only_kill.look(info(KILL - 1)) == []
    assert only_kill.look(info(KILL + ASK_AFTER)) == [Ask(0, (0,))]
    assert [type(action) for action in only_kill.look(info(KILL + 1), READ_AFTER)] == [Log, Replace]


def test_the_next_process_in_the_slot_starts_afresh() -> None:
    clock = Clock(Watchdog(LIMIT, KILL))
    clock.look(info(LIMIT))
    clock.dog.reported(0, 0, 7)
    clock.look(info(KILL))
    clock.dog.forget(0)
    assert clock.look(info(KILL, generation=2)) == [Ask(0, (0,))]

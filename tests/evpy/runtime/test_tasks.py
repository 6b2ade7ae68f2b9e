"""Concurrency within one hub."""

from __future__ import annotations

import contextvars
import gc
import weakref

import gevent
import gevent.event
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import DeadlineExceeded
from evpy.runtime.tasks import gather, sleep, spawn, timeout

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


class Boom(Exception):
    pass


@pytest.fixture
def reported(monkeypatch):
    """What the hub reports about greenlets that fail."""
    errors = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda _context, _kind, value, _tb: errors.append(value))
    return errors


def forever():
    gevent.event.Event().wait(3600)


# ---------------------------------------------------------------- spawn, sleep


def test_spawn_runs_with_its_arguments_when_the_caller_waits():
    seen = []
    task = spawn(lambda *args, **kwargs: seen.append((args, kwargs)) or "value", 1, a=2)
    assert isinstance(task, gevent.Greenlet)
    assert seen == []
    assert task.get() == "value"
    assert seen == [((1,), {"a": 2})]


def test_spawn_inherits_contextvars_and_keeps_its_own_changes():
    def look():
        before = variable.get()
        variable.set("inner")
        return before

    token = variable.set("outer")
    try:
        task = spawn(look)
        variable.set("later")
        assert task.get() == "outer"
        assert variable.get() == "later"
    finally:
        variable.reset(token)


def test_sleep_zero_lets_each_other_greenlet_run_once():
    seen = []
    for number in range(3):
        spawn(seen.append, number)
    sleep(0)
    assert seen == [0, 1, 2]


@pytest.mark.parametrize("function", [sleep, timeout])
@pytest.mark.parametrize("seconds", [-1, -0.001, float("nan"), float("inf")])
def test_impossible_durations_are_refused(function, seconds):
    with pytest.raises(ValueError, match="seconds must be 0 or more, and finite"):
        function(seconds)


@pytest.mark.parametrize("seconds", ["x", [], 1j])
def test_what_is_no_duration_is_named_with_its_function(seconds):
    for function, name in ((sleep, "sleep"), (timeout, "timeout")):
        with pytest.raises(TypeError, match=rf"^{name}\(.*\): seconds must be a number, not {type(seconds).__name__}$"):
            function(seconds)
    with pytest.raises(TypeError, match=r"^sleep\(None\): seconds must be a number, not NoneType$"):
        sleep(None)


def test_sleep_takes_fractions_of_a_second(monkeypatch):
    slept = []
    monkeypatch.setattr(gevent, "sleep", slept.append)
    sleep(0.25)
    sleep()
    assert slept == [0.25, 0.0]


# ---------------------------------------------------------------- gather


def test_gather_returns_results_in_order_whatever_the_order_of_ends():
    ends = []

    def call(number):
        for _ in range(10 - number):
            sleep(0)
        ends.append(number)
        return number * 10

    assert gather(*[lambda n=n: call(n) for n in range(5)]) == [0, 10, 20, 30, 40]
    assert ends == [4, 3, 2, 1, 0]


def test_gather_of_nothing():
    assert gather() == []


def test_gather_runs_all_at_once():
    barrier = [gevent.event.Event() for _ in range(3)]

    def call(number):
        barrier[number].set()
        return all(each.wait(3600) for each in barrier)

    assert gather(*[lambda n=n: call(n) for n in range(3)]) == [True, True, True]


@given(total=st.integers(0, 12), limit=st.integers(1, 14), steps=st.lists(st.integers(0, 4), min_size=12, max_size=12))
def test_gather_never_exceeds_its_limit_and_uses_it(total, limit, steps):
    running = most = 0

    def call(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        for _ in range(steps[number]):
            sleep(0)
        running -= 1
        return number

    assert gather(*[lambda n=n: call(n) for n in range(total)], limit=limit) == list(range(total))
    assert most <= limit
    if all(steps[:total]):
        assert most == min(limit, total)


def test_the_first_exception_cancels_the_rest_waits_for_them_and_is_raised_itself():
    error = Boom("first")
    log = []

    def fail():
        sleep(0)
        raise error

    def clean_up_slowly():
        try:
            forever()
        finally:
            sleep(0)
            sleep(0)
            log.append("cleaned up")

    with pytest.raises(Boom) as caught:
        gather(clean_up_slowly, fail, clean_up_slowly)
    assert caught.value is error
    assert log == ["cleaned up", "cleaned up"]


def test_calls_that_have_not_begun_never_begin():
    begun = []

    def fail():
        raise Boom

    with pytest.raises(Boom):
        gather(fail, lambda: begun.append(1), lambda: begun.append(2), limit=1)
    with pytest.raises(Boom):
        gather(fail, forever, lambda: begun.append(3), limit=2)
    sleep(0)
    sleep(0)
    assert begun == []


def test_nothing_is_reported_when_the_failure_is_raised(reported):
    def fail():
        raise Boom

    with pytest.raises(Boom):
        gather(fail, forever)
    assert reported == []


def test_a_second_failure_is_reported_and_does_not_hide_the_first(reported):
    second = Boom("second")

    def fail():
        raise Boom("first")

    def fail_in_clean_up():
        try:
            forever()
        finally:
            raise second

    with pytest.raises(Boom, match="first"):
        gather(fail_in_clean_up, lambda: (sleep(0), fail()))
    assert reported == [second]


def test_of_two_failures_at_once_the_first_is_raised_and_the_second_reported(reported):
    first, second = Boom("first"), Boom("second")

    def fail(error):
        raise error

    with pytest.raises(Boom) as caught:
        gather(lambda: fail(first), lambda: fail(second))
    assert caught.value is first
    assert reported == [second]


def test_a_call_that_ends_while_the_others_are_cancelled_starts_no_further_one():
    begun = []

    def child():
        try:
            forever()
        finally:
            sleep(0)

    caller = spawn(gather, child, lambda: begun.append(1), limit=1)
    sleep(0)
    sleep(0)
    caller.kill()
    sleep(0)
    assert begun == []


def test_return_exceptions_puts_them_in_place_and_disturbs_nobody():
    error = Boom()

    def fail():
        raise error

    def late():
        for _ in range(5):
            sleep(0)
        return "late"

    assert gather(late, fail, lambda: 3, return_exceptions=True) == ["late", error, 3]


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, gevent.GreenletExit])
def test_what_is_no_exception_is_raised_even_so(kind):
    error = kind()

    def leave():
        raise error

    with pytest.raises(kind) as caught:
        gather(forever, leave, return_exceptions=True)
    assert caught.value is error


def gather_in_greenlet(log):
    def child(number):
        try:
            forever()
        finally:
            sleep(0)
            log.append(number)

    return spawn(gather, lambda: child(1), lambda: child(2))


def test_a_killed_caller_takes_its_calls_along_and_waits_for_them():
    log = []
    caller = gather_in_greenlet(log)
    sleep(0)
    sleep(0)
    caller.kill()
    assert sorted(log) == [1, 2]


def test_a_timeout_of_the_caller_cancels_the_calls():
    log = []

    def child():
        try:
            forever()
        finally:
            sleep(0)
            log.append("ended")

    with pytest.raises(DeadlineExceeded), timeout(0.01):
        gather(child, child)
    assert log == ["ended", "ended"]


def test_a_second_interruption_passes_at_once():
    release = gevent.event.Event()
    log = []

    def stubborn():
        try:
            forever()
        finally:
            release.wait(3600)
            log.append("ended")

    caller = spawn(gather, stubborn)
    sleep(0)
    sleep(0)
    caller.kill(block=False)
    sleep(0)
    sleep(0)
    assert not caller.dead
    caller.kill()
    assert caller.dead
    assert log == []
    release.set()
    sleep(0)
    sleep(0)
    assert log == ["ended"]


@pytest.mark.parametrize("limit", [None, 1, 2])
def test_each_call_has_its_own_copy_of_the_callers_context(limit):
    def call(value):
        before = variable.get()
        variable.set(value)
        sleep(0)
        return before, variable.get()

    token = variable.set("outer")
    try:
        got = gather(lambda: call("a"), lambda: call("b"), lambda: call("c"), limit=limit)
        assert got == [("outer", "a"), ("outer", "b"), ("outer", "c")]
        assert variable.get() == "outer"
    finally:
        variable.reset(token)


def test_gather_refuses_what_it_cannot_call_before_it_calls_anything():
    begun = []
    with pytest.raises(TypeError, match="argument 2 is int; wrap a call"):
        gather(lambda: begun.append(1), 3)
    with pytest.raises(ValueError, match="limit=0"):
        gather(lambda: begun.append(1), limit=0)
    sleep(0)
    assert begun == []


def test_a_failed_gather_leaves_no_cycle_behind():
    class Marker(Exception):
        pass

    def fail():
        raise Marker

    gc.collect()
    gc.disable()
    try:
        try:
            gather(fail, lambda: 1)
        except Marker as error:
            reference = weakref.ref(error)
        sleep(0)
        assert reference() is None
    finally:
        gc.enable()


# ---------------------------------------------------------------- timeout


def test_a_block_in_time_is_left_alone():
    with timeout(3600) as limit:
        sleep(0)
    assert not limit.expired
    with timeout(None):
        sleep(0)


def test_a_block_out_of_time_raises_deadline_exceeded_with_the_place():
    def waiting_place():
        forever()

    with (
        pytest.raises(DeadlineExceeded, match=r"the time limit of 0\.001 s is over") as caught,
        timeout(0.001) as limit,
    ):
        waiting_place()
    assert limit.expired
    assert isinstance(caught.value, TimeoutError)
    assert "waiting_place" in [entry.name for entry in caught.traceback]
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_block_cannot_swallow_its_limit_by_accident():
    tries = []

    def retry():
        while len(tries) < 100:
            tries.append(1)
            try:
                forever()
            except Exception:  # noqa: BLE001
                continue

    with pytest.raises(DeadlineExceeded), timeout(0):
        retry()
    assert tries == [1]


def test_the_outer_limit_passes_through_the_inner_with():
    inner = timeout(3600)

    def block():
        with inner:
            forever()
        pytest.fail("the outer limit is over")

    with pytest.raises(DeadlineExceeded) as caught, timeout(0) as outer:
        block()
    assert outer.expired
    assert not inner.expired
    assert "limit of 0 s" in str(caught.value)


def test_the_inner_limit_is_no_concern_of_the_outer():
    with timeout(3600) as outer:
        with pytest.raises(DeadlineExceeded), timeout(0) as inner:
            forever()
        sleep(0)
    assert inner.expired
    assert not outer.expired


def test_limits_of_other_people_are_not_taken_for_our_own():
    foreign = gevent.Timeout(0)
    with pytest.raises(gevent.Timeout) as caught, timeout(3600) as limit:
        foreign.start() or forever()
    assert caught.value is foreign
    assert not limit.expired
    foreign.close()


def test_other_exceptions_pass():
    def block():
        sleep(0)
        raise Boom

    with pytest.raises(Boom), timeout(3600):
        block()


def test_a_limit_ends_with_its_block():
    with timeout(0):
        pass
    sleep(0.001)


def test_a_limit_can_be_used_again_but_not_within_itself():
    limit = timeout(0)
    for _ in range(2):
        with pytest.raises(DeadlineExceeded), limit:
            forever()
    limit = timeout(3600)
    with limit:
        assert not limit.expired
        with pytest.raises(RuntimeError, match="in use already"), limit:
            pass


def test_limits_hold_for_gather_and_for_each_of_its_calls():
    def slow():
        with timeout(0):
            forever()

    first, second = gather(slow, lambda: 2, return_exceptions=True)
    assert isinstance(first, DeadlineExceeded)
    assert second == 2

"""Background tasks, singletons and periodic timers."""

from __future__ import annotations

import contextvars
import logging
import threading

import gevent
import gevent.event
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.runtime import background as module
from evpy.runtime.background import background, every, next_turn, running, stop_all
from evpy.runtime.handles import CancelledError
from evpy.runtime.tasks import spawn, timeout

LIMIT = 60  # seconds
variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


@pytest.fixture(autouse=True)
def _all_stopped():
    yield
    assert stop_all(LIMIT) == ()
    assert running() == ()
    assert module._registry.named == {}


def forever():
    gevent.event.Event().wait(3600)


def settle():
    for _ in range(5):
        gevent.sleep(0)


# ---------------------------------------------------------------- background


def test_a_background_task_gets_its_arguments_and_returns_its_value():
    task = background(lambda *args, **kwargs: (args, kwargs), 1, a=2)
    assert running() == (task,)
    assert task.result(LIMIT) == ((1,), {"a": 2})
    assert running() == ()


def test_it_outlives_the_greenlet_that_started_it_and_its_time_limit():
    started = []

    def request():
        with timeout(3600):
            started.append(background(forever))

    request_task = spawn(request)
    request_task.join()
    request_task.kill()
    settle()
    assert not started[0].done()


def test_nothing_of_the_callers_context_follows_it():
    token = variable.set("request")
    try:
        assert background(variable.get).result(LIMIT) == "unset"
        seen = []
        every(0.001, lambda: seen.append(variable.get()), immediate=True)
        settle()
        assert seen[0] == "unset"
    finally:
        variable.reset(token)


def test_a_name_makes_it_a_singleton_until_it_has_ended():
    release = gevent.event.Event()
    started = []

    def work(which):
        started.append(which)
        release.wait()

    first = background(work, "first", name="worker")
    assert background(work, "second", name="worker") is first
    settle()
    assert background(work, "third", name="worker") is first
    assert background(work, "other", name="other") is not first
    settle()
    assert started == ["first", "other"]
    release.set()
    first.wait(LIMIT)
    again = background(work, "again", name="worker")
    assert again is not first
    assert again.result(LIMIT) is None
    assert started == ["first", "other", "again"]


def test_tasks_without_a_name_are_many():
    assert background(forever) is not background(forever)
    assert [task.name for task in running()] == ["forever", "forever"]


def test_a_name_is_one_per_process_not_per_hub():
    start, all_have_it = threading.Barrier(4), threading.Barrier(4)
    found = []

    def take_part():
        start.wait(LIMIT)
        task = background(forever, name="one")
        found.append(task)
        all_have_it.wait(LIMIT)
        task.cancel()
        task.wait(LIMIT)

    def worker():
        take_part()
        gevent.get_hub().destroy(destroy_loop=True)

    threads = [threading.Thread(target=worker) for _ in range(3)]
    for thread in threads:
        thread.start()
    take_part()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_an_exception_is_logged_once_and_raised_by_result(caplog):
    def fail():
        raise ValueError("broken")

    task = background(fail, name="job")
    assert task.wait(LIMIT)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("evpy.background", logging.ERROR)
    assert record.getMessage() == "background task 'job' failed; the task has ended"
    assert record.exc_info[2].tb_frame.f_code.co_name == "fail"
    with pytest.raises(ValueError, match="broken"):
        task.result()
    assert background(forever, name="job").done() is False


def test_an_exception_that_is_logged_is_not_logged_again_when_the_handle_goes(caplog):
    task = background(lambda: 1 / 0)
    task.wait(LIMIT)
    task.__del__()  # at the will of the collector otherwise, and the record's traceback keeps the handle
    assert len(caplog.records) == 1


def test_sys_exit_ends_the_task_only_and_is_logged(caplog):
    def leave():
        raise SystemExit(3)

    background(leave, name="job").wait(LIMIT)
    settle()
    assert [record.getMessage() for record in caplog.records] == [
        "background task 'job' called sys.exit(3); the task has ended"
    ]


def test_a_cancelled_task_is_not_an_error(caplog):
    task = background(forever)
    settle()
    assert task.cancel()
    with pytest.raises(CancelledError):
        task.result(LIMIT)
    assert caplog.records == []
    assert running() == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: background(3), r"background\(\) needs a function to call, and int cannot be called"),
        (lambda: background(forever, name=3), r"background\(name=...\): the name is a str, not int"),
        (lambda: every(1, None), r"every\(\) needs a function to call, and NoneType"),
        (lambda: every(1, forever, name=b"x"), r"every\(name=...\): the name is a str, not bytes"),
    ],
)
def test_wrong_types_are_refused(call, message):
    with pytest.raises(TypeError, match=message):
        call()
    assert running() == ()


# ---------------------------------------------------------------- every


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self):
        self.now = 1000.0
        self.slept = []

    def clock(self):
        return self.now

    def sleep(self, seconds):
        self.slept.append(seconds)
        self.now += seconds
        gevent.sleep(0)


@pytest.fixture
def fake_time(monkeypatch):
    fake = Time()
    monkeypatch.setattr(module, "_clock", fake.clock)
    monkeypatch.setattr(module, "_sleep", fake.sleep)
    return fake


def run_times(number, fake, seconds, work=lambda: None, **options):
    """Start a timer that ends with run `number`; when its runs began, in seconds since the start."""
    began = []
    start = fake.now

    def run():
        began.append(round(fake.now - start, 6))
        if len(began) == number:
            timer.cancel()
            return
        work()

    timer = every(seconds, run, **options)
    assert timer.wait(LIMIT)
    return began, timer


def test_runs_come_every_so_many_seconds_first_after_one_period(fake_time):
    began, timer = run_times(3, fake_time, 10)
    assert began == [10, 20, 30]
    assert (timer.runs, timer.failures, timer.skipped) == (3, 0, 0)


def test_or_at_once(fake_time):
    assert run_times(3, fake_time, 10, immediate=True)[0] == [0, 10, 20]


def test_the_time_a_run_takes_does_not_add_up(fake_time):
    assert run_times(4, fake_time, 10, lambda: fake_time.sleep(3.5))[0] == [10, 20, 30, 40]


def test_missed_runs_are_skipped_and_never_overlap(fake_time):
    began, timer = run_times(3, fake_time, 10, lambda: fake_time.sleep(25))
    assert began == [10, 40, 70]
    assert timer.skipped == 4


def test_jitter_delays_a_run_but_not_the_schedule(fake_time, monkeypatch):
    delays = iter([3.0, 0.0, 1.0])
    monkeypatch.setattr(module.random, "uniform", lambda low, high: (low, high) == (0.0, 5) and next(delays))
    assert run_times(3, fake_time, 10, jitter=5)[0] == [13, 20, 31]
    delays = iter([3.0, 2.0])
    assert run_times(3, fake_time, 10, jitter=5, immediate=True)[0] == [0, 13, 22]


def test_a_failing_run_is_logged_and_the_timer_goes_on(fake_time, caplog):
    def fail():
        raise ValueError("broken")

    began, timer = run_times(3, fake_time, 10, fail, name="tick")
    assert began == [10, 20, 30]
    assert timer.failures == 2
    assert [record.getMessage() for record in caplog.records] == [
        "background task 'tick' failed; it will run again"
    ] * 2
    assert caplog.records[0].exc_info[2].tb_frame.f_code.co_name == "run"


def test_sys_exit_in_a_run_ends_the_timer(fake_time, caplog):
    def leave():
        raise SystemExit

    timer = every(10, leave, name="tick")
    assert timer.wait(LIMIT)
    assert timer.runs == 1
    assert [r.getMessage() for r in caplog.records] == [
        "background task 'tick' called sys.exit(None); the task has ended"
    ]


@given(turn=st.integers(0, 10**6), elapsed=st.floats(0, 10**7), seconds=st.floats(0.001, 10**5))
def test_the_next_run_is_the_first_not_yet_due(turn, elapsed, seconds):
    following = next_turn(turn, elapsed, seconds)
    assert following > turn
    if following > turn + 1:
        assert following * seconds >= elapsed * (1 - 1e-12)
        assert (following - 1) * seconds < elapsed * (1 + 1e-12)


def test_cancelling_ends_a_waiting_timer_and_a_run_in_progress():
    waiting = every(3600, forever)
    ended = []

    def run():
        try:
            forever()
        finally:
            ended.append(1)

    busy = every(3600, run, immediate=True)
    settle()
    for timer in (waiting, busy):
        assert timer.cancel()
        assert timer.wait(LIMIT)
    assert ended == [1]
    assert waiting.runs == 0


def test_a_timer_that_cancels_itself_finishes_its_run(fake_time):
    log = []

    def run():
        timer.cancel()
        settle()
        log.append("finished")

    timer = every(1, run)
    assert timer.wait(LIMIT)
    assert log == ["finished"]
    assert timer.runs == 1


def test_a_timer_that_cancelled_itself_can_still_be_stopped():
    def run():
        timer.cancel()
        forever()

    timer = every(1, run, immediate=True)
    settle()
    assert stop_all(LIMIT) == ()
    assert timer.done()


def test_a_run_that_swallows_its_cancellation_is_the_last():
    def run():
        try:
            forever()
        except gevent.GreenletExit:
            return

    timer = every(0.001, run, immediate=True)
    settle()
    timer.cancel()
    assert timer.wait(LIMIT)
    assert timer.runs == 1


def test_timers_and_tasks_share_their_names():
    timer = every(3600, forever, name="one")
    assert every(1, forever, name="one") is timer
    assert background(forever, name="one") is timer


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": 0}, r"every\(0\): the period must be more than 0 seconds, and finite"),
        ({"seconds": -1}, "must be more than 0"),
        ({"seconds": float("nan")}, "must be more than 0"),
        ({"seconds": float("inf")}, "must be more than 0"),
        ({"seconds": 1, "jitter": -1}, r"every\(jitter=-1\): jitter must be 0 seconds or more"),
        ({"seconds": 1, "jitter": float("nan")}, "jitter must be"),
    ],
)
def test_impossible_periods_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        every(fn=forever, **arguments)
    assert running() == ()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seconds": "x"}, r"^every\('x'\): must be a number of seconds, not str$"),
        ({"seconds": 1, "jitter": None}, r"^every\(jitter=None\): must be a number of seconds, not NoneType$"),
    ],
)
def test_what_is_no_period_is_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        every(fn=forever, **arguments)
    assert running() == ()


# ---------------------------------------------------------------- stop_all


def test_stopping_lets_every_task_of_every_hub_clean_up():
    log = []
    started = threading.Semaphore(0)

    def work(which):
        try:
            started.release()
            forever()
        finally:
            gevent.sleep(0)
            log.append(which)

    def worker():
        background(work, "there").wait(LIMIT)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=worker)
    thread.start()
    assert started.acquire(timeout=LIMIT)
    background(work, "here")
    timer = every(3600, forever)
    settle()
    assert stop_all(LIMIT) == ()
    thread.join(LIMIT)
    assert sorted(log) == ["here", "there"]
    assert timer.done()


def test_tasks_that_do_not_end_are_named_forgotten_and_returned(caplog):
    release = gevent.event.Event()

    def stubborn():
        while not release.is_set():
            try:
                release.wait()
            except gevent.GreenletExit:
                continue

    task = background(stubborn, name="mule")
    settle()
    assert stop_all(0.01) == (task,)
    assert [r.getMessage() for r in caplog.records] == ["1 background task(s) did not end within 0.01 s: 'mule'"]
    assert stop_all(LIMIT) == ()
    assert background(forever, name="mule") is not task
    release.set()
    assert task.wait(LIMIT)


def test_a_task_may_stop_all_the_others():
    other = background(forever)
    stopper = background(stop_all, LIMIT)
    assert stopper.result(LIMIT) == ()
    assert other.done()


def test_tasks_started_by_the_clean_up_are_stopped_too():
    later = []

    def work():
        try:
            forever()
        finally:
            later.append(background(forever))

    background(work)
    settle()
    assert stop_all(LIMIT) == ()
    assert later[0].done()


def test_the_task_of_a_hub_that_is_gone_does_not_hold_up_the_stop():
    tasks = []

    def worker():
        tasks.append(background(forever))
        gevent.sleep(0)
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=worker)
    thread.start()
    thread.join(LIMIT)
    assert stop_all(LIMIT) == ()
    assert tasks[0].done()

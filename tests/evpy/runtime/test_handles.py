"""Results that cross threads."""

from __future__ import annotations

import contextvars
import gc
import logging
import threading
from contextlib import contextmanager

import gevent
import gevent.event
import pytest

from evpy.errors import DeadlineExceeded
from evpy.runtime.handles import CancelledError, Handle, Latch, drop_frames

LIMIT = 60  # seconds


class Boom(Exception):
    pass


@contextmanager
def hub_thread(main):
    """A thread with its own hub, in which `main` runs."""
    failures = []

    def run():
        try:
            main()
        except BaseException as error:  # noqa: BLE001
            failures.append(error)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert failures == []


def begin(call, name="call"):
    handle = Handle(call, contextvars.copy_context(), name)
    handle.start(gevent.get_hub())
    return handle


# ---------------------------------------------------------------- Latch


def test_a_latch_wakes_greenlets_of_every_thread():
    latch = Latch()
    parked = [threading.Semaphore(0) for _ in range(2)]
    woken = []

    def wait_in_three_greenlets(which):
        def one():
            woken.append(latch.wait(LIMIT))

        greenlets = [gevent.spawn(one) for _ in range(3)]
        gevent.sleep(0)
        parked[which].release()
        gevent.joinall(greenlets)

    with hub_thread(lambda: wait_in_three_greenlets(0)), hub_thread(lambda: wait_in_three_greenlets(1)):
        for semaphore in parked:
            semaphore.acquire()
        assert not latch
        latch.set()
    assert woken == [True] * 6
    assert latch


def test_a_latch_that_is_up_stays_up():
    latch = Latch()
    latch.set()
    latch.set()
    assert latch.wait()
    assert latch.wait(0)


def test_waiting_for_a_latch_lets_other_greenlets_run():
    latch = Latch()
    gevent.spawn(latch.set)
    assert latch.wait(LIMIT)


def test_waiting_has_its_limit():
    latch = Latch()
    assert not latch.wait(0)
    assert not latch.wait(-1)
    assert not latch.wait(0.001)


def test_a_wait_can_be_interrupted_and_leaves_no_trace():
    latch = Latch()
    waiting = gevent.spawn(latch.wait)
    gevent.sleep(0)
    waiting.kill()
    assert latch._watchers == []
    latch.set()

    latch = Latch()
    foreign = gevent.Timeout.start_new(0)
    with pytest.raises(gevent.Timeout) as caught:
        latch.wait(LIMIT)
    assert caught.value is foreign
    foreign.close()


def test_no_wake_up_is_lost_when_setting_races_waiting():
    for _ in range(300):
        latch = Latch()
        start = threading.Barrier(2)

        def setter(latch=latch, start=start):
            start.wait()
            latch.set()

        thread = threading.Thread(target=setter)
        thread.start()
        start.wait()
        assert latch.wait(LIMIT)
        thread.join()


class Meddler:
    """The lock of a latch, set by somebody else at the worst moment: just before or just after a waiter holds it."""

    def __init__(self, latch, moment):
        self.latch, self.moment, self.lock = latch, moment, latch._lock

    def meddle(self, moment):
        if moment == self.moment:
            self.moment = ""
            self.latch.set()

    def __enter__(self):
        self.meddle("before")
        self.lock.acquire()

    def __exit__(self, *_):
        self.lock.release()
        self.meddle("after")


@pytest.mark.parametrize("moment", ["before", "after"])
def test_no_wake_up_is_lost_at_the_worst_moment(moment):
    gevent.sleep(0)
    latch = Latch()
    latch._lock = Meddler(latch, moment)
    with gevent.Timeout(LIMIT / 10):
        assert latch.wait()


def test_waiters_that_give_up_while_the_latch_is_set_do_no_harm():
    latches = [Latch() for _ in range(300)]

    def setter():
        for latch in latches:
            latch.set()

    with hub_thread(setter):
        for latch in latches:
            latch.wait(0.0001)
    assert all(latches)


# ---------------------------------------------------------------- Handle


def test_a_value_arrives():
    handle = begin(lambda: "value")
    assert not handle.done()
    assert handle.result() == handle.get() == "value"
    assert handle.exception() is None
    assert handle.done()


@pytest.mark.parametrize("error", [Boom(), SystemExit(3), gevent.GreenletExit(), gevent.Timeout()])
def test_an_exception_arrives_as_the_same_object(error):
    def fail():
        raise error

    handle = begin(fail)
    with pytest.raises(type(error)) as caught:
        handle.result()
    assert caught.value is error
    assert handle.exception() is error


def test_the_traceback_begins_in_the_users_code():
    def fail():
        raise Boom

    error = begin(fail).exception()
    assert error is not None
    assert error.__traceback__ is not None
    assert error.__traceback__.tb_frame.f_code.co_name == "fail"


def test_an_error_in_a_builtin_has_no_frames():
    error = begin(iter([]).__next__).exception()
    assert isinstance(error, StopIteration)
    assert error.__traceback__ is None
    drop_frames(error, 1)
    assert error.__traceback__ is None


def test_a_keyboard_interrupt_also_reaches_the_main_greenlet(monkeypatch):
    passed_on = []
    monkeypatch.setattr(gevent.get_hub(), "handle_error", lambda _context, kind, *_: passed_on.append(kind))

    def interrupted():
        raise KeyboardInterrupt

    handle = begin(interrupted)
    assert isinstance(handle.exception(), KeyboardInterrupt)
    gevent.sleep(0)
    assert passed_on == [KeyboardInterrupt]


def test_results_have_a_limit():
    handle = begin(gevent.event.Event().wait, "endless")
    with pytest.raises(DeadlineExceeded, match=r"^endless has not ended within 0\.001 s$"):
        handle.result(0.001)
    assert not handle.wait(0.001)
    handle.cancel()
    assert handle.wait(LIMIT)


def test_cancelling_a_call_that_has_not_begun():
    begun = []
    handle = Handle(lambda: begun.append(1), contextvars.copy_context(), "call")
    assert handle.cancel()
    with pytest.raises(CancelledError):
        handle.result()
    handle.start(gevent.get_hub())
    gevent.sleep(0)
    assert begun == []
    assert not handle.cancel()


def test_cancelling_a_call_between_its_start_and_its_first_step():
    begun = []
    handle = begin(lambda: begun.append(1))
    handle._greenlet.kill(block=False)
    with pytest.raises(CancelledError):
        handle.result(LIMIT)
    assert begun == []


def test_cancelling_a_running_call_from_another_thread():
    running, cleaned = threading.Event(), []
    handles = []

    def call():
        try:
            running.set()
            gevent.sleep(3600)
        finally:
            cleaned.append(threading.current_thread())

    def main():
        handles.append(begin(call))
        handles[0].wait()

    with hub_thread(main) as thread:
        running.wait()
        assert handles[0].cancel()
        with pytest.raises(CancelledError):
            handles[0].result(LIMIT)
    assert cleaned == [thread]


def test_a_call_may_refuse_to_be_cancelled():
    def call():
        try:
            gevent.sleep(3600)
        except gevent.GreenletExit:
            return "finished my work"

    handle = begin(call)
    gevent.sleep(0)
    handle.cancel()
    assert handle.result(LIMIT) == "finished my work"


def test_the_call_of_a_destroyed_hub_has_ended():
    handles = []

    def main():
        handles.append(begin(lambda: gevent.sleep(3600)))
        gevent.sleep(0)

    with hub_thread(main):
        pass
    assert handles[0].cancel()
    with pytest.raises(CancelledError):
        handles[0].result(LIMIT)


def test_the_context_is_the_one_given():
    variable = contextvars.ContextVar("variable", default="unset")
    context = contextvars.Context()
    context.run(variable.set, "given")
    handle = Handle(variable.get, context, "call")
    handle.start(gevent.get_hub())
    assert handle.result() == "given"


def test_an_exception_nobody_asked_for_is_logged_when_the_handle_goes(caplog):
    def fail():
        raise Boom("unseen")

    handle = begin(fail, "job")
    handle.wait()
    assert caplog.records == []
    del handle
    gc.collect()
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("evpy.runtime", logging.ERROR)
    assert record.getMessage() == "job failed and nobody asked for its result"
    assert "unseen" in str(record.exc_info[1])


def test_an_exception_somebody_asked_for_is_not_logged(caplog):
    def fail():
        raise Boom

    begin(fail).exception()
    handle = begin(lambda: gevent.sleep(3600))
    gevent.sleep(0)
    handle.cancel()
    handle.wait()
    del handle
    gc.collect()
    assert caplog.records == []


def test_it_says_what_it_is_doing():
    handle = Handle(lambda: 1, contextvars.copy_context(), "job")
    assert repr(handle) == "<Handle 'job': waiting for a scheduler thread>"
    handle.start(gevent.get_hub())
    assert repr(handle) == "<Handle 'job': running>"
    handle.result()
    assert repr(handle) == "<Handle 'job': done>"
    handle = begin(lambda: 1 / 0, "job")
    handle.exception()
    assert repr(handle) == "<Handle 'job': failed with ZeroDivisionError>"

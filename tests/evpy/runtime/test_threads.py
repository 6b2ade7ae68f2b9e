"""run_on_any and the scheduler threads that serve it."""

from __future__ import annotations

import contextvars
import os
import threading

import gevent
import gevent.event
import pytest

from evpy.runtime import threads
from evpy.runtime.handles import CancelledError, Latch
from evpy.runtime.threads import offer_threads, register_scheduler, run_on_any, statistics, stop_threads

LIMIT = 60  # seconds


@pytest.fixture
def two_threads():
    offer_threads(2)
    yield
    stop_threads(LIMIT)


@pytest.fixture
def one_thread():
    offer_threads(1)
    yield
    stop_threads(LIMIT)


# ---------------------------------------------------------------- without scheduler threads


def test_without_threads_it_runs_as_a_greenlet_here():
    here = threading.get_ident()
    main = gevent.getcurrent()
    handle = run_on_any(lambda *args, **kwargs: (threading.get_ident(), gevent.getcurrent(), args, kwargs), 1, a=2)
    thread, greenlet, args, kwargs = handle.result()
    assert thread == here
    assert greenlet is not main
    assert (args, kwargs) == ((1,), {"a": 2})
    assert statistics() == ()


def test_it_refuses_what_it_cannot_call():
    with pytest.raises(TypeError, match=r"run_on_any\(\) calls its first argument, and int cannot be called"):
        run_on_any(3)
    with pytest.raises(ValueError, match="0 or more, not -1"):
        offer_threads(-1)


# ---------------------------------------------------------------- with threads of our own


def test_threads_start_with_the_first_call(two_threads):
    assert threads._pool.threads == []
    idents = set()
    meeting = threading.Barrier(2)  # a native one: it admits two threads, never two greenlets of one

    def call():
        meeting.wait(LIMIT)
        idents.add(threading.get_ident())

    handles = [run_on_any(call), run_on_any(call)]
    for handle in handles:
        handle.result(LIMIT)
    assert len(idents) == 2
    assert threading.get_ident() not in idents
    assert {each.name for each in statistics()} == {"scheduler-1", "scheduler-2"}
    assert sum(each.taken for each in statistics()) == 2
    assert {each.thread for each in statistics()} == idents
    assert threads.names() == {each.thread: each.name for each in statistics()}


def test_a_busy_thread_takes_nothing(two_threads):
    entered, release = threading.Event(), threading.Event()

    def block():
        entered.set()
        assert release.wait(LIMIT)  # native: the hub of that thread does not come round
        return threading.get_ident()

    blocked = run_on_any(block)
    assert entered.wait(LIMIT)
    others = {run_on_any(threading.get_ident).result(LIMIT) for _ in range(20)}
    assert not blocked.done()
    release.set()
    assert len(others) == 1
    assert blocked.result(LIMIT) not in others


def test_one_thread_runs_many_calls_at_a_time(one_thread):
    events = [gevent.event.Event() for _ in range(5)]

    def call(number):
        events[number].set()
        for event in events:
            event.wait()
        return number

    handles = [run_on_any(call, number) for number in range(5)]
    assert [handle.result(LIMIT) for handle in handles] == list(range(5))
    (entry,) = statistics()
    assert (entry.taken, entry.running) == (5, 0)


def test_waiting_for_a_result_lets_the_greenlets_here_run(one_thread):
    release = threading.Event()
    ticks = []

    def tick():
        for number in range(3):
            ticks.append(number)
            gevent.sleep(0)
        release.set()

    handle = run_on_any(release.wait, LIMIT)
    gevent.spawn(tick)
    assert handle.result(LIMIT) is True
    assert ticks == [0, 1, 2]


def test_exceptions_travel(one_thread):
    error = ValueError("there")

    def fail():
        raise error

    with pytest.raises(ValueError, match="there") as caught:
        run_on_any(fail).result(LIMIT)
    assert caught.value is error


def test_contextvars_are_inherited_as_a_copy(one_thread):
    variable = contextvars.ContextVar("variable", default="unset")

    def call():
        before = variable.get()
        variable.set("there")
        return before

    token = variable.set("here")
    try:
        assert run_on_any(call).result(LIMIT) == "here"
        assert variable.get() == "here"
    finally:
        variable.reset(token)


def test_calls_begin_in_order(one_thread):
    began = []
    handles = [run_on_any(began.append, number) for number in range(50)]
    for handle in handles:
        handle.wait(LIMIT)
    assert began == list(range(50))


def test_a_call_may_call_again(one_thread):
    def outer():
        return run_on_any(lambda: "inner").result(LIMIT)

    assert run_on_any(outer).result(LIMIT) == "inner"


def test_many_calls_from_many_threads_run_exactly_once(two_threads):
    done, handles = [], []

    def submit(which):
        handles.extend([run_on_any(done.append, (which, number)) for number in range(200)])

    submitters = [threading.Thread(target=submit, args=(which,)) for which in range(3)]
    for thread in submitters:
        thread.start()
    for thread in submitters:
        thread.join(LIMIT)
    for handle in handles:
        assert handle.wait(LIMIT)
    assert sorted(done) == [(which, number) for which in range(3) for number in range(200)]
    assert sum(each.taken for each in statistics()) == 600


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, SystemError])
def test_a_greenlet_that_exits_there_does_not_take_the_thread_along(one_thread, kind, capfd):
    def start_one_that_leaves():
        def leave():
            raise kind

        gevent.spawn(leave).join()
        return threading.get_ident()

    first = run_on_any(start_one_that_leaves).result(LIMIT)
    assert run_on_any(threading.get_ident).result(LIMIT) == first
    capfd.readouterr()


def test_stopping_cancels_what_runs_and_gives_it_time(one_thread):
    running = threading.Event()
    log = []

    def call():
        try:
            running.set()
            gevent.sleep(3600)
        finally:
            gevent.sleep(0)
            log.append("cleaned up")

    handle = run_on_any(call)
    assert running.wait(LIMIT)
    stop_threads(LIMIT)
    assert log == ["cleaned up"]
    with pytest.raises(CancelledError):
        handle.result(LIMIT)
    assert statistics() == ()
    assert run_on_any(threading.get_ident).result() == threading.get_ident()


def test_stopping_does_not_wait_for_ever(one_thread):
    running = threading.Event()

    def stubborn():
        while True:
            try:
                running.set()
                gevent.sleep(3600)
            except gevent.GreenletExit:
                continue

    handle = run_on_any(stubborn)
    assert running.wait(LIMIT)
    stop_threads(0.01)
    with pytest.raises(CancelledError):
        handle.result(LIMIT)


def test_a_thread_that_cannot_be_started_is_reported_and_forgotten(monkeypatch):
    def refuse(*_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threads, "_start_native_thread", refuse)
    offer_threads(1)
    try:
        with pytest.raises(RuntimeError, match="can't start new thread"):
            run_on_any(int)
        assert threads._pool.threads == []
        assert not threads._pool.jobs
    finally:
        offer_threads(0)


# ---------------------------------------------------------------- schedulers of somebody else


def test_a_registered_hub_takes_calls_until_it_closes():
    scheduler = register_scheduler(name="mine")
    handle = run_on_any(gevent.getcurrent)
    assert handle.result(LIMIT).parent is gevent.get_hub()
    (entry,) = statistics()
    assert (entry.name, entry.thread, entry.taken, entry.running) == ("mine", threading.get_ident(), 1, 0)
    scheduler.close()
    assert statistics() == ()


def test_calls_running_are_counted():
    scheduler = register_scheduler()
    release = Latch()
    handle = run_on_any(release.wait)
    gevent.sleep(0.001)
    while not scheduler.taken:
        gevent.sleep(0)
    assert statistics()[0].running == 1
    release.set()
    handle.result(LIMIT)
    assert statistics()[0].running == 0
    scheduler.close()


def test_calls_left_when_the_last_scheduler_closes_are_cancelled():
    gevent.sleep(0)
    scheduler = register_scheduler()
    handle = run_on_any(lambda: "never")
    scheduler.close()
    with pytest.raises(CancelledError):
        handle.result(LIMIT)


def test_a_cancelled_call_in_the_queue_never_begins():
    scheduler = register_scheduler()
    begun = []
    first, second = run_on_any(begun.append, 1), run_on_any(begun.append, 2)
    first.cancel()
    second.result(LIMIT)
    assert begun == [2]
    scheduler.close()


def test_a_registered_hub_in_another_thread():
    ready, stop = threading.Event(), Latch()

    def worker():
        scheduler = register_scheduler(gevent.get_hub(), name="worker")
        ready.set()
        stop.wait()
        scheduler.close()
        gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=worker)
    thread.start()
    assert ready.wait(LIMIT)
    assert run_on_any(threading.get_ident).result(LIMIT) == thread.ident
    stop.set()
    thread.join(LIMIT)
    assert not thread.is_alive()


def test_a_forked_child_starts_threads_of_its_own(one_thread):
    assert run_on_any(lambda: 1).result(LIMIT) == 1
    child = os.fork()
    if child == 0:
        status = 1
        try:
            if not threads._pool.threads and threads._pool.offered == 1 and threads._pool.schedulers == []:
                status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

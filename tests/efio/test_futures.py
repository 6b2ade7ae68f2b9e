"""Future by itself: set by one, waited for by others, and what the standard library does with it."""

import asyncio
import concurrent.futures
import gc
import threading
import weakref
from concurrent.futures import CancelledError, InvalidStateError
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

import efio
from efio.futures import Future

flows = pytest.mark.parametrize("hub", [False, True])


def test_it_is_a_standard_future() -> None:
    assert issubclass(Future, concurrent.futures.Future)
    assert efio.Future is Future


@flows
def test_whoever_waits_gets_it(hub: bool) -> None:
    future: Future[str] = Future()
    begun = threading.Semaphore(0)

    def wait() -> str:
        begun.release()
        return future.result(PATIENCE)

    async def wait_async() -> str:
        begun.release()
        return await future

    waiting = [in_thread(wait, hub=hub), in_thread(wait), in_thread(lambda: asyncio.run(wait_async()))]
    for _ in waiting:
        assert begun.acquire(timeout=PATIENCE)
    future.set_result("here")
    assert [w.result(PATIENCE) for w in waiting] == ["here"] * 3
    assert future.result() == "here"
    assert future.exception() is None


def test_greenlets_of_one_hub() -> None:
    def use() -> list[int]:
        future: Future[int] = Future()
        waiting = [gevent.spawn(future.result) for _ in range(3)]
        gevent.spawn(future.set_result, 5)
        return [w.get() for w in waiting]

    assert in_thread(use, hub=True).result(PATIENCE) == [5] * 3


def test_errors_are_raised_as_they_are() -> None:
    future: Future[int] = Future()
    error = OSError("no")
    future.set_exception(error)
    assert future.exception() is error
    with pytest.raises(OSError, match="no") as caught:
        future.result()
    assert caught.value is error


def test_states() -> None:
    future: Future[int] = Future()

    def state() -> tuple[bool, bool, bool, str]:
        return future.running(), future.done(), future.cancelled(), future._state  # type: ignore[attr-defined]

    assert state() == (False, False, False, "PENDING")
    assert future.set_running_or_notify_cancel()
    assert state() == (True, False, False, "RUNNING")
    assert not future.cancel()
    with pytest.raises(RuntimeError, match="unexpected state"):
        future.set_running_or_notify_cancel()
    future.set_result(1)
    assert state() == (False, True, False, "FINISHED")
    assert not future.cancel()
    for function in (future.set_result, future.set_exception):
        with pytest.raises(InvalidStateError, match=r"FINISHED: <Future at 0x[0-9a-f]+ state=finished returned int>"):
            function(OSError())  # type: ignore[arg-type]
    assert future.result() == 1


def test_cancelled() -> None:
    future: Future[int] = Future()
    called: list[object] = []
    future.add_done_callback(called.append)
    assert future.cancel()
    assert called == [future]
    assert future.cancelled()
    assert not future.set_running_or_notify_cancel()
    assert future._state == "CANCELLED_AND_NOTIFIED"  # type: ignore[attr-defined]
    for function in (future.result, future.exception):
        with pytest.raises(CancelledError):
            function()
    with pytest.raises(InvalidStateError):
        future.set_result(1)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda f: None, "pending"),
        (lambda f: f.set_running_or_notify_cancel(), "running"),
        (lambda f: f.cancel(), "cancelled"),
        (lambda f: f.set_result(1), "finished returned int"),
        (lambda f: f.set_exception(OSError()), "finished raised OSError"),
    ],
)
def test_repr(change: Any, text: str) -> None:
    future: Future[int] = Future()
    change(future)
    assert repr(future) == f"<Future at {id(future):#x} state={text}>"


def test_callbacks(caplog: pytest.LogCaptureFixture) -> None:
    future: Future[int] = Future()
    called: list[int] = []
    future.add_done_callback(lambda f: called.append(f.result()))
    future.add_done_callback(lambda f: called.append(1 // 0))
    future.add_done_callback(lambda f: called.append(2))
    future.set_result(1)
    assert called == [1, 2]
    future.add_done_callback(lambda f: called.append(3))
    future.add_done_callback(lambda f: called.append(1 // 0))
    assert called == [1, 2, 3]
    assert caplog.text.count("exception calling callback for <Future at") == 2


@flows
@pytest.mark.parametrize("timeout", [0, -1, 0.001])
def test_timeouts(hub: bool, timeout: float) -> None:
    future: Future[int] = Future()
    for function in (future.result, future.exception):
        with pytest.raises(TimeoutError):
            in_thread(lambda function=function: function(timeout), hub=hub).result(PATIENCE)  # type: ignore[misc]
    future.set_result(1)
    assert future.result(timeout) == 1


@flows
def test_standard_wait_sees_every_kind_of_end(hub: bool) -> None:
    def use() -> None:
        futures: list[Future[int]] = [Future() for _ in range(3)]

        def end() -> None:
            futures[0].set_result(1)
            futures[1].set_exception(OSError())
            futures[2].cancel()
            futures[2].set_running_or_notify_cancel()

        def waiting(how: str) -> Any:
            return concurrent.futures.wait(futures, PATIENCE, how)

        assert waiting_in(waiting, "FIRST_EXCEPTION", end).done >= {futures[0], futures[1]}
        assert waiting("ALL_COMPLETED").not_done == set()
        assert all(not f._waiters for f in futures)  # type: ignore[attr-defined]

    def waiting_in(waiting: Any, how: str, end: Any) -> Any:
        if hub:
            flow = gevent.spawn(waiting, how)
            gevent.sleep(0)
            end()
            return flow.get()
        thread = in_thread(lambda: waiting(how))
        end()
        return thread.result(PATIENCE)

    in_thread(use, hub=hub).result(PATIENCE)


def test_standard_and_own_futures_together() -> None:
    own: Future[int] = Future()
    standard: concurrent.futures.Future[int] = concurrent.futures.Future()
    waiting = in_thread(lambda: list(concurrent.futures.as_completed([own, standard], PATIENCE)))
    standard.set_result(1)
    own.set_result(2)
    assert set(waiting.result(PATIENCE)) == {own, standard}


def test_a_task_that_is_cancelled_leaves_others_waiting() -> None:
    async def use() -> None:
        future: Future[int] = Future()
        future.set_running_or_notify_cancel()  # so that it cannot be cancelled any more
        first, second = (asyncio.ensure_future(future) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        future.set_result(5)
        assert await second == 5

    asyncio.run(use())


def test_nothing_keeps_it() -> None:
    future: Future[Any] = Future()
    future.set_result(future)
    known = weakref.ref(future)
    del future
    gc.collect()
    assert known() is None

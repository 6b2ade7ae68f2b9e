"""efio.SharedQueue: the interface, who may wait, processes that come by fork, spawn, descriptor and name, and kills."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from typing import Any

import gevent
import msgspec
import pytest
from echo import echo
from flows import PATIENCE, until
from forks import ended_well, in_child, kill

import efio
from efio import SharedQueue, ShutDown, segments


@pytest.fixture
def q() -> Iterator[SharedQueue[Any]]:
    with SharedQueue(capacity=4096) as made:
        yield made


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"test-{os.getpid()}"
    yield chosen
    assert not os.path.exists(segments.path_of(chosen)), "the last one to close it removes the name"


# --- one process


def test_what_is_put_comes_out_in_order(q: SharedQueue[Any]) -> None:
    items = [b"", b"bytes", "text", None, 5, {"a": [1, 2.5]}, bytearray(b"x"), b"\0" * 1000]
    for item in items:
        q.put(item)
    assert q.qsize() == len(items)
    assert not q.empty()
    assert [q.get() for _ in items] == items
    assert q.empty()


def test_full_and_empty(q: SharedQueue[Any]) -> None:
    with pytest.raises(queue.Empty):
        q.get_nowait()
    with pytest.raises(queue.Empty):
        q.get(timeout=0.01)
    with pytest.raises(ValueError, match="non-negative"):
        q.get(timeout=-1)
    for _ in range(4):
        q.put_nowait(b"x" * 1000)
    with pytest.raises(queue.Full):
        q.put_nowait(b"x" * 1000)
    with pytest.raises(queue.Full):
        q.put(b"x" * 1000, timeout=0.01)
    assert q.put_many([b"1" * 20, b"x" * 1000, b"3"], block=False) == 1
    assert q.get() == b"x" * 1000
    q.put_nowait(b"x" * 1000)


def test_a_message_that_is_too_long_names_its_size_and_the_way_out(q: SharedQueue[Any]) -> None:
    with pytest.raises(ValueError, match=r"a message of 3000 bytes: .* at most 2040; make it with capacity=12000"):
        q.put(b"x" * 3000)
    q.put(b"x" * 2040)


def test_many_at_a_time(q: SharedQueue[Any]) -> None:
    assert q.put_many(range(10)) == 10
    assert q.get_many(4) == [0, 1, 2, 3]
    assert q.get_many(100) == [4, 5, 6, 7, 8, 9]
    with pytest.raises(queue.Empty):
        q.get_many(5, timeout=0)
    with pytest.raises(ValueError, match="at least one"):
        q.get_many(0)


def test_put_many_keeps_what_went_before_an_item_that_cannot_be_sent(q: SharedQueue[Any]) -> None:
    with pytest.raises((pickle.PicklingError, AttributeError)):
        q.put_many([1, 2, lambda: None, 4])
    assert q.get_many(10) == [1, 2]


class Order(msgspec.Struct):
    item: str
    count: int = 1


def test_typed_messages_are_checked_and_never_unpickled(q: SharedQueue[Any]) -> None:
    typed = SharedQueue.of_descriptor(os.dup(q.fileno()), type=Order)
    typed.put(Order("a", 2))
    assert typed.get() == Order("a", 2)
    typed.put(Order("a", "two"))  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError, match="Expected `int`, got `str`"):
        typed.get()
    q.put(Order("a"))
    with pytest.raises(ValueError, match=r"the process that put it opened this queue without type=.*this one has it"):
        typed.get()
    typed.put(Order("a"))
    with pytest.raises(ValueError, match=r"opened this queue with type=.*this one did not"):
        q.get()
    typed.close()


def test_shutdown_lets_the_rest_be_got(q: SharedQueue[Any]) -> None:
    q.put(1)
    q.shutdown()
    with pytest.raises(ShutDown):
        q.put(2)
    assert q.get() == 1
    for _ in range(2):
        with pytest.raises(ShutDown):
            q.get()
    assert q.statistics().ended


def test_immediate_shutdown(q: SharedQueue[Any]) -> None:
    q.put(1)
    q.shutdown(immediate=True)
    with pytest.raises(ShutDown):
        q.get()


def test_statistics(q: SharedQueue[Any]) -> None:
    q.put_many([b"12345678"] * 3)
    q.get()
    found = q.statistics()
    assert (found.size, found.bytes_used, found.capacity, found.puts, found.gets) == (2, 32, 4096, 3, 1)
    assert (found.own_puts, found.own_gets, found.processes, found.ended) == (3, 1, (os.getpid(),), False)


def test_closed(q: SharedQueue[Any]) -> None:
    q.close()
    q.close()
    for use in (q.get, lambda: q.put(1), lambda: q.get_many(1)):
        with pytest.raises(ValueError, match="closed in this process"):
            use()
    assert "closed" in repr(q)


@pytest.mark.parametrize("capacity", [0, -1, 4095, (1 << 30) + 1])
def test_impossible_capacity(capacity: int) -> None:
    with pytest.raises(ValueError, match=rf"capacity={capacity}: must be from 4096"):
        SharedQueue(capacity=capacity)


def test_a_descriptor_of_something_else(tmp_path: Any) -> None:
    other = segments.Segment.anonymous(99, 1 << 20, ())
    for make in (
        lambda: os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT),
        lambda: os.memfd_create("x"),
        lambda: os.memfd_create("x", os.MFD_ALLOW_SEALING),
        lambda: os.dup(other.fd),
    ):
        with pytest.raises(ValueError, match="no segment of"):
            SharedQueue.of_descriptor(make())


def test_closing_leaves_no_descriptor_and_no_mapping() -> None:
    def count() -> tuple[int, int]:
        with open("/proc/self/maps") as maps:
            return len(os.listdir("/proc/self/fd")), sum("efio" in line for line in maps)

    before = count()
    for _ in range(3):
        made: SharedQueue[bytes] = SharedQueue()
        made.put(b"x")
        made.close()
        del made
    assert count() == before


# --- who waits


def test_a_thread_waits_for_a_message_and_for_room(q: SharedQueue[Any]) -> None:
    got: list[Any] = []
    thread = threading.Thread(target=lambda: got.append(q.get(timeout=PATIENCE)))
    thread.start()
    q.put("here")
    thread.join()
    assert got == ["here"]
    while q.put_many([b"x" * 1000], block=False):
        pass
    thread = threading.Thread(target=lambda: q.put(b"y" * 2000, timeout=PATIENCE))
    thread.start()
    assert [len(q.get()) for _ in range(4)] == [1000] * 4
    thread.join()
    assert len(q.get()) == 2000


def in_greenlets(*works: Callable[[], object]) -> list[Any]:
    def run() -> None:
        try:
            greenlets = [gevent.spawn(work) for work in works]
            gevent.joinall(greenlets, timeout=PATIENCE, raise_error=True)
            found.extend(greenlet.value for greenlet in greenlets)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    found: list[Any] = []
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return found


def test_greenlets_wait_without_blocking_their_hub(q: SharedQueue[Any]) -> None:
    ticks: list[int] = []

    def tick() -> None:
        for n in range(20):
            ticks.append(n)
            gevent.sleep(0.001)
        q.put_many(["a", "b", "c"])

    def get() -> Any:
        found = q.get()
        assert len(ticks) == 20
        return found

    assert sorted(filter(None, in_greenlets(get, get, get, tick))) == ["a", "b", "c"]


def test_a_greenlet_waits_for_room(q: SharedQueue[Any]) -> None:
    while q.put_many([b"x" * 1000], block=False):
        pass

    def drain() -> list[int]:
        gevent.sleep(0.01)
        return [len(q.get()) for _ in range(5)]

    assert in_greenlets(lambda: q.put(b"y" * 1500), drain)[1] == [1000] * 4 + [1500]


def test_a_killed_greenlet_takes_nothing_with_it(q: SharedQueue[Any]) -> None:
    def killed() -> None:
        q.get()

    def work() -> Any:
        victims = [gevent.spawn(killed) for _ in range(3)]
        gevent.sleep(0.01)
        gevent.killall(victims)
        other = gevent.spawn(q.get)
        gevent.sleep(0)
        q.put("for who lives")
        return other.get(timeout=PATIENCE)

    assert in_greenlets(work) == ["for who lives"]


def test_timeouts_of_greenlets(q: SharedQueue[Any]) -> None:
    def work() -> str:
        with pytest.raises(queue.Empty):
            q.get(timeout=0.01)
        while q.put_many([b"x" * 1000], block=False):
            pass
        with pytest.raises(queue.Full):
            q.put(b"x" * 1000, timeout=0.01)
        return "done"

    assert in_greenlets(work) == ["done"]


def test_tasks_of_asyncio(q: SharedQueue[Any]) -> None:
    async def main() -> Any:
        with pytest.raises(queue.Empty):
            await q.aget(timeout=0.01)
        getter = asyncio.create_task(q.aget())
        await asyncio.sleep(0)
        await q.aput("hello")
        found = [await asyncio.wait_for(getter, PATIENCE)]
        while q.put_many([b"x" * 1000], block=False):
            pass
        with pytest.raises(queue.Full):
            await q.aput(b"x" * 1000, timeout=0.01)
        putter = asyncio.create_task(q.aput("at last"))
        await asyncio.sleep(0)
        found += [await asyncio.wait_for(q.aget(), PATIENCE) for _ in range(5)]
        await putter
        return found

    found = asyncio.run(main())
    assert [found[0], found[-1]] == ["hello", "at last"]


def test_closing_and_ending_wake_whoever_waits() -> None:
    for end, error in ((SharedQueue.close, ValueError), (SharedQueue.shutdown, ShutDown)):
        made: SharedQueue[Any] = SharedQueue(capacity=4096)
        seen: list[type] = []

        def wait(get: Callable[[], object] = made.get, seen: list[type] = seen) -> None:
            try:
                get()
            except (ValueError, ShutDown) as raised:
                seen.append(type(raised))

        def in_hub(wait: Callable[[], None] = wait) -> None:
            in_greenlets(wait)

        threads = [threading.Thread(target=wait), threading.Thread(target=in_hub)]
        for thread in threads:
            thread.start()
        until(lambda made=made: made.statistics().own_waits >= 2)
        end(made)
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        assert seen == [error] * 2
        made.close()


# --- other processes


def test_a_forked_child_has_its_own_place(q: SharedQueue[Any]) -> None:
    q.put("from the parent")

    def child() -> None:
        assert q.get() == "from the parent"
        q.put("from the child")
        assert len(set(q.statistics().processes)) == 2

    assert ended_well(in_child(child))
    assert q.get(timeout=PATIENCE) == "from the child"
    q.put("again")
    assert q.get() == "again"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_passes_it_on(method: str, q: SharedQueue[Any], name: str) -> None:
    context = multiprocessing.get_context(method)
    with SharedQueue(name) as back:
        process = context.Process(target=echo, args=(q, back))
        process.start()
        q.put_many([1, "a", [2]])
        assert [back.get(timeout=PATIENCE) for _ in range(3)] == [2, "aa", [2, 2]]
        q.put(None)
        process.join()
        assert process.exitcode == 0
    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # spawning has started it


def test_a_descriptor_is_inherited(q: SharedQueue[Any]) -> None:
    program = "import efio, sys; q = efio.SharedQueue.of_descriptor(int(sys.argv[1])); q.put(q.get() + 1)"
    q.put(41)
    command = [sys.executable, "-P", "-c", program, str(q.fileno())]
    subprocess.run(command, pass_fds=[q.fileno()], check=True, timeout=PATIENCE)
    assert q.get() == 42


def test_a_name_is_found_and_removed_by_the_last(name: str) -> None:
    first: SharedQueue[int] = SharedQueue(name, capacity=8192)
    second: SharedQueue[int] = SharedQueue(name)
    assert (second.name, second.capacity) == (name, 8192)
    first.put(1)
    first.close()
    assert second.get() == 1
    with pytest.raises(ValueError, match=r"exists with a capacity of 8192 bytes, not 4096"):
        SharedQueue(name, capacity=4096)
    assert os.path.exists(segments.path_of(name))
    second.close()


@pytest.mark.parametrize("bad", ["", "a/b", "a\0b", "x" * 201])
def test_impossible_names(bad: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of shared memory"):
        SharedQueue(bad)


def test_a_name_of_something_else(name: str) -> None:
    with open(segments.path_of(name), "wb") as file:
        file.write(b"not ours" * 1000)
    try:
        with pytest.raises(ValueError, match="no segment of that kind"):
            SharedQueue(name)
    finally:
        os.unlink(segments.path_of(name))


def test_a_name_whose_processes_were_killed_is_begun_anew(name: str) -> None:
    def child() -> None:
        made: SharedQueue[str] = SharedQueue(name)
        made.put("of a dead one")
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_child(child), 0)
    assert os.path.exists(segments.path_of(name))
    with SharedQueue(name) as fresh:
        assert fresh.empty()


def test_stale_names_are_removed(name: str) -> None:
    other = name + "-living"
    with SharedQueue(other) as living:

        def child() -> None:
            made: SharedQueue[int] = SharedQueue(name)
            made.put(1)
            os.kill(os.getpid(), signal.SIGKILL)

        os.waitpid(in_child(child), 0)
        living.put(1)
        removed = efio.remove_stale_segments()  # and what other programs have left
        assert name in removed
        assert other not in removed
        assert os.path.exists(segments.path_of(other))


def test_many_open_and_close_a_name_at_once(name: str) -> None:
    """The last who leaves and the first who comes do not miss each other: whoever has it open shares it."""

    def child() -> None:
        for _ in range(50):
            with SharedQueue(name) as one, SharedQueue(name) as other:
                assert os.fstat(one.fileno()).st_ino == os.fstat(other.fileno()).st_ino

    children = [in_child(child) for _ in range(4)]
    assert [ended_well(pid) for pid in children] == [True] * 4


# --- killed


@pytest.mark.skipif(os.environ.get("EFIO_IMPL") != "python", reason="the compiled one counts otherwise")
@pytest.mark.parametrize("which", [2, 3])
def test_a_message_that_was_counted_and_never_came_is_not_waited_for(which: int) -> None:
    """Its putter (or taker) was killed between two numbers of its lane: these are puts and gets."""
    with SharedQueue() as q:
        core: Any = q._core
        for n in range(3):
            q.put(n)
            assert q.get() == n
        core._store(core._lane, which, core._number(core._lane, which) + 1)
        assert q.empty()
        q.put("one")
        assert q.qsize() == 1
        assert q.get() == "one"
        assert q.empty()


def test_what_a_killed_consumer_leaves_goes_to_the_others(q: SharedQueue[Any]) -> None:
    """Whatever it was doing: of 2,000 messages those are lost that a killed one held, at most one each."""
    with SharedQueue() as done:

        def consume() -> None:
            while True:
                done.put(q.get())

        children = [in_child(consume) for _ in range(3)]
        kills = 0
        for n in range(2000):
            q.put(n, timeout=PATIENCE)
            if n % 100 == 50:
                victim = children.pop(0)
                kill(victim)
                children.append(in_child(consume))
                kills += 1
        until(q.empty)
        for pid in children:
            kill(pid)
        came: list[int] = []
        while not done.empty():
            came += done.get_many(100)
        assert len(came) == len(set(came))
        assert len(came) >= 2000 - kills - len(children)

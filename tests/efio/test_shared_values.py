"""Counters, maps and arenas between processes: their interfaces, how children and names get them, and kills."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from forks import ended_well, in_child, kill

from efio import SharedCounters, SharedMap, SharedMemory, SharedQueue, segments


@pytest.fixture
def name() -> Iterator[str]:
    chosen = f"values-{os.getpid()}"
    yield chosen
    assert not os.path.exists(segments.path_of(chosen)), "the last one to close it removes the name"


# --- counters


def test_counters() -> None:
    with SharedCounters(3) as counters:
        assert [counters.add(), counters.add(0, 5), counters.add(-1, -2)] == [1, 6, -2]
        counters[1] = 10
        assert (list(counters), len(counters)) == ([6, 10, -2], 3)
        assert counters.compare_exchange(1, 10, 11)
        assert not counters.compare_exchange(1, 10, 12)
        assert counters[1] == 11
        for index in (3, -4):
            with pytest.raises(IndexError, match=rf"counter {index}: there are 3"):
                counters.add(index)
        with pytest.raises(OverflowError):
            counters.add(0, 1 << 63)
    with pytest.raises(ValueError, match=r"SharedCounters\(0\): from 1"):
        SharedCounters(0)


def test_counters_lose_nothing_between_processes() -> None:
    with SharedCounters() as counters:

        def count() -> None:
            for _ in range(20_000):
                counters.add()

        assert [ended_well(pid) for pid in [in_child(count) for _ in range(4)]] == [True] * 4
        assert counters[0] == 80_000


# --- memory


def test_memory_and_its_pieces() -> None:
    with SharedMemory(1000) as memory:
        assert bytes(memory.buf) == bytes(1000)
        at, piece = memory.take(10)
        piece[:] = b"0123456789"
        assert bytes(memory.buf[at : at + 10]) == b"0123456789"
        other, _ = memory.take(100, align=64)
        assert (at, other, memory.taken) == (0, 64, 164)
        with pytest.raises(MemoryError, match="900 bytes wanted, 836 of 1000 are left"):
            memory.take(900)
        for size, align in ((1, 3), (1, 0), (-1, 8)):
            with pytest.raises(ValueError, match="aligned to a power of two"):
                memory.take(size, align)
        piece.release()
    with pytest.raises(ValueError, match="at least one byte"):
        SharedMemory(0)


def test_a_view_outlives_its_memory() -> None:
    memory = SharedMemory(100)
    _, piece = memory.take(5)
    piece[:] = b"alive"
    memory.close()
    del memory
    assert bytes(piece) == b"alive"


def test_pieces_do_not_overlap() -> None:
    with SharedMemory(4 * 500 * 8) as memory:

        def take(mark: int) -> Callable[[], None]:
            def work() -> None:
                for _ in range(500):
                    _, piece = memory.take(8)
                    assert bytes(piece) == bytes(8)
                    piece[:] = bytes([mark]) * 8

            return work

        assert [ended_well(pid) for pid in [in_child(take(mark)) for mark in (1, 2, 3, 4)]] == [True] * 4
        assert sorted(memory.buf) == [mark for mark in (1, 2, 3, 4) for _ in range(4000)]


# --- map


@pytest.fixture
def shared() -> Iterator[SharedMap]:
    with SharedMap(entries=8, key_bytes=10, value_bytes=40) as made:
        yield made


def test_a_map_is_a_mapping(shared: SharedMap) -> None:
    shared["a"] = 1
    shared["ü"] = b"raw"
    shared.update(c=[1, "x"])
    assert dict(shared) == {"a": 1, "ü": b"raw", "c": [1, "x"]}
    assert (len(shared), "a" in shared, "b" in shared, shared.get("b", 5)) == (3, True, False, 5)
    shared["a"] = None
    assert shared["a"] is None
    del shared["a"]
    for missing in (lambda: shared["a"], lambda: shared.pop("a"), lambda: shared.__delitem__("a")):
        with pytest.raises(KeyError, match="'a'"):
            missing()
    assert shared.pop("a", "default") == "default"
    assert shared.pop("c") == [1, "x"]
    assert shared.setdefault("ü", 5) == b"raw"
    assert shared.setdefault("new", 5) == 5
    assert shared["new"] == 5
    assert shared.compare_exchange("new", 5, 6)
    assert not shared.compare_exchange("new", 5, 7)
    assert not shared.compare_exchange("absent", None, 7)
    assert (shared["new"], "absent" in shared) == (6, False)
    shared.clear()
    assert dict(shared) == {}


def test_items_are_those_of_one_moment(shared: SharedMap) -> None:
    """Another process removes keys meanwhile: no KeyError for who iterates."""
    shared.update(a=1, b=2, c=3)
    items, values, seen = iter(shared.items()), iter(shared.values()), []
    seen += [next(items), next(values)]
    for key in "abc":
        del shared[key]
    seen += [*items, *values]
    assert sorted(seen, key=str) == sorted([("a", 1), ("b", 2), ("c", 3), 1, 2, 3], key=str)
    assert (list(shared.items()), list(shared.values())) == ([], [])


def test_limits_of_a_map(shared: SharedMap) -> None:
    with pytest.raises(ValueError, match="a key of 11 bytes: at most 10"):
        shared["x" * 11] = 1
    with pytest.raises(ValueError, match="a value of 41 bytes: at most 40"):
        shared["x"] = b"x" * 41
    with pytest.raises(TypeError, match="keys of a SharedMap are str, not bytes"):
        shared[b"x"] = 1  # type: ignore[index]
    for n in range(8):
        shared[str(n)] = n
    with pytest.raises(OverflowError, match="has room for 8 entries; make it with entries="):
        shared["more"] = 1
    shared["7"] = "replaced"
    found = shared.statistics()
    assert (found.size, found.entries, found.key_bytes, found.value_bytes) == (8, 8, 10, 40)
    assert found.processes == (os.getpid(),)
    with pytest.raises(ValueError, match="a SharedMap of 0 entries"):
        SharedMap(entries=0)


def test_of_several_who_pop_one_gets_it(shared: SharedMap) -> None:
    with SharedCounters() as got:

        def work() -> None:
            for n in range(300):
                shared.setdefault(f"k{n % 4}", n)
                if shared.pop(f"k{n % 4}", None) is not None:
                    got.add(0, -1)
                if shared.setdefault("token", os.getpid()) == os.getpid():
                    got.add()
                    got.add(0, -1)

        def put_and_pop() -> None:
            for n in range(300):
                key = f"x{n % 3}"
                while not shared.compare_exchange(key, n // 3, n // 3 + 1):
                    time.sleep(0)

        for n in range(3):
            shared[f"x{n}"] = 0
        pids = [in_child(work) for _ in range(2)] + [in_child(put_and_pop)]
        assert [ended_well(pid) for pid in pids] == [True] * 3
        assert [shared[f"x{n}"] for n in range(3)] == [100] * 3


def test_a_killed_writer_leaves_whole_values(shared: SharedMap) -> None:
    values = [bytes([n]) * 40 for n in range(256)]

    def write() -> None:
        while True:
            for value in values:
                shared["value"] = value
                shared["other"] = value

    shared["value"] = values[0]
    for _ in range(60):
        child = in_child(write)
        for _ in range(20):
            assert shared["value"] in values
        kill(child)
        assert shared["value"] in values
        shared["mine"] = 1  # the lock of a dead one is no obstacle
        assert len(shared) in (2, 3)


# --- how others get them


KINDS: list[Callable[..., Any]] = [
    lambda name=None: SharedCounters(2, name),
    lambda name=None: SharedMemory(1000, name),
    lambda name=None: SharedMap(name, entries=4),
]


@pytest.mark.parametrize("make", KINDS)
def test_descriptors_and_pickles(make: Callable[..., Any]) -> None:
    with make() as first:
        second = type(first).of_descriptor(os.dup(first.fileno()))
        assert first.processes == (os.getpid(),) * 2
        second.close()
        second.close()
        receiver, sender = multiprocessing.Pipe(duplex=False)
        with receiver, sender:
            child = in_child(lambda: receiver.recv().close())
            sender.send(first)
            assert ended_well(child)
        multiprocessing.resource_sharer.stop()  # type: ignore[attr-defined]
        with pytest.raises(ValueError, match="no segment of that kind"):
            SharedQueue.of_descriptor(os.dup(first.fileno()))


@pytest.mark.parametrize("make", KINDS)
def test_names(make: Callable[..., Any], name: str) -> None:
    first = make(name)
    second = pickle.loads(pickle.dumps(first))
    assert second.name == name
    data = pickle.dumps(first)
    first.close()
    assert os.path.exists(segments.path_of(name))
    second.close()
    assert not os.path.exists(segments.path_of(name))
    with pytest.raises(FileNotFoundError, match="is gone: all that had it open have closed it"):
        pickle.loads(data)


def test_a_name_with_another_size(name: str) -> None:
    with SharedCounters(2, name):
        with pytest.raises(ValueError, match=r"SharedCounters '.*' exists with 2, not 3"):
            SharedCounters(3, name)
        with pytest.raises(ValueError, match="no segment of that kind"):
            SharedMemory(100, name)
    with (
        SharedMap(name, entries=4),
        pytest.raises(ValueError, match=r"exists with 4 entries of 64 \+ 256 bytes, not 8 entries"),
    ):
        SharedMap(name, entries=8)


def test_a_forked_child_keeps_the_name(name: str) -> None:
    counters = SharedCounters(1, name)
    ready, go = os.pipe(), os.pipe()

    def child() -> None:
        os.write(ready[1], b"x")
        os.read(go[0], 1)
        with SharedCounters(1, name) as same:
            assert counters.add() == same[0]
        counters.close()

    pid = in_child(child)
    os.read(ready[0], 1)
    counters.add()
    counters.close()
    assert os.path.exists(segments.path_of(name)), "the child has it"
    os.write(go[1], b"x")
    assert ended_well(pid)
    for fd in (*ready, *go):
        os.close(fd)


def test_a_value_of_killed_processes_begins_anew(name: str) -> None:
    def child() -> None:
        counters = SharedCounters(1, name)
        counters.add()
        os.kill(os.getpid(), signal.SIGKILL)

    os.waitpid(in_child(child), 0)
    with SharedCounters(1, name) as counters:
        assert counters[0] == 0


def test_no_place_leaves_no_descriptor() -> None:
    with SharedCounters() as counters:
        others = [SharedCounters.of_descriptor(os.dup(counters.fileno())) for _ in range(63)]
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(OSError, match="64 processes have it open already"):
            SharedCounters.of_descriptor(os.dup(counters.fileno()))
        gc.collect()
        assert len(os.listdir("/proc/self/fd")) == before
        for other in others:
            other.close()

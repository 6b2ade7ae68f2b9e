"""efio.open beside io.open: the standard library's own tests; greenlets that share a file; the page cache left out."""

import asyncio
import dataclasses
import errno
import hashlib
import io
import os
import threading
import unittest
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

import efio
from efio import files
from efio._impl import PYTHON

standard_fileio = pytest.importorskip("test.test_fileio", reason="this Python comes without its tests")
standard_io = pytest.importorskip("test.test_io", reason="this Python comes without its tests")


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Reads find nothing in the page cache; the list has an entry for each one."""
    asked: list[int] = []
    page_cache(monkeypatch, lambda fd, n: asked.append(n))
    return asked


def page_cache(monkeypatch: pytest.MonkeyPatch, read: Callable[[int, int], bytes | None]) -> None:
    """What is read from the page cache of files that are opened from now on: read(fd, size)."""

    class CachedReads:
        def __init__(self, fd: int, possible: bool) -> None:
            self.fd, self.possible, self.count = fd, possible, 0

        def stop(self) -> None:
            self.possible = False

        def read(self, size: Any) -> bytes | None:
            return read(self.fd, size) if self.possible and type(size) is int and size > 0 else None

        def readinto(self, buffer: Any) -> int | None:
            data = self.read(len(buffer))
            if data is None:
                return None
            buffer[: len(data)] = data
            return len(data)

    monkeypatch.setattr(files, "CachedReads", CachedReads)


# --- the standard library's own tests


class TestStandardAutoFile(standard_fileio.AutoFileTests, unittest.TestCase):  # type: ignore[name-defined,misc]
    FileIO = efio.FileIO
    modulename = "_io"  # of the repr, which is inherited


class TestStandardOtherFile(standard_fileio.OtherFileTests, unittest.TestCase):  # type: ignore[name-defined,misc]
    FileIO = efio.FileIO
    modulename = "_io"  # of the repr, which is inherited


class TestStandardIO(standard_io.CIOTest):  # type: ignore[name-defined,misc]
    pass


for _name in (*io.__all__, "IncrementalNewlineDecoder"):
    setattr(TestStandardIO, _name, getattr(io, _name))
for _name in ("MockRawIO", "MockRawIOWithoutRead", "MockUnseekableIO", "MockFileIO", "MisbehavedRawIO"):
    setattr(TestStandardIO, _name, getattr(standard_io, "C" + _name))
TestStandardIO.open = staticmethod(efio.open)
TestStandardIO.FileIO = efio.FileIO


# --- greenlets


def in_greenlets(*functions: Any) -> list[Any]:
    jobs = [gevent.spawn(function) for function in functions]
    gevent.joinall(jobs, raise_error=True, timeout=60)
    return [job.value for job in jobs]


@pytest.mark.parametrize("mode", ["rb", "r+b"])
def test_greenlets_share_a_file(tmp_path: Path, uncached: list[int], mode: str) -> None:
    (tmp_path / "f").write_bytes(b"".join(b"%07d\n" % i for i in range(20000)))
    with efio.open(tmp_path / "f", mode) as f:

        def lines() -> list[bytes]:
            return list(iter(f.readline, b""))

        found = in_greenlets(lines, lines, lines)
    assert uncached
    assert sorted(line for part in found for line in part) == [b"%07d\n" % i for i in range(20000)]


def test_greenlets_share_a_text_file_that_is_written(tmp_path: Path) -> None:
    with efio.open(tmp_path / "f", "w", encoding="utf-8") as f:

        def write(name: str) -> None:
            for i in range(500):
                f.write(f"{name}{i}é\n" * 20)

        in_greenlets(*(lambda name=name: write(name) for name in "abc"))
    lines = (tmp_path / "f").read_text(encoding="utf-8").splitlines()
    assert sorted(lines) == sorted(f"{name}{i}é" for name in "abc" for i in range(500) for _ in range(20))


def test_others_run_while_one_waits_for_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(b"x" * 100)
    arrived = threading.Event()
    release = threading.Event()

    def slow(file: Any, size: int) -> bytes:
        arrived.set()
        assert release.wait(60)
        return bytes(size)

    page_cache(monkeypatch, lambda fd, n: None)
    with efio.open(tmp_path / "f", "rb", buffering=0) as f:
        reader = gevent.spawn(f._blocking, slow, 5)
        while not arrived.is_set():
            gevent.sleep(0)  # this greenlet runs: the hub is not blocked
        assert not reader.dead
        closer = gevent.spawn(f.close)
        gevent.sleep(0)
        assert not closer.dead, "the descriptor must stay open while a thread reads from it"
        reader.kill(block=False)
        gevent.sleep(0)
        assert not reader.dead, "its buffer is still in use"
        release.set()
        gevent.joinall([reader, closer], timeout=60)
        assert reader.dead
        assert f.closed


def test_short_page_cache_is_no_short_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 16)
    answers = iter([100, None] * 2)

    def partly(fd: int, n: int) -> bytes | None:
        size = next(answers)
        return None if size is None else os.read(fd, size)

    page_cache(monkeypatch, partly)
    with efio.open(tmp_path / "f", "rb", buffering=0) as f:
        assert f.read(4096) == bytes(range(256)) * 16
        f.seek(0)
        assert in_greenlets(lambda: f.read(4096)) == [bytes(range(256)) * 16]


def test_file_system_without_nowait(tmp_path: Path) -> None:
    """/proc is one. Everything is read by the other way, and the page cache is not asked again."""
    path = f"/proc/{os.getpid()}/limits"
    with open(path, "rb") as plain:
        expected = plain.read()
    with efio.open(path, "rb", buffering=0) as f:
        first, second, rest = in_greenlets(lambda: (f.read(3), f.read(3), f.read()))[0]
        assert first + second + rest == expected
        assert (len(first), len(second)) == (3, 3)
        found = f.statistics()  # type: ignore[attr-defined]
        assert (found.cached_reads, found.switched) == (0, found.blocking_calls)
    with efio.open(path, encoding="ascii") as t:
        assert in_greenlets(t.read) == [expected.decode()]


@pytest.mark.skipif(not PYTHON, reason="the compiled twin's system calls cannot be replaced")
@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS])
def test_system_without_nowait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    asked = []

    def refuse(fd: int, buffers: Any, offset: int, flags: int) -> int:
        asked.append(fd)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "preadv", refuse)
    (tmp_path / "f").write_bytes(b"0123456789")
    with efio.open(tmp_path / "f", "rb", buffering=0) as f:
        assert in_greenlets(lambda: (f.read(3), f.read(3), f.read())) == [(b"012", b"345", b"6789")]
    assert len(asked) == 1, "it is not asked again"


def test_a_reader_of_cached_data_lets_others_run(tmp_path: Path) -> None:
    """Who reads from the page cache only, for ever, still gives turns; and who is killed meanwhile loses no data."""
    (tmp_path / "f").write_bytes(bytes(1 << 20))
    ran: list[int] = []
    with efio.open(tmp_path / "f", "rb", buffering=0) as f:

        def read() -> None:
            while not ran:
                f.seek(0)
                while len(f.read(65536)) == 65536:
                    pass

        reader = gevent.spawn(read)
        gevent.spawn_later(0.001, ran.append, 1)
        reader.join(60)
        assert ran
        assert reader.dead

        total = [0]

        def add() -> None:
            while data := f.read(65536):
                total[0] += len(data)

        for _ in range(200):
            f.seek(0)
            total[0] = 0
            adding = gevent.spawn(add)
            gevent.sleep(0)
            adding.kill()
            assert f.tell() == total[0]


def test_memory_file_system() -> None:
    path = Path(f"/dev/shm/efio-test-{os.getpid()}")
    try:
        with efio.open(path, "x+b") as f:
            f.write(b"abc" * 5000)
            f.seek(0)
            assert in_greenlets(f.read) == [b"abc" * 5000]
    finally:
        path.unlink()


def test_positional(tmp_path: Path) -> None:
    with efio.open(tmp_path / "f", "w+b", buffering=0) as f:
        f.write(b"0123456789")

        def use() -> None:
            assert f.pwrite(b"xy", 4) == 2
            assert f.pread(4, 3) == b"3xy6"
            assert f.tell() == 10
            f.sync()
            f.sync(data_only=True)
            f.truncate(5)

        in_greenlets(use)
        found = f.statistics()  # type: ignore[attr-defined]
        assert found == efio.FileStatistics(cached_reads=0, blocking_calls=6, switched=5)
        assert f.seek(0) == 0
        assert f.read(9) == b"0123x"
        assert sum(dataclasses.astuple(f.statistics())[:2]) == 7  # type: ignore[attr-defined]
    assert (tmp_path / "f").read_bytes() == b"0123x"


def test_pipe_switches_the_greenlet() -> None:
    r, w = os.pipe()
    with efio.open(r, "rb", buffering=0) as reader, efio.open(w, "wb", buffering=0) as writer:
        assert in_greenlets(lambda: reader.read(10), lambda: writer.write(b"late"))[0] == b"late"


def test_full_disk_and_closed_file(tmp_path: Path) -> None:
    def fill() -> None:
        with efio.open("/dev/full", "wb", buffering=0) as f, pytest.raises(OSError, match="No space left") as caught:
            f.write(b"x")
        assert caught.value.errno == errno.ENOSPC
        buffered = efio.open("/dev/full", "wb")
        buffered.write(b"x")
        with pytest.raises(OSError, match="No space left"):
            buffered.close()
        assert buffered.closed
        f = efio.open(tmp_path / "f", "wb")
        f.close()
        with pytest.raises(ValueError, match="closed file"):
            f.write(b"x")
        with pytest.raises(FileNotFoundError):
            efio.open(tmp_path / "missing")

    fill()
    in_greenlets(fill)


def test_forked_child_reads(tmp_path: Path, uncached: list[int]) -> None:
    (tmp_path / "f").write_bytes(b"child")

    def parent() -> int:
        with efio.open(tmp_path / "f", "rb", buffering=0) as f:
            f.read(1)  # the threads run
            child = gevent.os.fork()
            if child == 0:
                os._exit(0 if efio.open(tmp_path / "f", "rb").read() == b"child" else 1)
            return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    assert in_greenlets(parent) == [0]


def test_fifty_copies(tmp_path: Path, uncached: list[int]) -> None:
    content = os.urandom(300_001)
    (tmp_path / "source").write_bytes(content)

    def copy(number: int) -> None:
        with efio.open(tmp_path / "source", "rb") as source, efio.open(tmp_path / f"{number}", "wb") as target:
            while data := source.read(50_000):
                target.write(data)

    in_greenlets(*(lambda number=number: copy(number) for number in range(50)))
    expected = hashlib.sha256(content).digest()
    assert {hashlib.sha256((tmp_path / f"{n}").read_bytes()).digest() for n in range(50)} == {expected}


def test_tasks_of_asyncio(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"task")

    async def main() -> bytes:
        f = await efio.run_blocking_async(efio.open, tmp_path / "f", "rb")
        try:
            data: bytes = await efio.run_blocking_async(f.read)
            return data
        finally:
            f.close()

    assert asyncio.run(main()) == b"task"


@pytest.mark.parametrize("into", [False, True])
def test_reading_from_the_cache_lets_the_hub_come_round(tmp_path: Path, into: bool) -> None:
    path = tmp_path / "cached"
    path.write_bytes(bytes(1 << 20))

    def work() -> int:
        ticks = 0

        def tick() -> None:
            nonlocal ticks
            while True:
                gevent.sleep(0.0001)
                ticks += 1

        ticker = gevent.spawn(tick)
        gevent.sleep(0)
        buffer = bytearray(65536)
        with efio.open(path, "rb", buffering=0) as file:
            ticks = 0
            for _ in range(100):  # 100 MiB from memory: some 10 ms
                file.seek(0)
                for _ in range(16):
                    assert (file.readinto(buffer) if into else len(file.read(65536))) == 65536
            found = ticks
        ticker.kill()
        return found

    assert in_thread(work, hub=True).result(PATIENCE) > 2

"""Lines get out whole, or are dropped and counted; nothing waits, nothing that is shared is changed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from evpy.server.log_sink import LineSink


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe that holds one page."""
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    yield reader, writer
    for fd in (reader, writer):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(fd)


@pytest.fixture
def sinks() -> Iterator[list[LineSink]]:
    """What a test puts in here is closed."""
    kept: list[LineSink] = []
    yield kept
    for sink in kept:
        sink.close()


def lost(n: int) -> bytes:
    return b"lost %d\n" % n


class TestFile:
    def test_lines_are_appended(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        path.write_text("old\n")
        sinks += [LineSink(str(path)), LineSink(str(path))]
        for n in range(4):
            assert sinks[n % 2].write(b"line %d\n" % n)
        assert path.read_text() == "old\nline 0\nline 1\nline 2\nline 3\n"

    def test_a_file_that_cannot_be_opened(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            LineSink(str(tmp_path / "no" / "log"))

    def test_a_pipe_without_reader_does_not_hang(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "fifo")
        with pytest.raises(OSError, match="No such device or address"):
            LineSink(str(tmp_path / "fifo"))

    def test_a_full_disk_drops_and_tells_later(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        path.symlink_to("/dev/full")
        sink = LineSink(str(path))
        sinks.append(sink)
        assert not sink.write(b"a\n")
        assert not sink.write(b"b\n")
        sink.report(lost)
        assert sink.dropped == 2  # the report itself does not count
        path.unlink()
        sink.reopen()
        assert sink.write(b"c\n")
        sink.report(lost)
        sink.report(lost)
        assert path.read_text() == "c\nlost 2\n"
        assert sink.dropped == 2

    def test_rotation(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        sink = LineSink(str(path))
        sinks.append(sink)
        sink.write(b"a\n")
        path.rename(tmp_path / "log.1")
        sink.write(b"b\n")
        sink.reopen()
        sink.write(b"c\n")
        assert (tmp_path / "log.1").read_text() == "a\nb\n"
        assert path.read_text() == "c\n"

    def test_a_failed_reopening_keeps_the_old_file(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "a" / "log"
        path.parent.mkdir()
        sink = LineSink(str(path))
        sinks.append(sink)
        path.parent.rename(tmp_path / "b")
        with pytest.raises(FileNotFoundError):
            sink.reopen()
        assert sink.write(b"x\n")
        assert (tmp_path / "b" / "log").read_text() == "x\n"

    def test_the_path_stays_the_same_when_the_directory_changes(
        self, tmp_path: Path, sinks: list[LineSink], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)
        sink = LineSink("log")
        sinks.append(sink)
        monkeypatch.chdir("/")
        sink.reopen()
        sink.write(b"x\n")
        assert (tmp_path / "log").read_text() == "x\n"

    def test_it_is_not_inherited(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        sink = LineSink(str(path))
        sinks.append(sink)
        for _ in range(2):
            (fd,) = [fd for fd in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{fd}") == str(path)]
            assert not os.get_inheritable(int(fd))
            sink.reopen()

    def test_after_closing_lines_are_dropped(self, tmp_path: Path) -> None:
        sink = LineSink(str(tmp_path / "log"))
        sink.close()
        sink.close()
        assert not sink.write(b"x\n")
        assert sink.dropped == 1


class TestBorrowed:
    def test_a_regular_file_is_written_in_place(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        with open(tmp_path / "out", "wb", buffering=0) as file:  # as by `evserver 2>out`: not O_APPEND
            file.write(b"before\n")
            sink = LineSink(fd=file.fileno())
            sinks.append(sink)
            sink.write(b"line\n")
            sink.reopen()
            file.write(b"after\n")
        assert (tmp_path / "out").read_bytes() == b"before\nline\nafter\n"

    def test_a_full_pipe_drops(self, pipe: tuple[int, int], sinks: list[LineSink]) -> None:
        sink = LineSink(fd=pipe[1])
        sinks.append(sink)
        assert sink.write(b"x" * 4095 + b"\n")
        assert not sink.write(b"y\n")
        assert sink.dropped == 1
        assert os.get_blocking(pipe[1])  # others write to the pipe too
        assert os.read(pipe[0], 9999) == b"x" * 4095 + b"\n"
        assert sink.write(b"z\n")
        sink.report(lost)
        assert os.read(pipe[0], 9999) == b"z\nlost 1\n"

    def test_a_line_that_was_cut_short_ends_before_the_next(self, pipe: tuple[int, int], sinks: list[LineSink]) -> None:
        sink = LineSink(fd=pipe[1])
        sinks.append(sink)
        assert not sink.write(b"x" * 5000 + b"\n")
        assert os.read(pipe[0], 9999) == b"x" * 4096
        assert sink.write(b"y\n")
        assert sink.write(b"z\n")
        assert os.read(pipe[0], 9999) == b"\ny\nz\n"
        assert sink.dropped == 1

    def test_a_reader_that_is_gone_drops(self, pipe: tuple[int, int], sinks: list[LineSink]) -> None:
        sink = LineSink(fd=pipe[1])
        sinks.append(sink)
        os.close(pipe[0])
        assert not sink.write(b"x\n")
        assert sink.dropped == 1

    def test_a_pipe_of_somebody_else(
        self, pipe: tuple[int, int], sinks: list[LineSink], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no(path: object, flags: int, *args: object, **rest: object) -> int:
            raise PermissionError(errno.EACCES, str(path))

        with monkeypatch.context() as patch:
            patch.setattr(os, "open", no)
            sink = LineSink(fd=pipe[1])
        sinks.append(sink)
        assert sink.write(b"x" * 4095 + b"\n")
        assert not sink.write(b"y\n")  # would wait for ever without asking first
        os.read(pipe[0], 9999)
        assert not sink.write(b"z" * 5000 + b"\n")
        assert os.read(pipe[0], 9999) == b"z" * 4096
        assert sink.write(b"a\n")
        assert os.read(pipe[0], 9999) == b"\na\n"
        os.close(pipe[0])
        assert not sink.write(b"b\n")
        assert sink.dropped == 3

    def test_a_socket_as_of_systemd(self, sinks: list[LineSink]) -> None:
        ours, theirs = socket.socketpair()
        with ours, theirs:
            sink = LineSink(fd=ours.fileno())
            sinks.append(sink)
            assert sink.write(b"x\n")
            assert theirs.recv(99) == b"x\n"
            fits = 0
            while sink.write(b"y" * 1000 + b"\n"):
                fits += 1
            assert sink.dropped == 1
            assert ours.getblocking()
            assert os.get_blocking(ours.fileno())
            theirs.close()
            assert not sink.write(b"z\n")  # and no SIGPIPE

    def test_a_closed_descriptor_is_not_taken(self, pipe: tuple[int, int], sinks: list[LineSink]) -> None:
        os.close(pipe[1])
        sinks.append(LineSink(fd=pipe[1]))
        reader, writer = os.pipe()  # gets the number again
        try:
            assert sinks[0].write(b"x\n")
            os.set_blocking(reader, False)
            with pytest.raises(BlockingIOError):
                os.read(reader, 1)
        finally:
            os.close(reader)
            os.close(writer)

    def test_closing_leaves_it_open(self, tmp_path: Path) -> None:
        with open(tmp_path / "out", "wb", buffering=0) as file:
            LineSink(fd=file.fileno()).close()
            file.write(b"x")


class TestTogether:
    def test_threads(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        sink = LineSink(str(path))
        sinks.append(sink)
        start = threading.Barrier(4)

        def work(name: bytes) -> None:
            start.wait()
            for n in range(500):
                assert sink.write(b"%s %d\n" % (name * 50, n))

        threads = [threading.Thread(target=work, args=(name,)) for name in (b"a", b"b", b"c", b"d")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = [f"{name * 50} {n}" for name in "abcd" for n in range(500)]
        assert sorted(path.read_text().splitlines()) == sorted(expected)

    def test_every_drop_of_every_thread_counts(self, sinks: list[LineSink]) -> None:
        sink = LineSink("/dev/full")
        sinks.append(sink)

        def work() -> None:
            for _ in range(1000):
                sink.write(b"x\n")

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sink.dropped == 4000

    def test_a_report_while_reporting_is_left_out(self, tmp_path: Path, sinks: list[LineSink]) -> None:
        path = tmp_path / "log"
        path.symlink_to("/dev/full")
        sink = LineSink(str(path))
        sinks.append(sink)
        sink.write(b"x\n")
        path.unlink()
        sink.reopen()

        def interrupted(n: int) -> bytes:
            sink.report(lost)  # as a signal handler might
            return lost(n)

        sink.report(interrupted)
        assert path.read_text() == "lost 1\n"

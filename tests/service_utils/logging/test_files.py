"""Files: rotated by size and time, by several processes at once; full disks; folders that go away."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from service_utils.logging import ConsoleSink, FileSink

HOUR = 3600
KIB = 1024


def write(sink: FileSink, *lines: str) -> None:
    """In this thread, as the sink's thread does it."""
    raw = [f"{line}\n".encode() for line in lines]
    written = sink._try(raw)
    sink._dropped.add(len(raw) - written)


def texts(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def test_by_size(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=10, keep=2)
    write(sink, *(f"l{n}" for n in range(11)))
    assert texts(tmp_path) == {"log": "l9\nl10\n", "log.1": "l6\nl7\nl8\n", "log.2": "l3\nl4\nl5\n"}
    write(sink, "a line that is longer than a file may be", "x")
    assert texts(tmp_path)["log.1"].startswith("a line that")
    sink.close()


def test_by_time(tmp_path: Path) -> None:
    now = [1000 * HOUR + 5.0]
    path = tmp_path / "log"

    def at(hour: float) -> None:
        """The clock goes to there; what was written just before is that old."""
        os.utime(path, (now[0], now[0]))
        now[0] = hour * HOUR

    sink = FileSink(path, every="hour", keep=2, clock=lambda: now[0])
    write(sink, "a")
    at(1000.9)
    write(sink, "b")
    at(1001)
    write(sink, "c")
    at(1003)
    sink.close()
    sink = FileSink(path, every="hour", keep=2, clock=lambda: now[0])  # a process that is started later sees it, too
    write(sink, "d")
    assert texts(tmp_path) == {"log": "d\n", "log.1": "c\n", "log.2": "a\nb\n"}
    sink.close()


PROCESS = """
import logging, sys
from service_utils.logging import FileSink, configure
[handler] = configure("info", [FileSink(sys.argv[1], "text", max_bytes=20_000, keep=1000)])
for n in range(2000):
    logging.info("%s %d", sys.argv[2], n)
assert handler.sink.close(60)
assert handler.sink.statistics().written == 2000, handler.sink.statistics()
"""


def test_several_processes_rotate_one_file(tmp_path: Path) -> None:
    path = str(tmp_path / "log")
    processes = [subprocess.Popen([sys.executable, "-P", "-c", PROCESS, path, f"p{n}"]) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    found = texts(tmp_path)
    assert len(found) > 3
    lines = [line.split(": ")[1] for text in found.values() for line in text.splitlines()]
    assert sorted(lines) == sorted(f"p{p} {n}" for p in range(3) for n in range(2000))
    assert all(len(text) <= 20_000 + 3 * 256 * KIB for text in found.values())


def test_another_process_has_rotated_meanwhile(tmp_path: Path, logged: Any) -> None:
    other, sink = FileSink(tmp_path / "log", max_bytes=300), FileSink(tmp_path / "log", max_bytes=300)
    write(other, "a" * 290)
    with (tmp_path / ".log.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        logged(sink).info("b" * 60)  # its thread sees that it is time, and waits for the lock
        inode = os.fstat(lock.fileno()).st_ino
        deadline = time.monotonic() + 60
        while not re.search(rf"-> FLOCK .*:{inode} ", Path("/proc/locks").read_text()):
            assert time.monotonic() < deadline
        other._fd, fd = -1, other._fd
        os.close(fd)
        (tmp_path / "log").rename(tmp_path / "log.1")
        other._open()
        os.write(other._fd, b"c\n")
    assert sink.close(20)
    other.close()
    assert list(texts(tmp_path)) == ["log", "log.1"]
    assert texts(tmp_path)["log.1"] == "a" * 290 + "\n"


def test_moved_by_logrotate(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log")
    write(sink, "a")
    (tmp_path / "log").rename(tmp_path / "moved")
    write(sink, "b")
    shutil.rmtree(tmp_path)
    write(sink, "lost")
    assert "No such file" in sink.statistics().error
    tmp_path.mkdir()
    write(sink, "c")
    assert texts(tmp_path) == {"log": "c\n"}
    assert sink.dropped == 1
    sink.close()


def test_cannot_rotate(tmp_path: Path) -> None:
    sink = FileSink(tmp_path / "log", max_bytes=5)
    (tmp_path / ".log.lock").mkdir()
    write(sink, "abcd", "efgh")
    assert texts(tmp_path) == {"log": "abcd\nefgh\n"}
    assert "cannot rotate" in sink.statistics().error
    sink.close()


def test_full(logged: Any) -> None:
    sink = FileSink("/dev/full", "text")
    log = logged(sink)
    for n in range(100):
        log.info("line %d", n)
    assert sink.close(20)
    assert (sink.dropped, sink.statistics().written) == (100, 0)
    assert "No space left" in sink.statistics().error


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of 64 KiB; for root only."""
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def test_a_disk_that_fills_up_and_is_cleared(small_disk: Path, logged: Any) -> None:
    path, filler = small_disk / "log", small_disk / "filler"
    sink = FileSink(path, "text")
    log = logged(sink)
    filler.write_bytes(bytes(40 * KIB))
    count = 0
    deadline = time.monotonic() + 60
    while sink.dropped < 50:
        log.info("line %d %s", count, "x" * 100)
        count += 1
        while sink.statistics().queued:
            time.sleep(0)
        assert time.monotonic() < deadline
    filler.unlink()
    log.info("works again")
    assert sink.close(20)
    lines = path.read_text().split("\n")
    assert lines.pop() == ""
    [report] = [line for line in lines if "log lines were dropped" in line]
    assert report.endswith(f"lines={sink.dropped}")
    whole = [
        line for line in lines if re.fullmatch(r"\S+Z INFO     \[app \d+\] shop: (line \d+ x{100}|works again)", line)
    ]
    assert len(whole) + sink.dropped == count + 1
    assert len(lines) - len(whole) <= 2, "the report, and perhaps the line at which the disk was full"


LIMITED = """
import logging, resource, sys, time
from service_utils.logging import FileSink, configure
[handler] = configure("info", [FileSink(sys.argv[1], "text")])
_, most = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_050, most))
count = 0
while handler.sink.dropped < 50:
    logging.info("line %d %s", count, "x" * 100)
    count += 1
    while handler.sink.statistics().queued:
        time.sleep(0)
resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
logging.info("works again")
assert handler.sink.close(60)
print(count, handler.sink.dropped)
"""


def test_a_file_that_may_not_grow_for_a_while(tmp_path: Path) -> None:
    """What a full disk does, without one: writes that end in the middle of a line, then none."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", LIMITED, str(tmp_path / "log")], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    count, dropped = map(int, done.stdout.split())
    lines = (tmp_path / "log").read_text().split("\n")
    assert lines.pop() == ""
    assert [line.rsplit("=", 1)[1] for line in lines if "log lines were dropped" in line] == [str(dropped)]
    form = re.compile(r"\S+Z INFO     \[app \d+\] root: (line \d+ x{100}|works again)")
    whole = [line for line in lines if form.fullmatch(line)]
    assert len(whole) + dropped == count + 1
    assert len(lines) - len(whole) <= 2, "the report, and the line at which there was no room"


def test_a_pipe_that_nobody_reads(tmp_path: Path, logged: Any) -> None:
    """Neither who opens it nor the thread that writes waits for a reader."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="No such device"):
        FileSink(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    try:
        sink = FileSink(tmp_path / "pipe")
        log = logged(sink)
        for _ in range(200):
            log.info("x" * 1000)
        assert sink.close(20)
        assert sink.dropped
    finally:
        os.close(reader)


def test_console(logged: Any) -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    sink = ConsoleSink(writing)
    log = logged(sink)
    for n in range(3000):  # more than the pipe holds
        log.info("line %d", n)
    read = b""
    while read.count(b"\n") < 3000:
        read += os.read(reading, 65536)
    assert sink.close(20)
    assert [int(line.rsplit(b" ", 1)[1]) for line in read.splitlines()] == list(range(3000))
    os.close(reading)
    os.close(writing)


def test_arguments(tmp_path: Path) -> None:
    for bad in ({"every": "year"}, {"keep": 0}, {"max_bytes": -1}):
        with pytest.raises(ValueError, match=r"every|keep"):
            FileSink(tmp_path / "log", **bad)  # type: ignore[arg-type]
    for path in (tmp_path, tmp_path / "no" / "log"):
        with pytest.raises(OSError, match=str(path)):
            FileSink(path)
    with pytest.raises(OSError, match="cannot rotate"):
        FileSink("/dev/null", max_bytes=5)
    assert logging.getLogger().handlers is not None

"""Writing behind: order, the watermark, and errors that come late."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread, until
from forks import ended_well, in_child

import efio
from efio import behind
from efio.behind import WriteBehind


@pytest.fixture(autouse=True)
def _no_threads_stay() -> Iterator[None]:
    yield
    efio.default_pool().shutdown()


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """The disk: it writes when the event is set."""
    event = threading.Event()

    class Slow:
        def __getattr__(self, name: str) -> Any:
            return getattr(os, name)

        def writev(self, fd: int, views: Any) -> int:
            assert event.wait(PATIENCE)
            return os.writev(fd, views)

    monkeypatch.setattr(behind, "os", Slow())
    return event


@pytest.mark.parametrize("hub", [False, True])
@pytest.mark.parametrize("buffering", [0, -1])
def test_what_is_written_is_there_in_order(tmp_path: Path, hub: bool, buffering: int) -> None:
    pieces = [os.urandom((k * 131) % 5000) for k in range(1000)]

    def work() -> None:
        with efio.open(tmp_path / "f", "wb", buffering, write_behind=20_000) as file:
            for k, piece in enumerate(pieces):
                assert file.write(piece) == len(piece)
                if k == 500:
                    assert file.tell() == sum(map(len, pieces[:501]))

    in_thread(work, hub=hub).result(PATIENCE)
    assert (tmp_path / "f").read_bytes() == b"".join(pieces)


def test_text(tmp_path: Path) -> None:
    with efio.open(tmp_path / "f", "w", encoding="utf-8", write_behind=1000) as file:
        file.writelines(f"größe {n}\n" for n in range(1000))
    assert (tmp_path / "f").read_text().splitlines() == [f"größe {n}" for n in range(1000)]


def test_writers_go_on_up_to_the_watermark(tmp_path: Path, gate: threading.Event) -> None:
    with efio.open(tmp_path / "f", "wb", 0, write_behind=100) as file:
        for _ in range(10):
            file.write(b"x" * 10)  # nothing is on the disk yet
        waiting = in_thread(lambda: file.write(b"beyond"))
        until(lambda: file.statistics().waits == 1)  # type: ignore[attr-defined]
        assert not waiting.done()
        assert file.pending == 100  # type: ignore[attr-defined]
        gate.set()
        assert waiting.result(PATIENCE) == 6
        file.flush()
        assert file.pending == 0  # type: ignore[attr-defined]
        assert file.statistics() == efio.WriteBehindStatistics(  # type: ignore[attr-defined]
            pending=0, watermark=100, written=106, waits=1, failed=False
        )
    assert (tmp_path / "f").stat().st_size == 106


def test_a_waiting_greenlet_lets_others_run(tmp_path: Path, gate: threading.Event) -> None:
    def work() -> list[str]:
        seen = []

        def write() -> None:
            with efio.open(tmp_path / "f", "wb", 0, write_behind=1) as file:
                file.write(b"first")
                file.write(b"second")
            seen.append("written")

        writer = gevent.spawn(write)
        for _ in range(5):
            gevent.sleep(0.001)
        seen.append("others ran")
        gate.set()
        writer.get(timeout=PATIENCE)
        return seen

    assert in_thread(work, hub=True).result(PATIENCE) == ["others ran", "written"]


@pytest.mark.parametrize("mode", ["wb", "w"])
def test_flushing_a_buffered_file_waits(tmp_path: Path, gate: threading.Event, mode: str) -> None:
    """io.BufferedWriter's flush would leave it with the file below, which only notes it."""
    with efio.open(tmp_path / "f", mode, write_behind=1000) as file:
        file.write("text" if mode == "w" else b"text")
        flushing = in_thread(file.flush)
        with pytest.raises(TimeoutError):
            flushing.result(0.05)
        gate.set()
        flushing.result(PATIENCE)
        assert (tmp_path / "f").read_text() == "text"


def test_a_late_error_is_raised_by_every_later_call_and_by_close() -> None:
    file = efio.open("/dev/full", "wb", 0, write_behind=1000)
    file.write(b"it seems to have been written")
    with pytest.raises(OSError, match="No space left") as caught:
        file.flush()
    assert caught.value.errno == errno.ENOSPC
    for call in (lambda: file.write(b"more"), file.flush, file.tell):
        with pytest.raises(OSError, match="No space left"):
            call()
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert file.closed
    file.close()
    with pytest.raises(ValueError, match="closed file"):
        file.write(b"x")


def test_close_alone_tells() -> None:
    file = efio.open("/dev/full", "w", encoding="utf-8", write_behind=1000)
    file.write("text")
    with pytest.raises(OSError, match="No space left"):
        file.close()
    assert file.closed


def test_sync_and_seek(tmp_path: Path) -> None:
    with efio.open(tmp_path / "f", "wb", 0, write_behind=1000) as file:
        assert isinstance(file, WriteBehind)
        file.write(b"0123456789")
        file.sync()
        file.sync(data_only=True)
        assert (tmp_path / "f").read_bytes() == b"0123456789"
        file.seek(2)
        file.write(b"two")
        file.flush()
        file.truncate(8)
    assert (tmp_path / "f").read_bytes() == b"01two567"


def test_what_cannot_be(tmp_path: Path) -> None:
    for mode in ("rb", "r+b", "w+"):
        with pytest.raises(ValueError, match=r"write_behind is for files that are only written, not for mode"):
            efio.open(tmp_path / "f", mode, write_behind=10)
    with pytest.raises(ValueError, match=r"write_behind=0: at least 1 byte"):
        efio.open(tmp_path / "f", "wb", write_behind=0)


def test_a_forked_child_does_not_wait_for_its_parents_thread(tmp_path: Path, gate: threading.Event) -> None:
    with efio.open(tmp_path / "f", "ab", 0, write_behind=100) as file:
        file.write(b"of the parent, ")  # its thread stands before the gate

        def child() -> None:
            file.flush()
            gate.set()
            file.write(b"of the child, ")
            file.flush()
            assert file.pending == 0  # type: ignore[attr-defined]

        assert ended_well(in_child(child))
        gate.set()
    assert (tmp_path / "f").read_bytes() == b"of the child, of the parent, "


def test_a_device_that_fails() -> None:
    """EIO: nothing can be written at address 0."""
    file = efio.open("/proc/self/mem", "wb", 0, write_behind=1000)
    file.write(b"it seems to have been written")
    with pytest.raises(OSError, match="Input/output error"):
        file.flush()
    with pytest.raises(OSError, match="Input/output error"):
        file.close()
    assert file.closed


@pytest.mark.parametrize("behind", [None, 1 << 20])
@pytest.mark.parametrize("hub", [False, True])
def test_a_full_file_system(tmp_path: Path, behind: int | None, hub: bool) -> None:
    """What was written before it was full is there; when there is room again, a new file is written as a whole."""
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "efio-test", tmp_path], capture_output=True, check=False
    ).returncode:
        pytest.skip("mounting a small file system takes privileges")
    try:

        def fill() -> None:
            with efio.open(tmp_path / "full", "wb", 0, write_behind=behind) as file:
                for _ in range(100):
                    file.write(b"x" * 1000)
                file.flush()

        with pytest.raises(OSError, match="No space left on device"):
            in_thread(fill, hub=hub).result(PATIENCE)
        written = (tmp_path / "full").read_bytes()
        assert 0 < len(written) <= 65536
        assert written.strip(b"x") == b""
        (tmp_path / "full").unlink()
        in_thread(lambda: write_all(tmp_path / "new", behind), hub=hub).result(PATIENCE)
        assert (tmp_path / "new").stat().st_size == 50_000
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def write_all(path: Path, behind: int | None) -> None:
    with efio.open(path, "wb", write_behind=behind) as file:
        file.write(b"y" * 50_000)

"""The shape of the shared segment, from the settings."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from evpy._core import Worker
from evpy.errors import StartupError
from evpy.server import segment
from evpy.server.settings import Settings


def settings(**changes: object) -> Settings:
    return Settings(target="main.py", **changes)  # type: ignore[arg-type]


def test_there_is_room_for_a_reload_and_for_stand_ins() -> None:
    with contextlib.closing(segment.create(settings(workers=3, threads=2, io_threads=2))) as made:
        assert (made.slots, made.threads, made.io_threads) == (8, 4, 2)


def test_each_request_that_the_settings_allow_has_a_slab() -> None:
    with contextlib.closing(segment.create(settings(workers=2, threads=2, concurrency=100, queue=50))) as made:
        assert made.slabs >= 50 + 2 * 2 * 100


def test_the_number_of_slabs_is_bounded() -> None:
    with contextlib.closing(segment.create(settings(workers=8, concurrency=100_000, io_threads=4))) as made:
        assert made.slabs * 4 <= segment.MOST_SLABS


def test_inline_mode_has_one_slot_and_one_thread() -> None:
    with contextlib.closing(segment.create(settings(workers=0, threads=4, io_threads=4), shared=False)) as made:
        assert (made.slots, made.threads, made.io_threads) == (1, 1, 1)


def test_a_system_that_refuses_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("def handle(request): pass")
    evserver = Path(sys.executable).with_name("evserver")
    command = f"ulimit -n 50 && exec {evserver} -c '' -b 127.0.0.1:0 -w 100 {tmp_path}/main.py"
    done = subprocess.run(["sh", "-c", command], check=False, capture_output=True, text=True)
    assert done.returncode == 3
    assert "evserver: error: cannot create the shared segment for 100 workers: Too many open files; use" in done.stderr


def test_every_setting_that_needs_a_restart_is_one() -> None:
    known = settings().to_dict()
    assert set(segment.RUNNING_ONLY) <= set(known)


def test_the_access_log_is_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    path.write_text("before\n")
    fd = segment.open_access_log(str(path))
    os.write(fd, b"line\n")
    os.close(fd)
    assert path.read_text() == "before\nline\n"
    assert segment.open_access_log(None) == -1
    with pytest.raises(StartupError, match=r"cannot write the access log to .*: No such file or directory; choose"):
        segment.open_access_log(str(tmp_path / "missing" / "log"))


def test_a_heart_beats_from_the_start() -> None:
    """A process that is stopped before the thread that writes it has run is no process that never lived."""
    for _ in range(20):
        with contextlib.closing(segment.create(settings(workers=1))) as made:
            made.begin_worker(0)
            worker = Worker(made, 0)
            worker.start_heartbeat()
            try:
                assert made.worker_info(0)["heartbeat_age"] is not None
            finally:
                worker.stop_heartbeat()

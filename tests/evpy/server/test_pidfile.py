"""The pid file: one server of a name, and no mistaking of strangers for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from evpy.errors import StartupError
from evpy.server.pidfile import PidFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "evserver.pid"


def test_it_holds_our_number_and_is_removed(path: Path) -> None:
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    file.remove()
    assert not path.exists()
    file.remove()


def test_one_that_a_living_server_holds_is_refused(path: Path) -> None:
    hold = (
        "import sys; from evpy.server.pidfile import PidFile; "
        "f = PidFile(sys.argv[1]); print(flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-P", "-c", hold, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline()
        with pytest.raises(StartupError, match=rf"process {holder.pid} is running with the pid file '.*'; stop it"):
            PidFile(str(path))
        assert path.read_text() == f"{holder.pid}\n"
        holder.kill()
    PidFile(str(path)).remove()  # the lock went with the process, although the file stayed


@pytest.mark.parametrize("content", ["", "not a number", "1", "999999999", "-5"])
def test_one_that_is_left_over_is_replaced(path: Path, content: str) -> None:
    path.write_text(content)  # 1 lives, but is no server of ours
    file = PidFile(str(path))
    assert path.read_text() == f"{os.getpid()}\n"
    file.remove()


def test_an_unlocked_one_with_the_number_of_a_server_is_refused(path: Path) -> None:
    wait = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", wait, "evserver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        path.write_text(f"{other.pid}\n")
        with pytest.raises(StartupError, match=f"process {other.pid} is running"):
            PidFile(str(path))
        other.kill()


def test_an_unlocked_one_with_the_number_of_a_stranger_is_replaced(path: Path) -> None:
    """Who looks at our log or edits our settings is no server."""
    wait = "import sys; print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", wait, "/var/log/evserver.log"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline()
        path.write_text(f"{other.pid}\n")
        file = PidFile(str(path))
        assert path.read_text() == f"{os.getpid()}\n"
        file.remove()
        other.kill()


def test_one_that_somebody_has_replaced_is_not_removed(path: Path) -> None:
    file = PidFile(str(path))
    path.unlink()
    path.write_text("12345\n")
    file.remove()
    assert path.read_text() == "12345\n"


def test_where_it_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match=r"cannot write the pid file .*: No such file or directory; choose another"):
        PidFile(str(tmp_path / "missing" / "pid"))

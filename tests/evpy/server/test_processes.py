"""Children, pidfds and signals."""

from __future__ import annotations

import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from evpy.server.processes import (
    Child,
    Signals,
    describe_exit,
    private_memory,
    python_command,
    raise_descriptor_limit,
    reap_strangers,
    spawn,
)


@pytest.fixture
def children() -> Iterator[list[Child]]:
    started: list[Child] = []
    yield started
    for child in started:
        child.send(signal.SIGKILL)
        child.wait()
        child.close()


def python(children: list[Child], source: str, **options: object) -> Child:
    child = spawn([sys.executable, "-S", "-c", source], **options)  # type: ignore[arg-type]
    children.append(child)
    return child


def ended(child: Child) -> int:
    """Waits for the descriptor, which is what the supervisor does."""
    assert select.select([child], [], [], 20)[0], "its pidfd does not become readable"
    status = child.exit_status()
    assert status is not None
    return status


def test_a_child_is_readable_when_it_has_ended(children: list[Child]) -> None:
    child = python(children, "import sys; sys.stdin.read(); sys.exit(7)", stdin=subprocess.PIPE)
    assert child.exit_status() is None
    assert select.select([child], [], [], 0)[0] == []
    assert child._popen.stdin is not None
    child._popen.stdin.close()
    assert ended(child) == 7
    assert child.exit_status() == 7


def test_a_signal_reaches_it_and_none_is_sent_to_the_dead(children: list[Child]) -> None:
    child = python(children, "import time; time.sleep(1000)")
    child.send(signal.SIGTERM)
    assert ended(child) == -signal.SIGTERM
    child.send(signal.SIGTERM)


def test_only_the_named_descriptors_are_inherited(children: list[Child]) -> None:
    kept, other = os.pipe()
    try:
        python(children, f"import os; os.fstat({kept})", descriptors=[kept])
        python(children, f"import os; os.fstat({other})", descriptors=[kept])
        assert ended(children[0]) == 0
        assert ended(children[1]) == 1
    finally:
        os.close(kept)
        os.close(other)


def test_signals_can_be_blocked_from_the_first_instruction_and_ours_stay_as_they_are(children: list[Child]) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    source = "import signal; print(sorted(signal.pthread_sigmask(0, [])))"
    reader, writer = os.pipe()
    child = python(children, source, blocked=[signal.SIGHUP, signal.SIGINT], stdout=writer)
    os.close(writer)
    assert ended(child) == 0
    with os.fdopen(reader) as output:
        assert output.read() == f"{sorted([signal.SIGHUP, signal.SIGINT])}\n"
    assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == before


def test_what_cannot_be_started_is_an_oserror(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn([str(tmp_path / "nothing")])


def test_the_command_runs_a_module_as_we_run_without_the_current_directory(tmp_path: Path) -> None:
    (tmp_path / "evpy.py").write_text("raise SystemExit('imported from the current directory')")
    command = [*python_command("evpy.server.status", 1, "x")]
    assert command[0] == sys.executable
    assert command[-4:] == ["-m", "evpy.server.status", "1", "x"]
    done = subprocess.run(command, check=False, cwd=tmp_path, capture_output=True, text=True)
    assert done.stderr.startswith("usage: python -m evpy.server.status PID")


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (0, "exit code 0"),
        (3, "exit code 3"),
        (-9, "killed by SIGKILL"),
        (-11, "killed by SIGSEGV"),
        (-63, "killed by signal 63"),
    ],
)
def test_an_exit_status_in_words(status: int, words: str) -> None:
    assert describe_exit(status) == words


def test_memory_that_is_shared_does_not_count(children: list[Child]) -> None:
    reader, writer = os.pipe()
    source = "import mmap, sys; m = mmap.mmap(-1, 64 << 20, {}); m.write(b'x' * (64 << 20)); "
    source += "print(flush=True); sys.stdin.read()"
    sizes = []
    for flags in ("mmap.MAP_SHARED", "mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS"):
        child = python(children, source.format(flags), stdin=subprocess.PIPE, stdout=writer)
        assert os.read(reader, 1) == b"\n"
        sizes.append(private_memory(child.pid) or 0)
        assert child._popen.stdin is not None
        child._popen.stdin.close()
    os.close(reader)
    os.close(writer)
    shared, private = sizes
    assert private - shared == pytest.approx(64 << 20, rel=0.1)


def test_memory_of_nobody() -> None:
    assert private_memory(1 << 30) is None


def test_children_of_others_are_reaped_and_ours_are_left_alone(children: list[Child]) -> None:
    reap_strangers(set())  # what servers killed by earlier tests have left to us
    own = python(children, "pass")
    assert select.select([own], [], [], 20)[0]
    assert reap_strangers({own.pid}) == 0
    assert own.exit_status() == 0
    stranger = os.posix_spawn(sys.executable, [sys.executable, "-S", "-c", "pass"], {})
    watched = os.pidfd_open(stranger)
    assert select.select([watched], [], [], 20)[0]
    os.close(watched)
    assert reap_strangers({own.pid}) >= 1  # one that an earlier test has left may have ended meanwhile
    with pytest.raises(ChildProcessError):
        os.waitpid(stranger, 0)


def test_the_descriptor_limit_is_raised_to_what_is_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_descriptor_limit() > 256
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 256
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_signals_arrive_in_order_and_what_was_before_comes_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    signals = Signals([signal.SIGUSR1, signal.SIGUSR2])
    try:
        assert signals.take() == []
        for signum in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1):
            signal.raise_signal(signum)
        assert select.select([signals], [], [], 20)[0]
        assert signals.take() == [signal.SIGUSR1, signal.SIGUSR2, signal.SIGUSR1]
        assert signals.take() == []
    finally:
        signals.close()
    assert signal.getsignal(signal.SIGUSR1) == before

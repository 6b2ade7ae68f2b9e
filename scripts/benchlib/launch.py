"""Starts a server on its core, waits until it answers, and makes sure that nothing of it is left.

The server leads a session of its own, so Ctrl-C in the terminal reaches this program only, which then stops the server
in its ``finally``. It is asked to stop by SIGTERM to its first process; what is still there after five seconds is
killed, process by process, each one checked by pid and start time.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchlib.places import BenchError
from benchlib.procfs import ProcessTree, read_stat

__all__ = ["Running", "free_port", "launch", "on_cpus", "raise_file_limit"]

STOP_SECONDS = 5.0
QUIET_SECONDS = 0.3


def free_port() -> int:
    """A TCP port on the loopback interface that nobody uses at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def raise_file_limit(wanted: int) -> int:
    """Raises the number of open files for this process and its children; returns what was reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        with contextlib.suppress(ValueError, OSError):  # only root may raise the hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(wanted, hard)))
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < wanted:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


@contextlib.contextmanager
def on_cpus(cpus: set[int]) -> Iterator[None]:
    """Children started inside inherit these CPUs, from their very first instruction."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cpus)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@dataclass
class Running:
    """A server that answers."""

    name: str
    port: int
    tree: ProcessTree
    cpus: set[int]
    log: Path
    first_answer: float  # seconds from the command to the end of the first right answer


def _ask(port: int, path: str, timeout: float) -> bytes | None:
    """The body of a 200 answer, None when nobody listens yet; BenchError for another answer that is no 5xx."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read()
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
    if answer.status == 200:
        return body
    if answer.status >= 500:
        return None
    raise BenchError(f"answers GET {path} with {answer.status}")


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f": {lines[-1][:200]}" if lines else ""


def _wait_for_answer(process: subprocess.Popen[bytes], port: int, path: str, log: Path, limit: float) -> None:
    """Returns with the first right answer. BenchError when the server dies or is silent for too long."""
    give_up = time.monotonic() + limit
    while True:
        if (left := give_up - time.monotonic()) <= 0:
            raise BenchError(f"no answer within {limit:.0f} s{_last_line(log)}")
        if _ask(port, path, left) is not None:
            return
        if (status := process.poll()) is not None:
            raise BenchError(f"ended with status {status}{_last_line(log)}")
        time.sleep(0.001)


def _wait_until_quiet(tree: ProcessTree, limit: float = 5.0) -> None:
    """The first answer may come from the first of many workers: wait until none of them is busy starting."""
    give_up = time.monotonic() + limit
    while time.monotonic() < give_up:
        before = tree.cpu_seconds()
        time.sleep(QUIET_SECONDS)
        if tree.cpu_seconds() - before < 0.1 * QUIET_SECONDS:
            return


def _stop(process: subprocess.Popen[bytes], tree: ProcessTree) -> None:
    processes = tree.look()
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    give_up = time.monotonic() + STOP_SECONDS
    while time.monotonic() < give_up and any(s.state != "Z" for s in processes):
        time.sleep(0.01)
        processes = tree.look()
    for stat in processes:
        now = read_stat(stat.pid)
        if now and now.key == stat.key:
            with contextlib.suppress(ProcessLookupError):
                os.kill(stat.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def launch(
    name: str,
    command: Callable[[int], Sequence[str]],
    env: dict[str, str],
    *,
    cpus: set[int],
    log: Path,
    path: str = "/",
    limit: float = 30.0,
    settle: bool = True,
) -> Iterator[Running]:
    """Runs ``command(port)`` on ``cpus`` and yields when it answers 200; stops all of it afterwards. BenchError."""
    port = free_port()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output, on_cpus(cpus):
        started = time.monotonic()
        try:
            process = subprocess.Popen(
                command(port),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        except OSError as error:
            raise BenchError(f"cannot be started: {error}") from None
    tree = ProcessTree(process.pid)
    try:
        _wait_for_answer(process, port, path, log, limit)
        first_answer = time.monotonic() - started
        if settle:
            _wait_until_quiet(tree)
        tree.pin(cpus)
        yield Running(name, port, tree, cpus, log, first_answer)
        if process.poll() is not None:
            raise BenchError(f"died while it was measured{_last_line(log)}")
    finally:
        _stop(process, tree)

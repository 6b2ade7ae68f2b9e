"""evserver in a process of its own."""

from __future__ import annotations

import contextlib
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from serving.client import PATIENCE, Answer, Client
from serving.ports import free_port


class Server:
    """``with Server(target, "-w", "2") as server: server.get("/")``.

    ``target`` is a path, or the source of a handler script. At the end the server gets SIGTERM and must exit with
    ``exit_code``; its log is kept in ``log`` and shown when it does not.
    """

    def __init__(
        self,
        target: str | Path,
        *options: str,
        exit_code: int | None = 0,
        env: dict[str, str] | None = None,
        ready: bool = True,
    ) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="evpy-test-")
        if isinstance(target, str) and "\n" in target:
            path = Path(self.folder.name) / "main.py"
            path.write_text(target)
            target = path
        self.target = Path(target)
        self.port = free_port()
        self.address = ("127.0.0.1", self.port)
        self.exit_code = exit_code
        self.wait_ready = ready
        self.options = options
        self.env = env
        self._log = ""
        self._begun_line = b""
        self._log_ended = False
        self._log_lock = threading.Condition()
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def command(self) -> list[str]:
        evserver = str(Path(sys.executable).with_name("evserver"))
        return [evserver, str(self.target), "-b", f"127.0.0.1:{self.port}", "-c", "", *self.options]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(check=False)
            raise
        return self

    def start(self) -> None:
        self.process = subprocess.Popen(
            self.command(),
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, **(self.env or {})},
        )
        self._reader = threading.Thread(target=self._read_log, daemon=True)
        self._reader.start()
        if self.wait_ready:
            self.wait_log(r"\bready\b")

    @property
    def log(self) -> str:
        """Everything that the server has logged until now, whether our thread has come round to it or not."""
        with self._log_lock:
            self._take_log()
            return self._log

    def _read_log(self) -> None:
        assert self.process is not None
        assert self.process.stderr is not None
        os.set_blocking(self.process.stderr.fileno(), False)
        arrives = select.poll()
        arrives.register(self.process.stderr, select.POLLIN)
        while not self._log_ended:
            arrives.poll(1000)
            with self._log_lock:
                self._take_log()

    def _take_log(self) -> None:
        """Takes the whole lines that have arrived. For the holder of the lock."""
        if self.process is None or self._log_ended:
            return
        assert self.process.stderr is not None
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self.process.stderr.fileno(), 1 << 16):
                lines, end, self._begun_line = (self._begun_line + data).rpartition(b"\n")
                self._log += (lines + end).decode(errors="replace")
                self._log_lock.notify_all()
            self._log += self._begun_line.decode(errors="replace") + "\n[end of log]\n"
            self._log_ended = True
            self._log_lock.notify_all()

    def wait_log(self, pattern: str, count: int = 1, timeout: float = PATIENCE) -> list[str]:
        """Waits until the log has ``count`` matches of the pattern; returns them."""
        deadline = time.monotonic() + timeout
        with self._log_lock:
            while True:
                found = [m.group(0) for m in re.finditer(pattern, self.log)]
                if len(found) >= count:
                    return found
                if self._log_ended or not self._log_lock.wait(deadline - time.monotonic()):
                    raise AssertionError(f"no {count} x {pattern!r} in the log:\n{self.log}")

    def wait_until(self, true: Callable[[], object], what: str, timeout: float = PATIENCE) -> None:
        """Polls a condition that nothing announces."""
        deadline = time.monotonic() + timeout
        while not true():
            if time.monotonic() > deadline:
                raise AssertionError(f"still not: {what}\n{self.log}")
            time.sleep(0.01)

    def __exit__(self, *exc: object) -> None:
        self.stop(check=exc[0] is None)

    def signal(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self, check: bool = True) -> None:
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            if self.process.poll() is None:
                self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            for pid in [*children(self.pid), self.pid]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait()
            code = "a hang"  # type: ignore[assignment]
        self._reader.join(5)  # it goes on when somebody has inherited the log
        with self._log_lock:
            self._log_ended = True
            assert self.process.stderr is not None
            self.process.stderr.close()
        self.folder.cleanup()
        if check and self.exit_code is not None:
            assert code == self.exit_code, f"evserver ended with {code}:\n{self.log}"

    def wait(self) -> int:
        assert self.process is not None
        return self.process.wait(PATIENCE)

    def client(self) -> Client:
        return Client(self.address)

    def get(self, target: str = "/", *headers: str) -> Answer:
        with self.client() as client:
            return client.get(target, *headers)

    def children(self) -> dict[int, str]:
        """Pids of the server's processes below the supervisor, with their command lines."""
        return {pid: _cmdline(pid) for pid in children(self.pid)}

    def workers(self) -> list[int]:
        return [pid for pid, line in self.children().items() if "evpy.server.worker" in line]

    def gateway(self) -> int:
        return next(pid for pid, line in self.children().items() if "evpy-gateway" in line)


def _cmdline(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


def children(pid: int) -> list[int]:
    """The kernel may leave out a living one while another one ends (proc(5)): looks until it is told the same twice."""
    last, found = None, _children_once(pid)
    while found != last:
        last, found = found, _children_once(pid)
    return found


def _children_once(pid: int) -> list[int]:
    found = []
    with contextlib.suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def all_below(pid: int) -> Iterator[int]:
    for child in children(pid):
        yield child
        yield from all_below(child)

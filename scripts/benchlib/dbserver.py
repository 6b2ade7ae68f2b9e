"""A PostgreSQL server of Debian's for benchmarks: in a folder of its own, without durability, on given cores."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchlib.launch import free_port, on_cpus
from benchlib.places import BenchError

__all__ = ["Postgresql", "postgresql", "postgresql_server"]


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if found is None:
        raise BenchError(f"no {name}; on Debian: apt-get install --no-install-recommends postgresql")
    return found


class Postgresql:
    """A server with an empty database. BenchError when it cannot be had."""

    def __init__(self, cpus: set[int]) -> None:
        self._cpus = cpus
        self._postgres, self._ready = _program("postgres"), _program("pg_isready")
        self._folder = Path(tempfile.mkdtemp(prefix="evpy-bench-"))
        self._port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:  # postgres refuses to be root
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
            self._who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        self._env = {"PATH": os.environ["PATH"], "HOME": str(self._folder), "LC_ALL": "C"}
        self.url = f"postgresql://bench@127.0.0.1:{self._port}/postgres"

    def install(self) -> None:
        command = [_program("initdb"), "-D", str(self._folder / "data"), "-U", "bench", "--auth=trust", "-E", "UTF8"]
        done = subprocess.run(
            [*command, "--no-sync"], cwd=self._folder, env=self._env, capture_output=True, text=True, check=False,
            **self._who,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"initdb failed: {(done.stderr.splitlines() or ['no message'])[-1]}")

    def start(self, every: float = 0.1) -> None:
        """Runs it and waits until it answers; looks every so many seconds."""
        settings = {
            "port": self._port, "listen_addresses": "127.0.0.1", "unix_socket_directories": self._folder,
            "fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 200,
            "shared_buffers": "128MB", "autovacuum": "off",
        }  # fmt: skip
        command = [self._postgres, "-D", str(self._folder / "data")]
        command += [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        with (self._folder / "log").open("wb") as log, on_cpus(self._cpus):
            self._process = subprocess.Popen(
                command, cwd=self._folder, env=self._env, stdout=log, stderr=log, **self._who
            )  # fmt: skip
        give_up = time.monotonic() + 30
        ask = [self._ready, "-q", "-h", "127.0.0.1", "-p", str(self._port)]
        while subprocess.run(ask, env=self._env, check=False).returncode:
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise BenchError(f"PostgreSQL did not start: {(self._folder / 'log').read_text()[-300:]}")
            time.sleep(every)

    def command(self, text: str) -> None:
        """Runs a statement by psql. BenchError."""
        done = subprocess.run(
            [_program("psql"), self.url, "-qX", "-v", "ON_ERROR_STOP=1", "-c", text], env=self._env,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise BenchError(f"psql -c {text!r}: {(done.stderr.splitlines() or ['no message'])[-1]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Without waiting for clients; SIGQUIT: as if it had crashed."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()

    def remove(self) -> None:
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)


@contextlib.contextmanager
def postgresql_server(cpus: set[int]) -> Iterator[Postgresql]:
    """Runs a server for a ``with`` block."""
    server = Postgresql(cpus)
    try:
        server.install()
        server.start()
        yield server
    finally:
        server.remove()


@contextlib.contextmanager
def postgresql(cpus: set[int]) -> Iterator[str]:
    """Runs a server for a ``with`` block; the URL of an empty database. BenchError when it cannot be had."""
    with postgresql_server(cpus) as server:
        yield server.url

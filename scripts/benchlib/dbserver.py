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

__all__ = ["postgresql"]


def _program(name: str) -> str:
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: float(p.parent.name), reverse=True)
    found = shutil.which(name, path=os.pathsep.join([*map(str, folders), os.environ.get("PATH", "")]))
    if found is None:
        raise BenchError(f"no {name}; on Debian: apt-get install --no-install-recommends postgresql")
    return found


@contextlib.contextmanager
def postgresql(cpus: set[int]) -> Iterator[str]:
    """Runs a server for a ``with`` block; the URL of an empty database. BenchError when it cannot be had."""
    initdb, postgres, ready = _program("initdb"), _program("postgres"), _program("pg_isready")
    folder, port = Path(tempfile.mkdtemp(prefix="evpy-bench-")), free_port()
    who: dict[str, Any] = {}
    if os.geteuid() == 0:  # postgres refuses to be root
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C"}
    process: subprocess.Popen[bytes] | None = None
    try:
        command = [initdb, "-D", str(folder / "data"), "-U", "bench", "--auth=trust", "-E", "UTF8", "--no-sync"]
        done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, **who)
        if done.returncode:
            raise BenchError(f"initdb failed: {(done.stderr.splitlines() or ['no message'])[-1]}")
        settings = {
            "port": port, "listen_addresses": "127.0.0.1", "unix_socket_directories": folder, "fsync": "off",
            "synchronous_commit": "off", "full_page_writes": "off", "max_connections": 200, "shared_buffers": "128MB",
            "autovacuum": "off",
        }  # fmt: skip
        command = [postgres, "-D", str(folder / "data")]
        command += [flag for name, value in settings.items() for flag in ("-c", f"{name}={value}")]
        with (folder / "log").open("wb") as log, on_cpus(cpus):
            process = subprocess.Popen(command, cwd=folder, env=env, stdout=log, stderr=log, **who)
        give_up = time.monotonic() + 30
        ask = [ready, "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ask, env=env, check=False).returncode:
            if process.poll() is not None or time.monotonic() > give_up:
                raise BenchError(f"PostgreSQL did not start: {(folder / 'log').read_text()[-300:]}")
            time.sleep(0.1)
        yield f"postgresql://bench@127.0.0.1:{port}/postgres"
    finally:
        if process is not None:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)

"""A client that checks every answer, byte for byte, while a test does terrible things to the server.

``Hammer`` runs hammer.c, which it compiles when there is no program of this very source yet. ``APP`` is the handler
script that it hammers; ``Report`` is what became of every request.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

__all__ = ["APP", "LONG", "MIX", "Hammer", "Report", "build"]

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
APP = (HERE / "app.py").read_text()
MIX = {"hello": 40, "json": 16, "echo": 16, "put": 8, "stream": 4, "sleep": 8, "big": 1, "disk": 2, "upload": 1}
LONG = os.environ.get("EVPY_LONG", "0") not in ("", "0")  # tests of survival in their long form: minutes, not seconds
PATIENCE = 40.0  # seconds; more than hammer itself waits for an answer


def build() -> Path:
    """The program; CalledProcessError with the compiler's message when it cannot be made."""
    headers = sorted((ROOT / "scripts/benchlib").glob("loadgen_*.h"))
    sources = [HERE / "hammer.c", HERE / "kinds.h", *headers]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = ROOT / ".build" / f"hammer-{digest}"
    if program.exists():
        return program
    compiler = (os.environ.get("CC") or shutil.which("cc") or "gcc").split()
    program.parent.mkdir(exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    flags = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-Wshadow", "-Werror", f"-I{ROOT}"]
    subprocess.run([*compiler, *flags, HERE / "hammer.c", "-o", new, "-lm"], check=True)
    new.rename(program)
    return program


@dataclass
class Report:
    """What became of the requests; counts by kind of request, times in seconds."""

    seconds: float
    final: bool
    connects: int
    connect_errors: int
    idle_closed: int  # connections that the server closed between two requests
    announced: int  # ... after an answer that said so
    bytes_in: int
    bytes_out: int
    longest_pause: float  # between two good answers
    p50: float
    p99: float
    p999: float
    worst: float
    first_error: str
    kinds: dict[str, dict[str, Any]] = field(repr=False)

    def total(self, account: str) -> int:
        """Of all kinds: sent, ok, wrong, lost, unanswered, timeout."""
        return sum(counts[account] for counts in self.kinds.values())

    def statuses(self) -> dict[tuple[str, int], int]:
        """How often a kind of request got a status other than 200."""
        return {(kind, int(s)): n for kind, counts in self.kinds.items() for s, n in counts["status"].items()}

    def failures(self, *allowed: tuple[str, int]) -> list[str]:
        """One line for each way to fail that is not allowed; ``("echo", 502)``: this kind may get this status."""
        lines = [f"{n} x {kind}: {s}" for (kind, s), n in self.statuses().items() if (kind, s) not in allowed]
        for account in ("wrong", "lost", "unanswered", "timeout"):
            lines += [f"{n[account]} x {kind}: {account}" for kind, n in self.kinds.items() if n[account]]
        if self.connect_errors:
            lines.append(f"{self.connect_errors} x cannot connect")
        return [*lines, self.first_error] if lines else []


class Hammer:
    """``with Hammer(server.port, MIX) as hammer: disturb(); report = hammer.stop()``. Times in seconds."""

    def __init__(
        self,
        port: int,
        mix: dict[str, int],
        *,
        connections: int = 16,
        depth: int = 1,
        rate: float = 0.0,
        seconds: float | None = None,
        requests: int = 0,
        timeout: float = 30.0,
        report: float = 0.0,
        seed: int = 1,
    ) -> None:
        kinds = ",".join(f"{kind}={weight}" for kind, weight in mix.items())
        self.command = [str(build()), "--port", str(port), "--mix", kinds, "--connections", str(connections)]
        self.command += ["--depth", str(depth), "--rate", str(rate), "--requests", str(requests)]
        self.command += ["--timeout", str(timeout), "--report", str(report), "--seed", str(seed)]
        if seconds is not None:
            self.command += ["--seconds", str(seconds)]
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(self.command, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *exc: object) -> None:
        assert self.process is not None
        assert self.process.stdout is not None
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()

    def reports(self) -> Iterator[Report]:
        """Every line as it comes, the final one last."""
        assert self.process is not None
        assert self.process.stdout is not None
        for line in self.process.stdout:
            yield Report(**json.loads(line))

    def wait(self) -> Report:
        """The final report, when ``seconds`` or ``requests`` are over."""
        reports = list(self.reports())
        assert reports, "hammer ended without a word"
        assert reports[-1].final, "hammer ended before its final report"
        return reports[-1]

    def stop(self) -> Report:
        """Ends the load and waits for what is under way."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        return self.wait()

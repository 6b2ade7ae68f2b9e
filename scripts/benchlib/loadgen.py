"""Runs the load generator against a server and measures the server meanwhile: one ``Measurement`` per window."""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from benchlib.histogram import Histogram
from benchlib.install import build_loadgen
from benchlib.launch import Running, on_cpus
from benchlib.places import BenchError
from benchlib.procfs import busy_seconds

__all__ = ["Load", "Measurement", "hold", "measure"]

WRONG_LIMIT = 0.01  # share of wrong answers beyond which a measurement means nothing


@dataclass(frozen=True)
class Load:
    """What loadgen shall do; see its --help. Times in seconds."""

    connections: int = 64
    seconds: float = 3.0
    warmup: float = 0.5
    path: str = "/"
    expect: int | None = 13
    slow_every: int = 0
    rate: float = 0.0  # requests/s to hold by thinking; 0: as fast as it goes
    requests: int = 0
    post_file: Path | None = None
    discard: bool = False
    timeout: float = 30.0
    seed: int = 1

    def arguments(self) -> list[str]:
        args = ["--connections", str(self.connections), "--seconds", str(self.seconds), "--warmup", str(self.warmup)]
        args += ["--path", self.path, "--timeout", str(self.timeout), "--seed", str(self.seed)]
        if self.expect is not None:
            args += ["--expect", str(self.expect)]
        if self.slow_every:
            args += ["--slow-path", "/slow", "--slow-every", str(self.slow_every)]
        if self.rate:
            args += ["--think-us", f"{1e6 * self.connections / self.rate:.1f}"]
        if self.requests:
            args += ["--requests", str(self.requests)]
        if self.post_file:
            args += ["--post-file", str(self.post_file)]
        return [*args, *(["--discard"] if self.discard else [])]


@dataclass(frozen=True)
class Measurement:
    """One window: what the client saw and what it cost the server."""

    seconds: float
    completed: int
    bytes: int
    cpu_seconds: float  # of all processes of the server
    client_load: float  # share of its core that the generator used; near 1 it is the bottleneck, not the server
    others_load: float  # cores used by anything else meanwhile; it should be near 0
    reconnects: int
    errors: dict[str, int]
    first_error: str
    last_body: str
    normal: Histogram = field(repr=False)
    slow: Histogram = field(repr=False)

    @property
    def rate(self) -> float:
        """Requests/s."""
        return self.completed / self.seconds

    @property
    def cpu_per_request(self) -> float:
        """CPU seconds; NaN without requests."""
        return self.cpu_seconds / self.completed if self.completed else math.nan

    @property
    def answered(self) -> int:
        """Requests sent inside the window and answered well, some of them after its end."""
        return self.normal.count + self.slow.count

    @property
    def wrong(self) -> float:
        """Share of requests that were not answered well."""
        failed = sum(self.errors.values())
        return failed / (failed + self.answered) if failed else 0.0


def _check(text: str, status: int) -> dict[str, Any]:
    try:
        data = json.loads(text.splitlines()[-1])
    except (IndexError, ValueError):
        raise BenchError(f"the load generator ended with status {status} and no result") from None
    if not isinstance(data, dict):
        raise BenchError("the load generator printed something that is no result")
    return data


def _start(server: Running, client_cpus: set[int], args: list[str]) -> subprocess.Popen[str]:
    program = build_loadgen()
    with on_cpus(client_cpus):
        return subprocess.Popen(
            [program, "--port", str(server.port), *args],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )


def _expect(stream: IO[str], word: str, process: subprocess.Popen[str]) -> str:
    line = stream.readline()
    if not line.startswith(word):
        raise BenchError(f"the load generator said {line.strip()!r} instead of {word!r} (status {process.wait()})")
    return line


@contextlib.contextmanager
def _stopping(process: subprocess.Popen[str]) -> Iterator[IO[str]]:
    assert process.stdout
    try:
        yield process.stdout
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        process.stdout.close()
        if process.stdin:
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()


def measure(server: Running, load: Load, client_cpus: set[int]) -> Measurement:
    """Runs one load. BenchError when the generator fails or too many answers are wrong."""
    cpus = server.cpus | client_cpus
    process = _start(server, client_cpus, load.arguments())
    with _stopping(process) as out:
        _expect(out, "start", process)
        cpu, busy, own, clock = server.tree.cpu_seconds(), busy_seconds(cpus), time.process_time(), time.monotonic()
        _expect(out, "end", process)
        cpu, busy, own = server.tree.cpu_seconds() - cpu, busy_seconds(cpus) - busy, time.process_time() - own
        clock = time.monotonic() - clock
        data = _check(out.read(), process.wait())
    window = float(data["seconds"])
    client = min(1.0, float(data["cpu_seconds"]) / (window + load.warmup))
    result = Measurement(
        seconds=window,
        completed=int(data["completed"]),
        bytes=int(data["bytes"]),
        cpu_seconds=cpu,
        client_load=client,
        others_load=max(0.0, (busy - cpu - own) / clock - client),
        reconnects=int(data["reconnects"]),
        errors={kind: count for kind, count in data["errors"].items() if count},
        first_error=data["first_error"],
        last_body=data["last_body"],
        normal=Histogram.from_json(data["normal"]),
        slow=Histogram.from_json(data["slow"]),
    )
    if result.answered == 0:
        raise BenchError(f"no request was answered well ({result.first_error or 'no error either'})")
    if result.wrong > WRONG_LIMIT:
        raise BenchError(f"{100 * result.wrong:.1f} % of the requests failed; the first: {result.first_error}")
    return result


@contextlib.contextmanager
def hold(server: Running, connections: int, client_cpus: set[int], limit: float = 300.0) -> Iterator[int]:
    """Keeps connections open and silent meanwhile, each after one answered request; yields how many there are.

    BenchError when some were lost before the end of the block.
    """
    args = ["--hold", "--connections", str(connections), "--seconds", str(limit), "--timeout", "60", "--expect", "13"]
    process = _start(server, client_cpus, args)
    with _stopping(process) as out:
        opened = int(_expect(out, "ready", process).split()[1])
        yield opened
        assert process.stdin
        process.stdin.close()
        data = _check(out.read(), process.wait())
        if (held := int(data["held"])) < opened:
            raise BenchError(f"{opened - held} of {opened} idle connections were closed by the server")
        if opened < connections:
            raise BenchError(f"only {opened} of {connections} connections got an answer: {data['first_error']}")


def describe_machine() -> dict[str, Any]:
    """What the reader of a result must know about the machine."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if "model name" in line
        ),
        "unknown",
    )
    system = os.uname()
    return {"cpu": model, "cores": os.cpu_count(), "kernel": system.release, "machine": system.machine}

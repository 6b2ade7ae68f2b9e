"""What all benchmarks share: who takes part, the interleaved rounds, failures with their reasons, the report.

A benchmark is a function that takes ``Options``, makes a ``Session``, measures in ``session.turns()`` and ends with
``session.report()``, which prints the table and the verdicts and writes .bench/results/NAME.json and NAME.png.
"""

from __future__ import annotations

import contextlib
import datetime
import json
import math
import subprocess
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchlib import install, servers
from benchlib.launch import Running, launch
from benchlib.loadgen import Load, Measurement, describe_machine, measure
from benchlib.places import LIB, LOGS, RESULTS, ROOT, VENV, BenchError, say
from benchlib.results import Samples, Target, format_table
from benchlib.servers import Job, Server

__all__ = ["Options", "Panel", "Session", "commit", "no_nan"]

NOISE_LIMIT = 0.05  # of a core, used by others during a window: beyond, the reader is told


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    rounds: int | None = None  # None: the benchmark's own default
    seconds: float | None = None
    peers: tuple[str, ...] | None = None
    server_cpus: frozenset[int] = frozenset({0})
    client_cpus: frozenset[int] = frozenset({1})
    evserver: Path = ROOT / ".venv" / "bin" / "evserver"
    evserver_args: tuple[str, ...] = ()  # more flags for it
    size_mib: int = 1024  # of the file that is downloaded or uploaded
    idle: int = 10_000  # connections
    results: Path = RESULTS


@dataclass(frozen=True)
class Panel:
    """A group of horizontal bars in the chart: one row per server, one bar per series."""

    title: str
    unit: str
    rows: dict[str, list[float]]
    series: tuple[str, ...] = ("",)
    log: bool = False


class Session:
    """One run of one benchmark."""

    def __init__(
        self, name: str, options: Options, app: str, default_peers: Iterable[str], *, rounds: int, seconds: float
    ) -> None:
        self.name = name
        self.options = options
        self.rounds = options.rounds or rounds
        self.seconds = options.seconds or seconds
        self.samples = Samples()
        self.failed: dict[str, str] = {}  # server: reason
        self.remarks: list[str] = []
        self.extra: dict[str, Any] = {}  # more for the JSON file
        self._noise = 0.0
        table = (*servers.evserver(options.evserver, options.evserver_args), *servers.PEERS)
        self.servers = servers.choose(options.peers, default_peers, app, table)
        self.peers = [s.name for s in self.servers if s.kind == "peer"]
        self._prepare()

    def _prepare(self) -> None:
        install.build_loadgen()
        install.make_venv()
        missing_evserver: str | None = None
        if any(s.name.startswith("evserver") for s in self.servers):
            missing_evserver = install.ensure_evserver(self.options.evserver)
        for server in self.servers:
            reason = missing_evserver if server.name.startswith("evserver") else None
            reason = reason or server.missing() or install.install_requirements(server.requires)
            if reason:
                self.fail(server, reason)
        drawing = install.install_requirements(install.DRAWING)
        if drawing:
            self.remarks.append(f"no chart: {drawing}")

    def fail(self, server: Server, reason: str) -> None:
        """This server takes no further part, and the report says why."""
        self.failed[server.name] = reason
        self.samples.drop(server.name)
        say(f"  {server.name}: {reason}")

    def turns(self) -> Iterator[tuple[int, Server]]:
        """Every server once per round, in an order that rotates, so that nobody always follows the same neighbour."""
        for round_ in range(self.rounds):
            say(f"{self.name}: round {round_ + 1} of {self.rounds}")
            shift = round_ % max(1, len(self.servers))
            for server in self.servers[shift:] + self.servers[:shift]:
                if server.name not in self.failed:
                    yield round_, server

    def add(self, server: Server, round_: int, metrics: Mapping[str, float]) -> None:
        """Keeps what was measured in this turn, and shows the first of it as progress."""
        self.samples.add(server.name, round_, metrics)
        shown = "  ".join(f"{metric} {value:,.4g}" for metric, value in list(metrics.items())[:4])
        say(f"  {server.name:18}{shown}")

    @contextlib.contextmanager
    def attempt(self, server: Server) -> Iterator[None]:
        """A BenchError inside ends this server's part, not the benchmark."""
        try:
            yield
        except BenchError as error:
            self.fail(server, str(error))

    def start(
        self, server: Server, job: Job, *, settle: bool = True, cpus: Iterable[int] | None = None
    ) -> AbstractContextManager[Running]:
        """Runs a server for a ``with`` block."""
        return launch(
            server.name,
            lambda port: server.command(job, port),
            servers.clean_env(server.env, job.env),
            cpus=set(self.options.server_cpus if cpus is None else cpus),
            log=LOGS / f"{self.name}-{server.name}.log",
            settle=settle,
        )

    def measure(self, running: Running, load: Load) -> Measurement:
        """One window of load; errors below the limit and noise are remembered for the report."""
        result = measure(running, load, set(self.options.client_cpus))
        self._noise = max(self._noise, result.others_load)
        if result.errors:
            self.remarks.append(f"{running.name}: {sum(result.errors.values())} failed requests ({result.first_error})")
        return result

    def report(
        self, head: Sequence[str], rows: Iterable[Sequence[str]], targets: list[Target], panels: Sequence[Panel]
    ) -> list[Target]:
        """Prints and writes everything; returns the targets."""
        say()
        say(format_table(head, rows))
        for name, reason in self.failed.items():
            say(f"  {name}: not measured: {reason}")
        if self._noise > NOISE_LIMIT:
            self.remarks.append(
                f"other processes used up to {self._noise:.0%} of a core meanwhile: run it again on a quiet machine"
            )
        for remark in self.remarks:
            say(f"  note: {remark}")
        say()
        for target in targets:
            say(target.verdict())
        path = self._write(targets, panels)
        say(f"\n{_shown(path)}" + (f"  {_shown(chart)}" if (chart := self._draw(path)) else ""))
        return targets

    def _write(self, targets: Sequence[Target], panels: Sequence[Panel]) -> Path:
        requirements = {r for s in self.servers for r in s.requires}
        data = {
            "bench": self.name,
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "commit": commit(),
            "rounds": self.rounds,
            "seconds": self.seconds,
            "evserver_args": self.options.evserver_args,
            "versions": install.installed(sorted(requirements)),
            "servers": self.samples.to_json(),
            "not_measured": self.failed,
            "remarks": self.remarks,
            "noise_cores": self._noise,
            "targets": [t.to_json() for t in targets],
            "panels": [vars(p) for p in panels],
            **self.extra,
        }
        self.options.results.mkdir(parents=True, exist_ok=True)
        path = self.options.results / f"{self.name}.json"
        path.write_text(json.dumps(no_nan(data), indent=1, allow_nan=False) + "\n")
        return path

    def _draw(self, path: Path) -> Path | None:
        chart = path.with_suffix(".png")
        if not self.samples.servers or any(r.startswith("no chart") for r in self.remarks):
            return None
        command = [VENV / "bin" / "python", LIB / "chart.py", path, chart]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            say(f"  note: no chart: {(done.stderr.splitlines() or ['chart.py failed'])[-1]}")
            return None
        return chart

    def ordered(self, metric: str, *, highest_first: bool) -> list[str]:
        """The measured servers by their median, best first."""
        names = [n for n in self.samples.servers if not math.isnan(self.samples.median(n, metric))]
        return sorted(names, key=lambda n: self.samples.median(n, metric), reverse=highest_first)


def _shown(path: Path) -> str:
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def commit() -> str:
    done = subprocess.run(
        ["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


def no_nan(value: Any) -> Any:
    """JSON has no NaN: null stands for "no value"."""
    if isinstance(value, float):
        return None if math.isnan(value) or math.isinf(value) else value
    if isinstance(value, dict):
        return {str(k): no_nan(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [no_nan(v) for v in value]
    return value

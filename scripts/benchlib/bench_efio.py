"""scripts/bench efio [PART ...]: the library efio beside its peers, one module for each part.

A part is a module benchlib/efio_PART.py with a function run(EfioOptions) -> list[Target] and a constant TEXT. It makes
a ``Part``, which knows the contenders, and measures by programs in benchlib/apps: each turn is a process of its own, of
.venv for efio and the standard library, of .bench/venv for peers from PyPI. A program writes one line of JSON with its
metrics. Rounds are interleaved as in the other benchmarks; a figure is the median over the rounds, a ratio is taken
within a round.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import json
import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchlib import install
from benchlib.loadgen import describe_machine
from benchlib.places import APPS, LIB, RESULTS, ROOT, VENV, BenchError, say
from benchlib.results import Samples, Target, format_table, ratio
from benchlib.session import Panel, commit, no_nan

__all__ = ["PARTS", "Contender", "EfioOptions", "Part", "parts", "run"]

PARTS = tuple(sorted(path.stem.removeprefix("efio_") for path in LIB.glob("efio_*.py")))
TIMEOUT = 300.0  # seconds for one turn


@dataclass(frozen=True)
class EfioOptions:
    """What the command line says."""

    rounds: int | None = None  # None: the part's own default
    peers: tuple[str, ...] | None = None  # None or ("all",): all of them
    scale: float = 1.0  # of the amounts of work
    results: Path = RESULTS


@dataclass(frozen=True)
class Contender:
    """One way to do the same thing."""

    name: str  # ours begin with "efio"
    requires: tuple[str, ...] = ()  # from PyPI, into .bench/venv; nothing: runs with .venv
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        return self.name.startswith(("efio", "service_utils"))


class Part:
    """One run of one part."""

    def __init__(
        self, name: str, options: EfioOptions, contenders: Sequence[Contender], *, rounds: int, family: str = "efio"
    ) -> None:
        self.name = name
        self.family = family
        self.options = options
        self.rounds = options.rounds or rounds
        self.samples = Samples()
        self.failed: dict[str, str] = {}
        self.remarks: list[str] = []
        self.panels: list[Panel] = []
        chosen = options.peers
        self.contenders = [
            c for c in contenders if c.ours or chosen is None or chosen == ("all",) or c.name in chosen
        ]  # fmt: skip
        reason = install.ensure_evserver(ROOT / ".venv" / "bin" / "evserver")  # sets up .venv, with efio in it
        if reason:
            raise BenchError(reason)
        install.make_venv()
        for contender in self.contenders:
            if missing := install.install_requirements(contender.requires):
                self.fail(contender, missing)
        if drawing := install.install_requirements(install.DRAWING):
            self.remarks.append(f"no chart: {drawing}")

    def fail(self, contender: Contender, reason: str) -> None:
        """This one takes no further part, and the report says why."""
        self.failed[contender.name] = reason
        self.samples.drop(contender.name)
        say(f"  {contender.name}: {reason}")

    def turns(self) -> Iterator[tuple[int, Contender]]:
        """Every contender once a round, in an order that rotates."""
        for round_ in range(self.rounds):
            say(f"{self.family} {self.name}: round {round_ + 1} of {self.rounds}")
            shift = round_ % max(1, len(self.contenders))
            for contender in self.contenders[shift:] + self.contenders[:shift]:
                if contender.name not in self.failed:
                    yield round_, contender

    def program(self, contender: Contender, app: str, *arguments: str) -> dict[str, float]:
        """Runs apps/APP for a contender; its metrics. BenchError when it fails."""
        python = (VENV if contender.requires else ROOT / ".venv") / "bin" / "python"
        command = [python, "-P", "-W", "ignore", APPS / app, contender.name, *arguments]
        env = {**os.environ, **contender.environment}
        env.pop("PYTHONPATH", None)
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT, env=env, check=False)
        except subprocess.TimeoutExpired:
            raise BenchError(f"not done after {TIMEOUT:.0f} s") from None
        if done.returncode:
            raise BenchError((done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1])
        metrics: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return metrics

    def measure(self, app: str, *arguments: str) -> None:
        """All rounds of one program for all contenders."""
        for round_, contender in self.turns():
            with self.attempt(contender):
                metrics = self.program(contender, app, *arguments)
                self.samples.add(contender.name, round_, metrics)
                shown = "  ".join(f"{metric} {value:,.4g}" for metric, value in metrics.items())
                say(f"  {contender.name:26}{shown}")

    @contextlib.contextmanager
    def attempt(self, contender: Contender) -> Iterator[None]:
        """A BenchError inside ends this contender's part, not the benchmark."""
        try:
            yield
        except BenchError as error:
            self.fail(contender, str(error))

    def target(
        self, what: str, metric: str, ours: str, theirs: str, limit: float, *, aim: float | None = None,
        lower_is_better: bool = False,
    ) -> Target:  # fmt: skip
        """Ours to theirs in a metric, median of the ratios within rounds."""
        found = ratio(self.samples, metric, ours, theirs)
        missing = next((n for n in (ours, theirs) if not self.samples.rounds(n, metric)), None)
        return Target(
            what, found.value, limit, "at most" if lower_is_better else "at least", aim=aim,
            against=f"{missing} did not run" if missing else theirs, spread=(found.low, found.high),
        )  # fmt: skip

    def table(self, title: str, unit: str, metrics: Mapping[str, str], digits: int = 2) -> None:
        """Prints medians, one row for each contender, one column for each metric (metric: head); also a panel."""
        names = [c.name for c in self.contenders if any(self.samples.rounds(c.name, m) for m in metrics)]

        def cell(name: str, metric: str) -> str:
            value = self.samples.median(name, metric)
            return "-" if value != value else f"{value:,.{digits}f}"

        say()
        say(f"  {title} ({unit})")
        say(format_table(("", *metrics.values()), [(n, *(cell(n, m) for m in metrics)) for n in names]))
        rows = {n: [self.samples.median(n, m) for m in metrics] for n in names}
        self.panels.append(Panel(title, unit, rows, tuple(metrics.values())))

    def report(self, targets: list[Target]) -> list[Target]:
        """Prints verdicts and writes RESULTS/FAMILY-PART.json and .png."""
        for name, reason in self.failed.items():
            say(f"  {name}: not measured: {reason}")
        for remark in self.remarks:
            say(f"  note: {remark}")
        say()
        for target in targets:
            say(target.verdict())
        data: dict[str, Any] = {
            "bench": f"{self.family} {self.name}",
            "when": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": describe_machine(),
            "commit": commit(),
            "rounds": self.rounds,
            "scale": self.options.scale,
            "versions": install.installed(sorted({r for c in self.contenders for r in c.requires})),
            "contenders": self.samples.to_json(),
            "not_measured": self.failed,
            "remarks": self.remarks,
            "targets": [t.to_json() for t in targets],
            "panels": [vars(p) for p in self.panels],
        }
        self.options.results.mkdir(parents=True, exist_ok=True)
        path = self.options.results / f"{self.family}-{self.name}.json"
        path.write_text(json.dumps(no_nan(data), indent=1, allow_nan=False) + "\n")
        chart = path.with_suffix(".png")
        drawn = subprocess.run(
            [VENV / "bin" / "python", LIB / "chart.py", path, chart], capture_output=True, text=True, check=False
        )
        if drawn.returncode:
            say(f"  note: no chart: {(drawn.stderr.splitlines() or ['chart.py failed'])[-1]}")
        say(f"\n{path}" + ("" if drawn.returncode else f"  {chart}"))
        return targets


def parts() -> dict[str, str]:
    """Name and one line of every part."""
    return {name: importlib.import_module(f"benchlib.efio_{name}").TEXT for name in PARTS}


def run(names: Sequence[str], options: EfioOptions) -> list[Target]:
    """The given parts, or all, and at the end all verdicts."""
    if unknown := [name for name in names if name not in PARTS]:
        raise BenchError(f"efio has no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    verdicts: dict[str, list[Target]] = {}
    for name in names or PARTS:
        module = importlib.import_module(f"benchlib.efio_{name}")
        say(f"== efio {name}: {module.TEXT}")
        verdicts[name] = module.run(options)
    if len(verdicts) > 1:
        say("\n== all targets of efio")
        for name, targets in verdicts.items():
            say("\n".join([f"{name}:", *(target.verdict() for target in targets)]))
    return [t for targets in verdicts.values() for t in targets]

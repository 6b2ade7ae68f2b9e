"""The command line of scripts/stress: runs scenarios one after the other, each in a process of its own."""

from __future__ import annotations

import argparse
import importlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

from stresslib import Scenario, Violation

PARTS = sorted(path.stem.removeprefix("stress_") for path in Path(__file__).parent.glob("stress_*.py"))


def _scenarios() -> dict[str, Scenario]:
    found: dict[str, Scenario] = {}
    for part in PARTS:
        for scenario in importlib.import_module(f"stresslib.stress_{part}").SCENARIOS:
            found[f"{part}.{scenario.name}"] = scenario
    return found


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _resident() -> float:
    """MiB."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def _run_here(scenario: Scenario, amount: int) -> int:
    scenario.run(max(1, amount // 100))  # warm
    before, begin = _resident(), time.perf_counter()
    try:
        seen = scenario.run(amount)
    except Violation as violation:
        _say(f"  FAILED  {violation}")
        return 1
    seconds = time.perf_counter() - begin
    grown = _resident() - before
    _say(f"  ok      {seen}; {amount / seconds / 1e6:.2f} M/s, {seconds:.1f} s, memory {grown:+.1f} MiB")
    return 0


def main() -> int:
    scenarios = _scenarios()
    parser = argparse.ArgumentParser(
        prog="scripts/stress", description="Long stress tests of efio. Exit status 1 when something does not hold.",
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
        epilog="\n".join(["scenarios:", *(f"  {name:22} {s.what}" for name, s in scenarios.items())]),
    )  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="PART|SCENARIO", help="default: all of them")
    parser.add_argument("--scale", type=float, default=1.0, help="amounts of work, times this (default: 1)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one scenario, in this process
    args = parser.parse_args()
    chosen = [n for n in scenarios if not args.names or n in args.names or n.partition(".")[0] in args.names]
    if unknown := [n for n in args.names if n not in scenarios and n not in PARTS]:
        parser.error(f"there is no '{unknown[0]}'; there are {', '.join([*PARTS, *scenarios])}")
    if args.here:
        scenario = scenarios[chosen[0]]
        return _run_here(scenario, max(100, int(scenario.amount * args.scale)))
    failed = 0
    for name in chosen:
        _say(f"{name}: {scenarios[name].what}")
        command = [sys.executable, "-P", "-m", "stresslib", name, "--scale", str(args.scale), "--here"]
        failed += subprocess.run(command, env=os.environ, check=False).returncode != 0
    if failed:
        _say(f"scripts/stress: {failed} of {len(chosen)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

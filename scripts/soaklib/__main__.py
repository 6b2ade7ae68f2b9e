"""The command line of scripts/soak."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(SCRIPTS), str(SCRIPTS.parent / "tests" / "support")]
sys.dont_write_bytecode = True

from soaklib.run import soak  # noqa: E402


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/soak", allow_abbrev=False)
    parser.add_argument("--requests", type=lambda text: int(text.replace(",", "").replace("_", "")), default=10_000_000)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--bound", type=int, default=4 << 20, help="bytes by which memory may grow (%(default)s)")
    parser.add_argument("--report", type=float, default=5.0, help="seconds from one line to the next (%(default)s)")
    options = parser.parse_args()
    result = soak(
        requests=options.requests,
        seconds=None if options.minutes is None else 60 * options.minutes,
        workers=options.workers,
        bound=options.bound,
        report=options.report,
        say=say,
    )
    report, ok = result.report, result.report.total("ok")
    say(f"{ok:,} answers in {report.seconds:.0f} s ({ok / report.seconds:,.0f}/s), every byte checked")
    say(f"latency: p50 {1e3 * report.p50:.2f} ms, p99 {1e3 * report.p99:.2f} ms, worst {1e3 * report.worst:.0f} ms")
    say(f"memory: {result.samples[-1].memory / 1e6:.1f} MB, grown by {result.grown:+,} bytes after warming up")
    for complaint in result.complaints:
        say(f"FAILED: {complaint}")
    if not result.complaints:
        say(f"memory is flat (within {options.bound:,} bytes), counters conserve, no slab and no descriptor is missing")
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main())

"""scripts/stress, the short form: every scenario with a small amount of work, and what a violation looks like."""

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from stresslib import Violation, stress_queues  # noqa: E402


def test_every_scenario() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "stresslib", "--scale", "0.002"], env={"PYTHONPATH": str(SCRIPTS)},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("  ok  ") == done.stdout.count("\n") / 2 >= 7


def test_unknown_name() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-m", "stresslib", "nonsense"], env={"PYTHONPATH": str(SCRIPTS)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no 'nonsense'" in done.stderr


@pytest.mark.parametrize(
    ("items", "complaint"),
    [([0, 1, 1], "came after"), ([0], "2 items were put, 1 got"), ([0, 5], "not those that were put")],
)
def test_violations_are_seen(items: list[int], complaint: str) -> None:
    def judge() -> None:
        tally = stress_queues.Tally(1)
        tally.consume(items)
        tally.verify(2)

    with pytest.raises(Violation, match=complaint):
        judge()

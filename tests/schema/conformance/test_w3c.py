"""The W3C suite comes out as committed: no failure that is not in the list. A part by default, all with EVPY_LONG=1."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
import w3c

EACH = 1 if os.environ.get("EVPY_LONG") else 60  # every how many groups


def test_the_suite(tmp_path: Path) -> None:
    suite = w3c.find(tmp_path)
    if suite is None:
        pytest.skip(f"no {w3c.ARCHIVE} and no unpacked suite in EVPY_TEST_DATA or ../shared/data")
    score = w3c.Score()
    for number, group in enumerate(w3c.groups(suite)):
        if number % EACH == 0:
            w3c.judge(suite, group, score)
    assert score.tests["schema"] > 50
    known = w3c.expected_failures()
    unexpected = [str(failure) for failure in score.failures if f"{failure.what} {failure.path}" not in known]
    assert not unexpected, "\n".join(unexpected)


def test_every_expected_failure_has_a_reason() -> None:
    known = w3c.expected_failures()
    assert known
    assert [key for key, text in known.items() if not text.partition(" -- ")[2].strip("?")] == []

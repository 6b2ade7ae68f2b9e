"""scripts/soak in its short form, and that it would notice."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hammer import APP, LONG

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))

from soaklib.run import Soak, soak
from soaklib.samples import Process, Sample, growth

REQUESTS = 1_000_000 if LONG else 40_000
MIB = 1 << 20


def short(app: str = APP, requests: int = REQUESTS) -> Soak:
    """Ten samples or so; memory is still finding its size, hence the bound."""
    return soak(requests=requests, bound=(4 if LONG else 8) * MIB, report=requests / 400_000, say=print, app=app)


def _changed(what: str) -> str:
    """The application with a fault: what it does with each `answer`."""
    return f"{APP}\nleak = []\nhandle_well = handle\n\ndef handle(request):\n    answer = handle_well(request)\n{what}"


@pytest.mark.slow
def test_memory_stays_flat() -> None:
    result = short()
    assert result.complaints == []
    assert result.report.total("ok") == REQUESTS
    assert len(result.samples) > 5


@pytest.mark.slow
def test_a_leak_is_noticed() -> None:
    leaking = _changed("    leak.append(bytes(2000))\n    return answer\n")
    result = short(leaking, 40_000)
    assert result.grown > 8 * MIB
    assert any("memory has grown" in complaint for complaint in result.complaints), result.complaints


def test_a_wrong_answer_is_noticed() -> None:
    wrong = _changed("    return answer + 'x' if answer == 'hello 00000100' else answer\n")
    result = short(wrong, 2000)
    assert "1 x hello: wrong" in result.complaints, result.complaints


def test_an_answer_for_somebody_else_is_noticed() -> None:
    mixed = _changed(
        "    if isinstance(answer, bytes) and len(answer) > 200 and len(leak) < 2:\n"
        "        leak.append(answer)\n"
        "        return leak[0]\n"
        "    return answer\n"
    )
    result = short(mixed, 4000)
    assert any("wrong" in line for line in result.complaints), result.complaints


def test_growth_leaves_out_the_warm_up() -> None:
    assert growth([0, 500, 1000, 1000, 1000, 1000, 1001, 1000, 1000, 1000]) == 0
    assert growth([0, 500, 1000, 1100, 1200, 1300, 1400, 1500, 1600, 1700]) == 600
    assert growth([7]) == 0


def test_memory_is_what_processes_have_for_themselves_and_the_segment() -> None:
    process = Process("worker", rss=50, pss=30, anonymous=20, descriptors=5)
    sample = Sample({1: process, 2: replace(process, anonymous=1)}, segment=100)
    assert sample.memory == 121
    assert sample.descriptors == 10

"""The core count follows the control group's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from evpy.server.machine import OutOfMemory, usable_cores


@pytest.fixture(autouse=True)
def sixteen_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def groups(tmp_path: Path, own: str, **quotas: str) -> int:
    """Cores, given our line of /proc/self/cgroup and the cpu.max of some groups."""
    for group, quota in quotas.items():
        directory = tmp_path / "cg" / group.replace("__", "/").removeprefix("root")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "cpu.max").write_text(quota)
    (tmp_path / "own").write_text(own)
    return usable_cores(str(tmp_path / "cg"), str(tmp_path / "own"))


def test_without_a_quota_it_is_the_affinity_mask(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/\n") == 16
    assert groups(tmp_path, "0::/a/b\n", a="max 100000\n") == 16
    assert usable_cores(str(tmp_path / "no"), str(tmp_path / "neither")) == 16


@pytest.mark.parametrize(("quota", "cores"), [("50000 100000", 1), ("150000 100000", 2), ("400000 100000", 4)])
def test_a_quota_is_rounded_up(tmp_path: Path, quota: str, cores: int) -> None:
    assert groups(tmp_path, "0::/\n", root=quota) == cores


def test_the_smallest_quota_on_the_path_counts(tmp_path: Path) -> None:
    assert groups(tmp_path, "1:name=systemd:/x\n0::/a/b\n", a="300000 100000", a__b="700000 100000", c="1 100000") == 3


def test_a_quota_beyond_the_machine_does_not_count(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/\n", root="6400000 100000") == 16


@pytest.mark.parametrize("broken", ["", "much", "1 0", "a b", "1 2 3"])
def test_nonsense_is_no_quota(tmp_path: Path, broken: str) -> None:
    assert groups(tmp_path, "0::/\n", root=broken) == 16


def test_a_group_outside_of_the_namespace_counts_as_the_root(tmp_path: Path) -> None:
    assert groups(tmp_path, "0::/../../x\n", root="200000 100000") == 2


def test_kills_for_want_of_memory_are_told_once(tmp_path: Path) -> None:
    numbers = tmp_path / "vmstat"
    numbers.write_text("nr_free_pages 1\noom_kill 3\nswap_ra 0\n")
    memory = OutOfMemory(str(numbers))
    assert not memory.struck()
    numbers.write_text("nr_free_pages 1\noom_kill 5\nswap_ra 0\n")
    assert memory.struck()
    assert not memory.struck()


@pytest.mark.parametrize("text", [None, "", "oom_kill many\n", "nr_free_pages 1\n"])
def test_a_system_that_does_not_count_them(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "vmstat").write_text(text)
    assert not OutOfMemory(str(tmp_path / "vmstat")).struck()


def test_this_system_counts_them() -> None:
    assert OutOfMemory()._kills() >= 0
    assert "\noom_kill " in Path("/proc/vmstat").read_text()

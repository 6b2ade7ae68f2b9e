"""What a server holds at one moment, and what may be said of many such moments.

Memory is counted where a leak would show: anonymous memory (heaps, stacks) of each process, and the pages behind the
shared segment, which belong to no process in particular. Resident size (RSS) and proportional size (PSS) are shown, but
pages that are shared, or cached files, make them move for reasons of their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hammer import Report
from serving import Server
from serving.inside import Inside, descriptors

__all__ = ["Process", "Sample", "take", "verdict"]

WARM_UP = 0.2  # share of the samples in which pools, caches and heaps find their size


@dataclass(frozen=True)
class Process:
    """Bytes, and open descriptors."""

    name: str
    rss: int
    pss: int
    anonymous: int
    descriptors: int


@dataclass(frozen=True)
class Sample:
    """All processes of a server by pid, and the segment."""

    processes: dict[int, Process]
    segment: int  # bytes

    @property
    def memory(self) -> int:
        """Bytes: all that the server has and that would be less without it."""
        return sum(process.anonymous for process in self.processes.values()) + self.segment

    @property
    def descriptors(self) -> int:
        return sum(process.descriptors for process in self.processes.values())

    def __str__(self) -> str:
        each = ", ".join(
            f"{p.name} {p.rss / 1e6:.1f}/{p.pss / 1e6:.1f}/{p.anonymous / 1e6:.1f} ({p.descriptors})"
            for p in self.processes.values()
        )
        return f"{each}, segment {self.segment / 1e6:.1f}"


def take(server: Server, inside: Inside) -> Sample:
    """What the server holds now."""
    lines = {server.pid: "supervisor", **server.children()}
    return Sample({pid: _process(pid, line) for pid, line in lines.items()}, inside.segment_bytes())


def _process(pid: int, line: str) -> Process:
    found = dict(re.findall(r"^(\w+): +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE))
    rss, pss, anonymous = (int(found[name]) * 1024 for name in ("Rss", "Pss", "Anonymous"))
    kind = "gateway" if "evpy-gateway" in line else "worker" if "worker" in line else "supervisor"
    return Process(kind, rss, pss, anonymous, descriptors(pid))


def growth(values: list[int]) -> int:
    """By how much the last third of the values, without the warm-up, is above the first third; medians."""
    warm = values[int(len(values) * WARM_UP) :]
    third = max(1, len(warm) // 3)
    return round(median(warm[-third:]) - median(warm[:third]))


def verdict(samples: list[Sample], report: Report, inside: Inside, bound: int) -> list[str]:
    """What is wrong, one line each; the server must be at rest. ``bound``: bytes by which memory may have grown."""
    complaints = report.failures()
    grown = growth([sample.memory for sample in samples])
    if grown > bound:
        complaints.append(f"memory has grown by {grown:,} bytes, {bound:,} are allowed")
    more = growth([sample.descriptors for sample in samples])
    if more > 0:
        complaints.append(f"{more} more descriptors are open")
    if samples[0].processes.keys() != samples[-1].processes.keys():
        complaints.append("processes were replaced")
    counters = inside.counters()
    if inside.in_flight():
        complaints.append(f"{inside.in_flight()} requests are in no account: {counters}")
    if counters["answered"] != counters["requests"]:
        complaints.append(f"{counters['requests'] - counters['answered']} requests were not answered: {counters}")
    if slabs := inside.segment.slabs_in_use():
        complaints.append(f"{slabs} slabs have leaked")
    if counters["buffered"]:
        complaints.append(f"{counters['buffered']} bytes of buffers have leaked")
    return complaints

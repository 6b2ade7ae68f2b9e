"""A look into a running server: its shared segment, and what its processes hold."""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from evpy._core import READY, Segment
from serving.client import PATIENCE

__all__ = ["ACCOUNTS", "Inside", "connections", "descriptors", "pss"]

# Where a request ends, each in exactly one of them: architecture.md, I1.
ACCOUNTS = ("answered", "failed", "expired", "shed", "recalled", "aborted", "refused", "lost")


def pss(pids: Iterable[int]) -> int:
    """Bytes: the proportional set sizes of these processes together. Those that are gone count nothing."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):
            found = re.search(r"^Pss: +(\d+) kB$", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
            total += int(found[1]) * 1024 if found else 0
    return total


def descriptors(pid: int) -> int:
    """How many descriptors a process has open."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def connections(pid: int) -> int:
    """How many connections a process has open, those included that have been reset and not been looked at yet."""
    sockets = {link[8:-1] for path in Path(f"/proc/{pid}/fd").iterdir() if (link := _link(path)).startswith("socket:[")}
    for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":  # it listens
            sockets.discard(fields[9])
    for line in Path(f"/proc/{pid}/net/unix").read_text().splitlines()[1:]:  # the log, and what processes talk over
        sockets.discard(line.split()[6])
    return len(sockets)


class Inside:
    """The shared segment of the server whose supervisor has this pid."""

    def __init__(self, supervisor: int) -> None:
        folder = Path(f"/proc/{supervisor}/fd")
        path = next(p for p in folder.iterdir() if _link(p).startswith("/memfd:evpy "))
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self.segment = Segment.attach(self._fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.segment.close()
        os.close(self._fd)

    def counters(self) -> dict[str, int]:
        return self.segment.counters()

    def count(self, name: str) -> int:
        return self.segment.counters()[name]

    def in_flight(self) -> int:
        """Requests that are in no account yet; 0 at rest, or some were lost silently."""
        counters = self.segment.counters()
        return counters["requests"] - sum(counters[account] for account in ACCOUNTS)

    def at_rest(self) -> bool:
        """No request, slab, queue entry or buffer is in use."""
        counters = self.segment.counters()
        busy = self.in_flight() or counters["queue_len"] or counters["buffered"] or counters["slabs_used"]
        return not busy and self.segment.slabs_in_use() == 0

    def wait_at_rest(self, seconds: float = PATIENCE) -> None:
        """Waits until no connection is open and everything is at rest."""
        deadline = time.monotonic() + seconds
        while self.count("connections_open") or not self.at_rest():
            if time.monotonic() > deadline:
                running = [request for slot in range(self.segment.slots) for request in self.segment.requests_of(slot)]
                slabs = self.segment.slabs_in_use()
                raise AssertionError(f"{self.in_flight()} requests and {slabs} slabs: {running}, {self.counters()}")
            time.sleep(0.01)

    def ready_workers(self) -> list[int]:
        """Pids of the workers that serve."""
        infos = [self.segment.worker_info(slot) for slot in range(self.segment.slots)]
        return [info["pid"] for info in infos if info["state"] == READY]

    def segment_bytes(self) -> int:
        """Memory behind the segment; what no process has mapped is in nobody's resident size."""
        return os.fstat(self._fd).st_blocks * 512


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:
        return ""

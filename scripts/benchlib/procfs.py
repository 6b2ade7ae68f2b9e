"""CPU time and memory of a whole process tree, read from /proc (proc(5)).

The tree of a server is its first process, all descendants, everything in its session, and everything that was seen in
the tree before (a daemon's double fork leaves the family but not the bill). Processes are known by pid *and* start
time, so a reused pid is never charged to a server, nor killed.

CPU time: a process that is waited for passes its time on to its parent's "children" fields, so the sum of own and
children's time over the living ones is complete, whoever died. Only the time of children that nobody waits for (SIGCHLD
ignored, or adopted by init) disappears; ``ProcessTree`` keeps what it last saw of them.

Memory: PSS (proportional set size), which counts a page that n processes share as 1/n in each, so that the sum over a
tree counts it once. Kernel memory (socket buffers) is not in it.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["PeakMemory", "ProcessTree", "Stat", "busy_seconds", "memory", "parse_smaps", "parse_stat", "read_stat"]

TICKS = os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")

Key = tuple[int, int]  # pid and start time


@dataclass(frozen=True)
class Stat:
    """What /proc/PID/stat says; times in seconds, ``started`` in ticks since boot."""

    pid: int
    name: str
    state: str
    parent: int
    session: int
    own: float  # CPU time of its threads
    reaped: float  # CPU time of children that it waited for
    started: int

    @property
    def key(self) -> Key:
        return self.pid, self.started


def parse_stat(text: str) -> Stat:
    """One line of /proc/PID/stat. The name may hold spaces and parentheses; the last ')' ends it."""
    head, _, rest = text.rpartition(")")
    pid, _, name = head.partition(" (")
    field = rest.split()  # field[0] is the third one of proc(5): state
    utime, stime, cutime, cstime = (int(field[i]) for i in range(11, 15))
    return Stat(
        pid=int(pid),
        name=name,
        state=field[0],
        parent=int(field[1]),
        session=int(field[3]),
        own=(utime + stime) / TICKS,
        reaped=(cutime + cstime) / TICKS,
        started=int(field[19]),
    )


def read_stat(pid: int) -> Stat | None:
    """None when there is no such process (any more)."""
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def all_stats() -> Iterator[Stat]:
    for name in os.listdir(PROC):
        if name.isdigit() and (stat := read_stat(int(name))):
            yield stat


def members(stats: Iterable[Stat], root: int, known: Iterable[Key]) -> dict[Key, Stat]:
    """Those of ``stats`` that belong to the tree of ``root``: see the head of this module."""
    stats, known = list(stats), set(known)
    children: dict[int, list[Stat]] = {}
    for stat in stats:
        children.setdefault(stat.parent, []).append(stat)
    todo = [s for s in stats if s.pid == root or s.session == root or s.key in known]
    found: dict[Key, Stat] = {}
    while todo:
        stat = todo.pop()
        if stat.key not in found:
            found[stat.key] = stat
            todo.extend(children.get(stat.pid, ()))
    return found


def lost_time(before: Mapping[Key, Stat], after: Mapping[Key, Stat]) -> float:
    """CPU seconds of processes that ended between two looks and that no living parent accounts for."""
    gone = sum(s.own + s.reaped for key, s in before.items() if key not in after)
    passed_on = sum(s.reaped - before[key].reaped for key, s in after.items() if key in before)
    return max(0.0, gone - passed_on)


class ProcessTree:
    """The processes of one server."""

    def __init__(self, root: int) -> None:
        self.root = root
        self._last: dict[Key, Stat] = {}
        self._lost = 0.0
        self._lock = threading.Lock()  # PeakMemory looks from another thread

    def look(self) -> list[Stat]:
        """All living processes of the tree, in order of their start; zombies are included."""
        with self._lock:
            now = members(all_stats(), self.root, self._last)
            self._lost += lost_time(self._last, now)
            self._last = now
            return sorted(now.values(), key=lambda s: (s.started, s.pid))

    def cpu_seconds(self) -> float:
        """CPU time of all processes there ever were; only differences mean something."""
        living = self.look()
        return sum(s.own + s.reaped for s in living) + self._lost

    def pin(self, cpus: set[int]) -> None:
        """Puts every thread of every process on these CPUs, also those that chose others for themselves."""
        for stat in self.look():
            for task in _tasks(stat.pid):
                with contextlib.suppress(ProcessLookupError):
                    if os.sched_getaffinity(task) != cpus:
                        os.sched_setaffinity(task, cpus)

    def memory(self) -> int:
        """Bytes: the sum of the PSS of all processes."""
        return sum(memory(stat.pid).get("Pss", 0) for stat in self.look())


def _tasks(pid: int) -> list[int]:
    try:
        return [int(name) for name in os.listdir(PROC / str(pid) / "task")]
    except (FileNotFoundError, ProcessLookupError):
        return []


_SMAPS = re.compile(r"^(\w+): +(\d+) kB$", re.MULTILINE)


def parse_smaps(text: str) -> dict[str, int]:
    """The fields of /proc/PID/smaps_rollup in bytes."""
    return {name: int(kib) * 1024 for name, kib in _SMAPS.findall(text)}


def memory(pid: int) -> dict[str, int]:
    """Bytes by kind: Rss, Pss, Private_Dirty, ...; empty for a zombie or a process that is gone."""
    try:
        return parse_smaps((PROC / str(pid) / "smaps_rollup").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return {}


def busy_seconds(cpus: set[int], text: str | None = None) -> float:
    """Seconds that these CPUs have been busy since boot, time stolen by the hypervisor included."""
    total = 0
    for line in (text or (PROC / "stat").read_text()).splitlines():
        name, *fields = line.split()
        if name.startswith("cpu") and name[3:].isdigit() and int(name[3:]) in cpus:
            user, nice, system, _idle, _iowait, irq, softirq, steal = (int(f) for f in fields[:8])
            total += user + nice + system + irq + softirq + steal
    return total / TICKS


class PeakMemory:
    """Samples the memory of a tree in a thread while the ``with`` block runs; ``peak`` is the highest sum, in bytes."""

    def __init__(self, tree: ProcessTree, interval: float = 0.05) -> None:
        self.peak = 0
        self.samples = 0
        self._tree = tree
        self._interval = interval  # seconds; a look costs about a millisecond of the client's core per process
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory", daemon=True)

    def _run(self) -> None:
        while True:
            self.peak = max(self.peak, self._tree.memory())
            self.samples += 1
            if self._done.wait(self._interval):
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._done.set()
        self._thread.join()

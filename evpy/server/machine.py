"""How much machine there is: the number that the default of ``--workers`` is a multiple of; and when it is too little.

A container is often given half a core of a machine with sixty-four. ``os.cpu_count`` sees sixty-four, the affinity
mask sees sixty-four, only the quota of the control group (cgroup v2 ``cpu.max``, "quota period" in microseconds, or
"max") tells the truth. Each group on the path up to the root may hold a smaller quota than the one below it.
"""

from __future__ import annotations

import math
import os
from os.path import join

__all__ = ["OutOfMemory", "usable_cores"]

CGROUP_ROOT = "/sys/fs/cgroup"
OWN_CGROUP = "/proc/self/cgroup"
VMSTAT = "/proc/vmstat"


def usable_cores(root: str = CGROUP_ROOT, own: str = OWN_CGROUP) -> int:
    """Cores that this process may keep busy: the affinity mask, or the control group's quota rounded up if smaller."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, math.ceil(_quota(root, own))))


def _quota(root: str, own: str) -> float:
    """The smallest ``cpu.max`` in cores from our control group up to the root; infinity-like when there is none."""
    smallest = float(1 << 20)
    for group in _groups(root, own):
        try:
            with open(join(group, "cpu.max")) as file:
                quota, period = file.read().split()
            smallest = min(smallest, int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):
            continue  # "max", no such file (cgroup v1, the root group), or something unknown: no limit from here
    return smallest


def _groups(root: str, own: str) -> list[str]:
    """Directories of our control group and its parents. In a container, the root already is the container's group."""
    try:
        with open(own) as file:
            inner = next((line[4:].strip("/\n") for line in file if line.startswith("0::/")), "")
    except OSError:
        inner = ""
    parts = inner.split("/") if inner else []
    if ".." in parts:  # a group outside of our cgroup namespace
        parts = []
    return [join(root, *parts[:depth]) for depth in range(len(parts), -1, -1)]


class OutOfMemory:
    """Whether the kernel has killed a process of any control group for want of memory (``oom_kill``, proc_vmstat(5)).

    It kills by SIGKILL, as people do; who looks right after such an end can tell the one from the other.
    """

    def __init__(self, path: str = VMSTAT) -> None:
        self._path = path
        self._seen = self._kills()

    def struck(self) -> bool:
        """Whether that has happened since the last call, or since this was made."""
        before, self._seen = self._seen, self._kills()
        return self._seen > before

    def _kills(self) -> int:
        try:
            with open(self._path) as file:
                return next((int(line[9:]) for line in file if line.startswith("oom_kill ")), 0)
        except (OSError, ValueError):
            return 0

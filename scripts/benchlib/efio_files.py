"""Files: reads of what is in the page cache, and a hub that ticks while eight greenlets read what is not."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.places import BENCH
from benchlib.results import Target

TEXT = "files, beside open, gevent's FileObjectThread, aiofiles and trio"
CONTENDERS = (
    Contender("efio.open"),
    Contender("efio.open-python", environment={"EFIO_IMPL": "python"}),
    Contender("open"),
    Contender("gevent.FileObjectThread", ("gevent",)),
    Contender("aiofiles", ("aiofiles",)),
    Contender("trio", ("trio",)),
)
FILE_MIB = 256
TICK_LIMIT = 2.0  # ms


def run(options: EfioOptions) -> list[Target]:
    part = Part("files", options, CONTENDERS, rounds=5)
    size = max(16, int(FILE_MIB * options.scale))
    path = BENCH / "files.dat"
    if not path.exists() or path.stat().st_size != size << 20:
        with path.open("wb") as file:
            for _ in range(size):
                file.write(os.urandom(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    part.measure("efio_files.py", str(path), str(options.scale))
    part.table("reads without a buffer, of cached data", "us", {"small": "4 KB", "large": "1 MB"})
    part.table(
        "8 readers of data that is not cached", "ms", {"tick_p50": "hub late p50", "tick_p99": "p99", "tick_max": "max"}
    )
    mounts = dict(line.split()[1:3] for line in Path("/proc/mounts").read_text().splitlines())
    kind = mounts.get(_mount(str(path)), "?")
    part.remarks.append(f"the file lies on {kind}, {shutil.disk_usage(path).total >> 30} GiB")
    late = part.samples.median("efio.open", "tick_p99")
    return part.report(
        [
            part.target("4 KB reads, to open", "small", "efio.open", "open", 1.8, lower_is_better=True),
            part.target("4 KB reads, to FileObjectThread", "small", "efio.open", "gevent.FileObjectThread", 1 / 20,
                        lower_is_better=True),
            part.target("4 KB reads, to aiofiles", "small", "efio.open", "aiofiles", 1 / 20, lower_is_better=True),
            part.target("1 MB reads, to open", "large", "efio.open", "open", 1 / 0.95, lower_is_better=True),
            Target("the hub beside 8 readers that miss the cache, p99 late", late, TICK_LIMIT, "at most", unit=" ms"),
        ]
    )  # fmt: skip


def _mount(path: str) -> str:
    while not os.path.ismount(path):
        path = os.path.dirname(path)
    return path

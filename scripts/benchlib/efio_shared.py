"""Queues between processes: messages of 64 bytes, one by one, in batches, there and back, and with several of each."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "queues between processes, beside multiprocessing and faster-fifo"
CONTENDERS = (
    Contender("efio.SharedQueue"),
    Contender("efio.SharedQueue-pickle"),
    Contender("multiprocessing.Queue"),
    Contender("multiprocessing.SimpleQueue"),
    Contender("faster_fifo.Queue", ("faster-fifo",)),
)
COLUMNS = {"pair": "one by one", "batch": "in batches", "four": "2 + 2 processes"}


def run(options: EfioOptions) -> list[Target]:
    part = Part("shared", options, CONTENDERS, rounds=5)
    part.measure("efio_shared.py", str(options.scale))
    part.table("messages of 64 bytes", "million/s", COLUMNS, digits=3)
    part.table("to another process and back", "us", {"round_trip": "round trip"}, digits=1)
    rate = part.samples.median("efio.SharedQueue", "batch")
    return part.report(
        [
            part.target(
                "SharedQueue one by one, to multiprocessing.Queue", "pair", "efio.SharedQueue",
                "multiprocessing.Queue", 20.0,
            ),
            part.target(
                "SharedQueue one by one, to faster-fifo", "pair", "efio.SharedQueue", "faster_fifo.Queue", 5.0
            ),
            Target("SharedQueue in batches", rate, 1.0, "at least", unit=" M messages/s"),
        ]
    )  # fmt: skip

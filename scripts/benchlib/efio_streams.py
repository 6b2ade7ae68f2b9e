"""Streams of bytes between threads, greenlets and tasks, beside a twin with a mutex, pipes and queues of chunks."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "streams of bytes, beside a twin with a mutex, pipes and queues of chunks"
CONTENDERS = (
    Contender("efio.ChunkedStream"),
    Contender("efio.ChunkedStream-python", environment={"EFIO_IMPL": "python"}),
    Contender("mutex"),
    Contender("queue.Queue"),
    Contender("os.pipe"),
    Contender("gevent.Queue", ("gevent",)),
    Contender("asyncio.StreamReader"),
)
COLUMNS = {
    "large": "threads, 64 KiB chunks",
    "small": "threads, 1 KiB chunks",
    "greenlets": "greenlets, 64 KiB",
    "tasks": "tasks, 64 KiB",
}


def run(options: EfioOptions) -> list[Target]:
    part = Part("streams", options, CONTENDERS, rounds=5)
    part.measure("efio_streams.py", str(options.scale))
    part.table("bytes handed over, 1 MiB may wait", "MB/s", COLUMNS, digits=0)
    ours = "efio.ChunkedStream"
    return part.report(
        [
            part.target("64 KiB chunks between threads, to the twin with a mutex", "large", ours, "mutex", 1.0),
            part.target("1 KiB chunks between threads, to the twin with a mutex", "small", ours, "mutex", 1.0),
            part.target("1 KiB chunks between threads, to queue.Queue", "small", ours, "queue.Queue", 1.0),
            part.target("64 KiB chunks between threads, to os.pipe", "large", ours, "os.pipe", 2.0),
            part.target(
                "64 KiB chunks between tasks, to asyncio.StreamReader", "tasks", ours, "asyncio.StreamReader", 2.0
            ),
        ]
    )

"""The shared segment of one server, shaped and filled in from its settings.

How many slabs: each request that is in work or waits for a worker holds one. What the settings allow at most would be
``queue + workers * threads * concurrency``; address space costs nothing until it is touched, so that is what there is,
up to a bound at which the table of slabs alone would take hundreds of megabytes. Beyond it requests are shed (503).
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from evpy.errors import StartupError
from evpy.server.machine import usable_cores
from evpy.server.settings import BODY_RATE_GRACE, Settings

if TYPE_CHECKING:
    from evpy._core import Segment
    from evpy.server.binds import Listeners

__all__ = ["RUNNING_ONLY", "configure", "create", "open_access_log"]

SPARE_THREADS = 2  # scheduler threads that stand in for blocked ones, see schedulers.py
SPARE_SLABS = 64  # per I/O thread: answers that are still being written, not in work any more
MOST_SLABS = 1 << 16
DEPTH = 64  # requests that may lie unclaimed in a worker's ring, per scheduler thread
MAX_BUFFERED = 64 << 20  # bytes of request parts that one I/O thread may hold outside of slabs
NO_LIMIT = 1 << 30  # connections; descriptors run out long before

# Settings that a running server cannot change: the segment's shape, the sockets, what the supervisor itself has begun.
RUNNING_ONLY = (
    "chdir", "bind", "unix_mode", "backlog", "server_header", "workers", "threads", "concurrency", "io_threads",
    "queue", "pid", "access_log", "access_log_format", "reload", "reload_dir",
)  # fmt: skip


def create(settings: Settings, *, shared: bool = True) -> Segment:
    """The segment for this server; StartupError when the system refuses it."""
    from evpy._core import Segment

    workers = max(1, settings.workers)
    io_threads = settings.io_threads if shared else 1
    wanted = settings.queue + workers * settings.threads * settings.concurrency
    try:
        return Segment.create(
            io_threads=io_threads,
            slots=2 * workers + 2 if shared else 1,
            threads=settings.threads + SPARE_THREADS if shared else 1,
            slabs=min(math.ceil(wanted / io_threads) + SPARE_SLABS, MOST_SLABS // io_threads),
            concurrency=settings.concurrency,
            queue_limit=math.ceil(settings.queue / io_threads),
            depth=DEPTH * settings.threads,
            shared=shared,
        )
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise StartupError(
            f"cannot create the shared segment for {workers} workers: {reason}; "
            "use fewer --workers, or raise the limits of open files and of memory (ulimit -n, -v)"
        ) from None


def configure(segment: Segment, settings: Settings, access_log_fd: int) -> None:
    """Writes the gateway's settings into the segment; also while it runs."""
    segment.configure(
        header_timeout=settings.header_timeout,
        body_timeout=settings.body_timeout,
        body_rate=settings.body_rate,
        body_rate_grace=BODY_RATE_GRACE,
        handler_timeout=settings.timeout,
        send_timeout=settings.send_timeout,
        keepalive=settings.keep_alive,
        max_body=settings.max_body,
        max_body_at=list(settings.body_limits().items()),
        max_buffered=MAX_BUFFERED,
        max_connections=math.ceil(settings.max_connections / segment.io_threads) or NO_LIMIT,
        time_slice=settings.time_slice,
        costly=settings.costly,
        cores=usable_cores(),
        server_header=settings.server_header,
        access_log_fd=access_log_fd,
        access_log_json=settings.access_log_format == "json",
        # Not a setting: the gateway then answers by itself, which tells what it costs (scripts/bench hello).
        echo=os.environ.get("EVPY_BENCH_ECHO") == "1",
    )


def add_listeners(segment: Segment, listeners: Listeners) -> None:
    for sock, address in zip(listeners, listeners.addresses(), strict=True):
        segment.add_listener(sock.fileno(), address, own=sock.fileno() not in listeners.foreign)


def open_access_log(path: str | None) -> int:
    """A descriptor for the access log, -1 for none; StartupError when it cannot be opened."""
    if path is None:
        return -1
    if path == "-":
        return os.dup(1)
    try:
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY, 0o666)
    except OSError as error:
        raise StartupError(
            f"cannot write the access log to {path!r}: {error.strerror}; choose another --access-log"
        ) from None

"""download and upload: one large body at a time over one connection.

The file holds pseudo-random bytes and is in the page cache. A download is first fetched once by a plain client that
checks its digest; then the load generator fetches it again and again and lets the kernel throw the bytes away
(MSG_TRUNC), so that the server is the slower side. An upload is sent by sendfile(); the server's application hashes it
(SHA-256) piece by piece, and its answer must be the digest. Memory is the sum of the PSS of all server processes,
sampled every 50 ms, above what the server had before. The rate comes from the mean time of a whole transfer.
"""

from __future__ import annotations

import hashlib
import http.client
import math
import random
from pathlib import Path

from benchlib.launch import Running
from benchlib.loadgen import Load, Measurement
from benchlib.places import BENCH, BenchError, say
from benchlib.procfs import PeakMemory
from benchlib.results import Target, ratio, ratio_target
from benchlib.servers import Job, Server
from benchlib.session import Options, Panel, Session

DOWNLOAD_PEERS = ("nginx", "granian-rsgi", "granian-wsgi", "gunicorn-gthread", "uvicorn")
UPLOAD_PEERS = (
    "granian-wsgi", "granian-asgi", "granian-rsgi", "uvicorn", "gunicorn-gevent", "gunicorn-gthread", "socketify",
)  # fmt: skip
MIB = 1 << 20
MEMORY_LIMIT = 64.0  # MB above idle
TIMEOUT = 120.0  # seconds for one transfer


def payload(size: int) -> tuple[Path, str]:
    """The file and its SHA-256; made once per size. Neither compressible nor periodic within a MiB."""
    path = BENCH / f"payload-{size}"
    if not path.exists() or path.stat().st_size != size:
        say(f"making a file of {size / MIB:,.0f} MiB")
        BENCH.mkdir(exist_ok=True)
        source = random.Random(size)
        with path.open("wb") as file:
            for at in range(0, size, MIB):
                file.write(source.randbytes(min(MIB, size - at)))
    with path.open("rb") as file:  # also puts it into the page cache
        return path, hashlib.file_digest(file, "sha256").hexdigest()


def _record(session: Session, server: Server, round_: int, got: Measurement, idle: int, peak: PeakMemory) -> None:
    session.add(
        server,
        round_,
        {
            "gb_s": session.options.size_mib * MIB / got.normal.mean / 1e9,
            "cpu_s_gb": got.cpu_seconds / (got.bytes / 1e9),
            "above_idle_mb": (peak.peak - idle) / 1e6,
            "idle_mb": idle / 1e6,
            "client_load": got.client_load,
        },
    )


def _fetch(running: Running, digest: str) -> None:
    """One ordinary download; BenchError when what arrives is not the file."""
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=TIMEOUT)
    try:
        connection.request("GET", "/file")
        answer = connection.getresponse()
        sha = hashlib.sha256()
        while piece := answer.read(MIB):
            sha.update(piece)
    except (OSError, http.client.HTTPException) as error:
        raise BenchError(f"the download broke off: {error!r}") from None
    finally:
        connection.close()
    if answer.status != 200 or sha.hexdigest() != digest:
        raise BenchError(f"answered {answer.status} and not the bytes of the file")


def run_download(options: Options) -> list[Target]:
    size = options.size_mib * MIB
    path, digest = payload(size)
    session = Session("download", options, "download", DOWNLOAD_PEERS, rounds=5, seconds=4.0)
    load = Load(connections=1, seconds=session.seconds, path="/file", expect=size, discard=True, timeout=TIMEOUT)
    for round_, server in session.turns():
        with session.attempt(server), session.start(server, Job("download", 1, path)) as running:
            idle = running.tree.memory()
            _fetch(running, digest)
            with PeakMemory(running.tree) as peak:
                got = session.measure(running, load)
            _record(session, server, round_, got, idle, peak)
    samples = session.samples
    targets = [
        ratio_target("1 GB download to nginx's sendfile", samples, "gb_s", ["nginx"], 0.8, "at least"),
        _memory_target(session),
    ]
    return _report(session, targets)


def run_upload(options: Options) -> list[Target]:
    size = options.size_mib * MIB
    path, digest = payload(size)
    session = Session("upload", options, "upload", UPLOAD_PEERS, rounds=3, seconds=4.0)
    load = Load(
        connections=1, seconds=session.seconds, path="/upload", expect=64, post_file=path, timeout=TIMEOUT, warmup=0
    )
    for round_, server in session.turns():
        with session.attempt(server), session.start(server, Job("upload", 1)) as running:
            idle = running.tree.memory()
            with PeakMemory(running.tree) as peak:
                got = session.measure(running, load)
            if got.last_body != digest:
                raise BenchError(f"answered {got.last_body[:70]!r}, not the digest of what was sent")
            _record(session, server, round_, got, idle, peak)
    targets = [
        ratio_target("1 GB upload to the best Python peer", session.samples, "gb_s", session.peers, 1.5, "at least"),
        _memory_target(session),
    ]
    return _report(session, targets)


def _memory_target(session: Session) -> Target:
    values = session.samples.rounds("evserver", "above_idle_mb").values()
    return Target(
        "peak memory of all processes above idle", max(values, default=math.nan), MEMORY_LIMIT, "at most", unit=" MB",
        against="" if values else "evserver did not run",
    )  # fmt: skip


def _report(session: Session, targets: list[Target]) -> list[Target]:
    samples = session.samples
    names = session.ordered("gb_s", highest_first=True)
    rows = [
        (
            name,
            f"{samples.median(name, 'gb_s'):.2f}",
            str(ratio(samples, "gb_s", "evserver", name)),
            f"{samples.median(name, 'cpu_s_gb'):.2f}",
            f"{samples.median(name, 'above_idle_mb'):.1f}",
            f"{samples.median(name, 'idle_mb'):.1f}",
        )
        for name in names
    ]
    head = ("server", "GB/s", "evserver is", "CPU s/GB", "peak MB above idle", "idle MB")
    title = f"{session.name} of {session.options.size_mib:,} MiB, one connection, one worker on one core"
    panels = [
        Panel(title, "GB/s", {n: [samples.median(n, "gb_s")] for n in names}),
        Panel("peak memory above idle", "MB (all processes, PSS)",
              {n: [max(0.0, samples.median(n, "above_idle_mb"))] for n in names}),
    ]  # fmt: skip
    return session.report(head, rows, targets, panels)

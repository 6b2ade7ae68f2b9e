"""Codecs: base64 beside the standard library, and what a hub's other greenlets notice of large data."""

from __future__ import annotations

from benchlib.bench_efio import Contender, EfioOptions, Part
from benchlib.results import Target

TEXT = "base64, hex, compression and hashes, and the delay of a hub's other greenlets"
CONTENDERS = (Contender("efio.codecs"), Contender("standard library"))
RATES = {
    "b64encode": "b64encode",
    "b64decode": "b64decode",
    "hexdecode": "hexdecode",
    "sha256": "sha256",
    "zlib": "zlib",
    "unzlib": "unzlib",
    "zstd": "zstd",
    "unzstd": "unzstd",
}


def run(options: EfioOptions) -> list[Target]:
    part = Part("codecs", options, CONTENDERS, rounds=3)
    part.measure("efio_codecs.py", str(options.scale))
    part.table("1 MiB at a time, in a thread", "MB/s of plain data", RATES, digits=0)
    part.table(
        "a ticking greenlet's delay while another one compresses 4 MiB", "ms",
        {"delay_p50": "median", "delay_max": "longest"},
    )  # fmt: skip
    ours, theirs = (c.name for c in CONTENDERS)
    return part.report(
        [
            part.target("b64encode, to base64", "b64encode", ours, theirs, 4.0),
            part.target("b64decode, to base64 (which checks less)", "b64decode", ours, theirs, 4.0),
            part.target("sha256, to hashlib", "sha256", ours, theirs, 0.95),
            part.target("zlib, to zlib", "zlib", ours, theirs, 0.95),
            part.target("longest delay of other greenlets", "delay_max", ours, theirs, 0.1, lower_is_better=True),
        ]
    )

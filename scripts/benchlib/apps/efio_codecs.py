"""Measures codecs: efio_codecs.py NAME SCALE. Prints a line of JSON: MB/s, and ms of delay."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import random
import sys
import time
import zlib
from collections.abc import Callable
from typing import Any

NAME, SCALE = sys.argv[1], float(sys.argv[2])
OURS = NAME.startswith("efio")


def sample(size: int) -> bytes:
    """Text that compresses to about a third."""
    words = [bytes(random.Random(n).choices(b"abcdefghijklmnop", k=n % 9 + 2)) for n in range(500)]
    chosen = random.Random(1)
    return b" ".join(chosen.choices(words, k=size // 6))[:size]


def functions(data: bytes) -> dict[str, Callable[[], Any]]:
    text, digits, packed = base64.b64encode(data), binascii.hexlify(data), zlib.compress(data)
    if not OURS:
        return {
            "b64encode": lambda: base64.b64encode(data),
            "b64decode": lambda: base64.b64decode(text, validate=True),
            "hexdecode": lambda: binascii.unhexlify(digits),
            "sha256": lambda: hashlib.sha256(data).digest(),
            "zlib": lambda: zlib.compress(data),
            "unzlib": lambda: zlib.decompress(packed),
        }
    from efio import codecs

    squeezed = codecs.compress(data)
    return {
        "b64encode": lambda: codecs.b64encode(data),
        "b64decode": lambda: codecs.b64decode(text),
        "hexdecode": lambda: codecs.hexdecode(digits),
        "sha256": lambda: codecs.digest(data),
        "zlib": lambda: codecs.compress(data, "zlib"),
        "unzlib": lambda: codecs.decompress(packed, "zlib"),
        "zstd": lambda: codecs.compress(data),
        "unzstd": lambda: codecs.decompress(squeezed),
    }


def rate(function: Callable[[], Any], size: int) -> float:
    """MB/s, the best of several tenths of a second."""
    best = 0.0
    for _ in range(max(1, int(5 * SCALE))):
        begin, n = time.perf_counter(), 0
        while (passed := time.perf_counter() - begin) < 0.05 or not n:
            function()
            n += 1
        best = max(best, n * size / passed / 1e6)
    return best


def delays(data: bytes) -> dict[str, float]:
    """How much later than asked for a greenlet wakes up, while another one compresses."""
    import gevent

    compress = functions(data)["zlib"]
    late: list[float] = []

    def tick() -> None:
        while True:
            begin = time.perf_counter()
            gevent.sleep(0.001)
            late.append((time.perf_counter() - begin - 0.001) * 1e3)

    ticking = gevent.spawn(tick)
    for _ in range(max(1, int(3 * SCALE))):
        gevent.sleep(0.003)
        gevent.spawn(compress).join()
    gevent.sleep(0.003)  # what was delayed is seen when it wakes up
    ticking.kill()
    late.sort()
    return {"delay_p50": late[len(late) // 2], "delay_max": late[-1]}


if __name__ == "__main__":
    megabyte = sample(2**20)
    measured = {name: rate(function, 2**20) for name, function in functions(megabyte).items()}
    measured |= delays(sample(4 * 2**20))
    if OURS:
        import efio

        efio.default_pool().shutdown()
    sys.stdout.write(json.dumps(measured) + "\n")

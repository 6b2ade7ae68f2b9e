"""What every server's application does, whatever its interface: the bytes of hello, the slow request, the hash."""

import hashlib
import os
import time

HELLO = b"Hello, World!"
SLOW_SECONDS = 0.02  # CPU time, not time on the clock: a thread that is preempted must still do all the work
PIECE = 65536  # bytes read at a time
FILE = os.environ.get("EVPY_BENCH_FILE", "")
digest = hashlib.sha256


def burn() -> None:
    """Uses the CPU for SLOW_SECONDS, as a template, a parser or a loop over rows would."""
    end = time.thread_time() + SLOW_SECONDS
    while time.thread_time() < end:
        pass

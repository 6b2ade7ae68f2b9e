"""What every queue, counter and worker of a server says about itself, read from the shared segment.

Nobody is asked and nobody has to answer, so this works while all Python is stuck. A running server is looked at through
the descriptors that /proc shows to the same user:

    python -m evpy.server.status PID
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from evpy.errors import ExitCode

if TYPE_CHECKING:
    from evpy._core import Segment

__all__ = ["culprit", "main", "of_process", "snapshot"]

STATES = ("empty", "starting", "ready", "draining", "dead")


def snapshot(segment: Segment) -> dict[str, Any]:
    """Counters (sums over the I/O threads), the gateway, and every worker that has a process. Ages in seconds."""
    return {
        "gateway": {"pid": segment.gateway_pid, "heartbeat_age": segment.gateway_heartbeat_age()},
        "counters": segment.counters(),
        "workers": [
            _worker(segment, slot)
            for slot in range(segment.slots)
            if STATES[segment.worker_state(slot)] not in ("empty", "dead")
        ],
    }


def _worker(segment: Segment, slot: int) -> dict[str, Any]:
    info = segment.worker_info(slot)
    return (
        {"worker": f"worker-{slot + 1}"}
        | info
        | {
            "state": STATES[info["state"]],
            "requests": segment.requests_of(slot),
        }
    )


def culprit(segment: Segment, slot: int, threads: Collection[int], request_id: str | None = None) -> dict[str, Any]:
    """The request that a blocked thread is at, for the log: the one with this id, else the one that the core has
    switched to last, else the only one there is. ``age`` in seconds since its arrival.
    """
    if request_id is None:
        states = segment.worker_info(slot)["threads"]
        request_id = next(
            (state["current"] for state in states if state["index"] in threads and state["current"]), None
        )
    requests = [request for request in segment.requests_of(slot) if request["thread"] in threads]
    found = [request for request in requests if request["id"] == request_id] or requests
    if len(found) != 1 and not (found and found[0]["id"] == request_id):
        return {"request": f"one of {len(found)}" if found else "none"}
    method, target, age = found[0]["method"], found[0]["target"], found[0]["age"]
    return {"request": f"{method} {target}", "request_id": found[0]["id"], "age": round(age, 1)}


def of_process(pid: int) -> dict[str, Any]:
    """The status of the server whose supervisor this is. LookupError when it is none, or not ours to look at."""
    from evpy._core import Segment

    folder = f"/proc/{pid}/fd"
    try:
        names = os.listdir(folder)
    except OSError as error:
        raise LookupError(f"process {pid}: {error.strerror}") from None
    for name in names:
        target = ""
        with contextlib.suppress(OSError):  # closed since
            target = os.readlink(f"{folder}/{name}")
        if target.startswith("/memfd:evpy "):
            fd = os.open(f"{folder}/{name}", os.O_RDWR | os.O_CLOEXEC)
            try:
                segment = Segment.attach(fd)
                try:
                    return snapshot(segment)
                finally:
                    segment.close()
            finally:
                os.close(fd)
    raise LookupError(f"process {pid} is no supervisor of evserver; the file of --pid has its number")


def main(arguments: list[str]) -> int:
    """Prints the status as JSON."""
    if len(arguments) != 1 or not arguments[0].isdigit():
        sys.stderr.write("usage: python -m evpy.server.status PID\n")
        return ExitCode.USAGE
    try:
        found = of_process(int(arguments[0]))
    except LookupError as error:
        sys.stderr.write(f"evpy.server.status: error: {error}\n")
        return ExitCode.CRASHED
    sys.stdout.write(json.dumps(found, indent=2) + "\n")
    return ExitCode.DONE


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""CPU time slices of gateway and schedulers, as the kernel reports them (sched_getattr(2)), in nanoseconds."""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

import pytest
from serving import Server

SYS_SCHED_GETATTR = {"x86_64": 315, "aarch64": 275}
APP = """
import subprocess, sys
from gevent.monkey import get_original

def handle(request):
    if request.path == "/scheduler":
        return str(get_original("_thread", "get_native_id")())
    command = [sys.executable, "-c", "import os; print(os.getpid(), flush=True); input()"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    kept.append(child)
    return child.stdout.readline()

kept = []

def on_stop():
    for child in kept:
        child.communicate(b"\\n")
"""


def slice_of(thread: int) -> int:
    """The slice of a thread, nanoseconds."""
    number = SYS_SCHED_GETATTR.get(os.uname().machine)
    if number is None:
        pytest.skip("the number of sched_getattr is not known for this machine")
    data = ctypes.create_string_buffer(48)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, thread, data, 48, 0):
        raise OSError(ctypes.get_errno(), f"sched_getattr of {thread}")
    return int(struct.unpack("=IIQiIQQQ", data.raw)[5])


def threads_named(pid: int, name: str) -> list[int]:
    """The threads of this name of a process and of its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [
        int(task.name)
        for process in [str(pid), *children]
        for task in Path(f"/proc/{process}/task").iterdir()
        if (task / "comm").read_text().strip() == name
    ]


@pytest.fixture(scope="module")
def own() -> int:
    """What the kernel gives to anyone."""
    found = slice_of(0)
    if not found:
        pytest.skip("this kernel gives every thread the same slices (before Linux 6.12)")
    return found


@pytest.mark.parametrize("option", [(), ("--time-slice", "0.0005"), ("--time-slice", "0")])
def test_slices(own: int, option: tuple[str, ...]) -> None:
    wanted = int(float(option[1]) * 1e9) if option else 100_000
    with Server(APP, "-w", "1", "--io-threads", "2", *option) as server:
        scheduler = int(server.get("/scheduler").body)

        def slices() -> list[int]:
            gateway = threads_named(server.pid, "evpy:gateway") + threads_named(server.pid, "evpy:io-1")
            return [slice_of(thread) for thread in (*gateway, scheduler)]

        # A thread of the gateway takes its name and its slice when it has begun to run.
        server.wait_until(lambda: slices() == [wanted or own] * 3, f"three slices of {wanted or own}, not {slices()}")
        child = int(server.get("/child").body)
        assert slice_of(child) == own, "what the application starts has the kernel's own"
        assert slice_of(server.pid) == own

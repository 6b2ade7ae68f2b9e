"""Forked children for tests of what processes share."""

import os
import signal
from collections.abc import Callable

__all__ = ["ended_well", "in_child", "kill"]


def in_child(work: Callable[[], object]) -> int:
    """Runs work in a forked child; its pid. It exits with 0 when work returns, 1 when it raises."""
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        work()
        status = 0
    finally:
        os._exit(status)


def ended_well(pid: int) -> bool:
    """Waits for the child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def kill(pid: int) -> None:
    """SIGKILL, and waits."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)

"""Child processes and signals, with nothing between a caller and the kernel that could wait or race.

A child is watched through a pidfd (pidfd_open(2), Linux 5.3): it becomes readable when the child ends, so one selector
waits for all of them; and a signal sent through it cannot hit a stranger who got the same number. Signals that we
receive become bytes on a socket pair (the self-pipe trick of D. J. Bernstein, ``signal.set_wakeup_fd``), readable in
the same selector.

Signals that a terminal sends to all processes of a foreground job are blocked in a child from before its first
instruction; what they mean is decided by the supervisor, and the child unblocks them when it is ready to be asked.
"""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Collection, Iterable, Sequence

__all__ = [
    "Child",
    "Signals",
    "Terminal",
    "describe_exit",
    "die_with",
    "private_memory",
    "python_command",
    "raise_descriptor_limit",
    "reap_strangers",
    "spawn",
]

MOST_DESCRIPTORS = 1 << 20
PR_SET_PDEATHSIG = 1
_PAGE = os.sysconf("SC_PAGE_SIZE")


class Child:
    """A process of ours, from its start until ``close``."""

    def __init__(self, popen: subprocess.Popen[bytes]) -> None:
        self._popen = popen
        self.pid = popen.pid
        self.pidfd = os.pidfd_open(popen.pid)

    def fileno(self) -> int:
        """Readable when the process has ended."""
        return self.pidfd

    def exit_status(self) -> int | None:
        """Its exit code, minus the signal that killed it, or None while it runs. Reaps it."""
        return self._popen.poll()

    def send(self, signum: int) -> None:
        """Sends a signal; nothing happens when the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signum)

    def wait(self) -> int:
        """Waits for the end and returns the exit status."""
        return self._popen.wait()

    def close(self) -> None:
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1


def spawn(
    command: Sequence[str],
    *,
    descriptors: Iterable[int] = (),
    blocked: Iterable[int] = (),
    stdin: int | None = None,
    stdout: int | None = None,
) -> Child:
    """Starts a process that inherits these descriptors, under the same numbers, and starts with these signals blocked.

    OSError when the system refuses.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, blocked)
    try:
        popen = subprocess.Popen(command, pass_fds=tuple(descriptors), stdin=stdin, stdout=stdout)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        return Child(popen)
    except OSError:
        popen.kill()
        popen.wait()
        raise


def python_command(module: str, *arguments: object) -> list[str]:
    """The command that runs one of our modules as this interpreter runs us.

    -P: the current directory, which is the application's, must not shadow what we import.
    """
    flags: list[str] = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    return [sys.executable, *(flag for flag in flags if flag != "-P"), "-P", "-m", module, *map(str, arguments)]


def reap_strangers(own: Collection[int]) -> int:
    """Waits for ended children that are not in ``own``; returns how many there were.

    As process 1 of a container we are given every process that has lost its parent: what applications have started.
    """
    count = 0
    while True:
        try:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return count
        if ended is None or ended.si_pid in own:  # one of ours is waited for by whoever watches it; then we go on
            return count
        os.waitpid(ended.si_pid, 0)
        count += 1


def describe_exit(status: int) -> str:
    """An exit status in words: ``exit code 3``, ``killed by SIGSEGV``."""
    if status >= 0:
        return f"exit code {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"


def private_memory(pid: int) -> int | None:
    """Resident bytes of a process that it shares with nobody (proc_pid_statm(5)); None when it is gone.

    The shared part is code, and those pages of the request segment that every worker touches in time: they would be
    counted once for each worker, and a new one would not have less of them.
    """
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            fields = file.read().split()
        return (int(fields[1]) - int(fields[2])) * _PAGE
    except (OSError, IndexError, ValueError):
        return None


def raise_descriptor_limit() -> int:
    """Raises the soft limit of open files to the hard one; returns it. Children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, MOST_DESCRIPTORS)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            return wanted
    return soft if soft != resource.RLIM_INFINITY else MOST_DESCRIPTORS


def die_with(parent: int) -> None:
    """From now on SIGKILL for this process when its parent dies, however it dies (PR_SET_PDEATHSIG of prctl(2))."""
    import ctypes

    if ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0 or os.getppid() != parent:
        os._exit(1)


class Terminal:
    """The terminal that this process was started from, if any, to tell SIGHUP of an operator from a lost terminal.

    Somebody who closes the window of a server wants it to end, unless he has started it with nohup(1).
    """

    def __init__(self) -> None:
        self._had = signal.getsignal(signal.SIGHUP) != signal.SIG_IGN and _has_terminal()

    def lost(self) -> bool:
        return self._had and not _has_terminal()


def _has_terminal() -> bool:
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:  # ENXIO: none; EIO: it has been hung up
        return False
    return True


class Signals:
    """Received signals, in order, from a readable descriptor. One per process, main thread only."""

    def __init__(self, signums: Iterable[int]) -> None:
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)
        self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        self._before = {signum: signal.signal(signum, _received) for signum in signums}

    def fileno(self) -> int:
        return self._reader.fileno()

    def take(self) -> list[int]:
        """The signals that have come since the last call."""
        try:
            return [signum for signum in self._reader.recv(4096) if signum in self._before]
        except BlockingIOError:
            return []

    def close(self) -> None:
        """Restores what was before."""
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        signal.set_wakeup_fd(self._wakeup_before)
        self._reader.close()
        self._writer.close()


def _received(signum: int, frame: object) -> None:
    """The interpreter has written the number to the wake-up descriptor before it calls this."""

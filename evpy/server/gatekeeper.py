"""Keeps the gateway running: the native process that owns the connections.

Listening sockets and the segment live in the supervisor, so a gateway that dies takes its open connections with it and
nothing else: the kernel goes on queueing new ones, the next gateway accepts them a moment later and takes over the
slabs of its predecessor.
"""

from __future__ import annotations

import logging
import signal
from typing import TYPE_CHECKING

from evpy.errors import StartupError
from evpy.server import logs, processes
from evpy.server.fleet import Backoff

if TYPE_CHECKING:
    from evpy._core import Segment

__all__ = ["GROUP_PAUSE", "Gatekeeper"]

# SIGTERM makes it drain, as it does us: a process manager that signals all of a group means all of a group.
BLOCKED = (signal.SIGINT, signal.SIGHUP)

GROUP_PAUSE = 0.2  # seconds between the signals to several processes of a group
IDLE_LIMIT = 2.0  # seconds; an idle I/O thread turns twice a second

_log = logging.getLogger("evpy.server.supervisor")


class Gatekeeper:
    """The gateway process, and when to start the next one. Times in seconds of one monotonic clock."""

    def __init__(self, segment: Segment) -> None:
        self._segment = segment
        self._backoff = Backoff()
        self._started = 0.0
        self._answered = 0  # by its predecessors
        self._hung = False
        self.child: processes.Child | None = None
        self.draining = False

    @property
    def gone(self) -> bool:
        """It does not run (any more, or at the moment)."""
        return self.child is None

    def next_deadline(self) -> float | None:
        return self._backoff.not_before if self.child is None and not self.draining else None

    def start(self, now: float) -> None:
        """StartupError when the process cannot be started at all."""
        from evpy import _core

        descriptors = self._segment.gateway_fds()
        command = [_core.GATEWAY_PATH, "--segment", str(self._segment.fd)]
        self._segment.set_running()
        try:
            self.child = processes.spawn(command, descriptors=descriptors, blocked=BLOCKED)
        except OSError as error:
            raise StartupError(f"cannot start the gateway {command[0]}: {error.strerror}") from None
        self._started, self._hung = now, False
        self._answered = self._segment.counters()["answered"]
        logs.event(_log, logging.DEBUG, "gateway started", gateway=self.child.pid)

    def tick(self, now: float) -> None:
        """Starts the next one when it is time."""
        if self.child is None and not self.draining and now >= self._backoff.not_before:
            try:
                self.start(now)
            except StartupError as error:
                self._backoff.failed(now, lived=0.0, useful=False)
                logs.event(_log, logging.ERROR, "gateway did not start", reason=str(error))

    def on_exit(self, now: float) -> int | None:
        """To be called when its pidfd is readable: reaps it; its exit status, None when it runs after all."""
        if self.child is None:
            return None
        status = self.child.exit_status()
        if status is None:
            return None
        pid, lived = self.child.pid, now - self._started
        self.child.close()
        self.child = None
        if self.draining:
            logs.event(_log, logging.DEBUG, "gateway ended", gateway=pid, how=processes.describe_exit(status))
            return status
        if status == 0:  # it was told to end: by somebody who tells all of our group, and so us in a moment
            self._backoff.not_before = now + GROUP_PAUSE
            logs.event(_log, logging.INFO, "gateway ended", gateway=pid, how="SIGTERM", restart_in=GROUP_PAUSE)
            return status
        useful = self._segment.counters()["answered"] > self._answered
        pause = self._backoff.failed(now, lived=lived, useful=useful)
        logs.event(
            _log,
            logging.ERROR,
            "gateway crashed",
            gateway=pid,
            how=processes.describe_exit(status),
            lived=round(lived, 3),
            restart_in=pause,
        )
        return status

    def watch(self, limit: float, kill: float) -> None:
        """Logs a gateway whose threads do not turn, and kills it above ``kill`` seconds; 0 switches either off."""
        age = self._segment.gateway_heartbeat_age()
        limit, kill = max(limit, IDLE_LIMIT) if limit else 0.0, max(kill, IDLE_LIMIT) if kill else 0.0
        if self.child is None or age is None or self._segment.gateway_pid != self.child.pid:
            return
        if limit and age >= limit and not self._hung:
            self._hung = True
            logs.event(_log, logging.ERROR, "gateway does not run", gateway=self.child.pid, seconds=round(age, 1))
        elif age < (limit or kill):
            self._hung = False
        if kill and age >= kill:
            self.kill()

    def drain(self) -> None:
        """It stops accepting, answers what is open, and ends."""
        self.draining = True
        self._segment.set_draining(stop=True)

    def kill(self) -> None:
        if self.child is not None:
            self.child.send(signal.SIGKILL)

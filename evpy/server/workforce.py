"""The worker processes behind a `Fleet`: starts them, signals them, reads what they report, logs what becomes of them.

The fleet decides, this module does (it is the fleet's `Driver`), and hands back what happened. Each worker comes with
three descriptors of the supervisor: a pidfd (its end), a socket (reports.py), and a memory file into which its C-level
fault handler writes stacks, also the last ones of a process that crashes.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import signal
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evpy._core import DEAD, DRAINING, EMPTY, READY
from evpy.server import logs, processes
from evpy.server.fleet import Fleet, Limits, Member, Phase
from evpy.server.gatekeeper import GROUP_PAUSE
from evpy.server.machine import OutOfMemory
from evpy.server.reports import STACKS_SIGNAL, Receiver
from evpy.server.worker import HANDLED

if TYPE_CHECKING:
    from evpy._core import Segment
    from evpy.server.settings import Settings

__all__ = ["WorkerProcess", "Workforce"]

EPITAPHS = ("worker crashed", "worker did not start", "the first start has failed")
MOST_REQUESTS = 5  # named in a log line
MOST_STACKS = 64 << 10  # bytes of stacks in a log line
LEVELS = {
    "worker crashed": logging.ERROR,
    "worker did not start": logging.ERROR,
    "the first start has failed": logging.ERROR,
    "worker killed": logging.WARNING,
    "reload failed, the old workers stay": logging.ERROR,
}

_log = logging.getLogger("evpy.server.supervisor")


class WorkerProcess:
    """What the supervisor holds of one worker."""

    def __init__(self, member: Member, child: processes.Child, reports: Receiver, stacks: int, quota: int) -> None:
        self.member = member
        self.child = child
        self.reports = reports
        self.stacks = stacks
        self.stacks_read = 0
        self.quota = quota  # requests after which it is to be replaced; 0: none
        self.memory_ignored = False
        self.asked_while: dict[str, Any] = {}  # what it was doing when its stacks were asked for
        self.epitaph: dict[str, Any] = {}  # for the line about its end: what it was doing, or why it could not start

    def take_stacks(self) -> str:
        """What has been written to its stacks file since the last call."""
        data = os.pread(self.stacks, MOST_STACKS, self.stacks_read)
        self.stacks_read += len(data)
        return data.decode("utf-8", "replace").strip("\n")

    def close(self) -> None:
        self.child.close()
        self.reports.close()
        os.close(self.stacks)


class Workforce:
    """All workers of one server. ``watch`` and ``unwatch`` are told which objects have a descriptor to wait for."""

    def __init__(
        self,
        segment: Segment,
        settings: Settings,
        watch: Callable[[Any, Callable[[], None]], None],
        unwatch: Callable[[Any], None],
        reread: Callable[[], Settings | None],
    ) -> None:
        self.segment = segment
        self.settings = settings
        self.next_settings: Settings | None = None  # while a reload is under way
        self.processes: dict[int, WorkerProcess] = {}
        self._wishes: dict[int, float] = {}  # slots of workers that were told to end: when to replace them
        self._watch = watch
        self._unwatch = unwatch
        self._reread = reread
        self.fleet = Fleet(settings.workers, Limits(settings.start_timeout, settings.grace), self)
        self._memory = OutOfMemory()
        self.on_blocked: Callable[[WorkerProcess, dict[str, Any]], None] = lambda process, message: None
        self.on_gone: Callable[[int], None] = lambda slot: None

    # --- orders of the fleet

    def free_slot(self) -> int | None:
        for slot in range(self.segment.slots):
            state = self.segment.worker_state(slot)
            if slot not in self.fleet.members and (
                state == EMPTY or (state == DEAD and self.segment.worker_acked(slot, DEAD))
            ):
                return slot
        return None

    def begin_reload(self) -> bool:
        self.next_settings = self._reread()
        return self.next_settings is not None

    def spawn(self, member: Member) -> None:
        settings = self.next_settings if member.epoch > self.fleet.epoch and self.next_settings else self.settings
        slot = member.slot
        self.segment.begin_worker(slot)
        with contextlib.ExitStack() as undo:
            undo.callback(self.segment.set_worker_state, slot, DEAD)
            reports = undo.enter_context(contextlib.closing(Receiver()))
            stacks = os.memfd_create("evpy-stacks", os.MFD_CLOEXEC)
            undo.callback(os.close, stacks)
            with os.fdopen(os.memfd_create("evpy-settings", os.MFD_CLOEXEC), "wb", 0) as given:
                given.write(json.dumps(settings.to_dict()).encode())
                arguments = (self.segment.fd, slot, reports.peer, stacks, given.fileno(), os.getpid())
                child = processes.spawn(
                    processes.python_command("evpy.server.worker", *arguments),
                    descriptors=[*self.segment.worker_fds(slot), reports.peer, stacks, given.fileno()],
                    blocked=[*HANDLED, STACKS_SIGNAL],
                )
            undo.pop_all()
        reports.release_peer()
        self.segment.set_worker_pid(slot, child.pid)
        process = WorkerProcess(member, child, reports, stacks, _quota(settings))
        self.processes[slot] = process
        self._watch(child, lambda: self._on_exit(process))
        self._watch(reports, lambda: self._on_readable(process))

    def retire(self, member: Member) -> None:
        self.segment.set_worker_state(member.slot, DRAINING)
        self.processes[member.slot].child.send(signal.SIGTERM)

    def grant_wishes(self, now: float) -> None:
        """Replaces the workers that were told to end."""
        for slot in [slot for slot, due in self._wishes.items() if now >= due]:
            del self._wishes[slot]
            self.fleet.recycle(slot, "it was asked to end by SIGTERM", now)

    def examine(self, member: Member) -> None:
        """Stacks are asked for in two ways: of all greenlets, which the worker itself logs if its interpreter can, and
        of its threads, which are logged when it is killed.
        """
        self.processes[member.slot].child.send(signal.SIGUSR1)
        self.ask_stacks(member.slot)

    def kill(self, member: Member) -> None:
        process = self.processes[member.slot]
        details = self.doing(member.slot) | _traceback(process.take_stacks())
        logs.event(_log, logging.WARNING, "killing a worker", **self.describe(process), why=member.why, **details)
        process.child.send(signal.SIGKILL)

    def note(self, what: str, member: Member | None = None, **fields: Any) -> None:
        process = self.processes.get(member.slot) if member is not None else None
        name: dict[str, Any] = {"worker": member.name} if member is not None else {}
        named = self.describe(process) if process is not None and process.member is member else name
        if what in EPITAPHS and process is not None:
            fields |= process.epitaph
        if what == "the first start has failed" and "traceback" not in fields:
            return  # the reason will be the program's last line; nothing to add
        level = LEVELS.get(what, logging.WARNING if fields.get("how") else logging.INFO)
        logs.event(_log, level, what, **named, **fields)
        if what == "reload done" and self.next_settings is not None:
            self.settings, self.next_settings = self.next_settings, None
            self.fleet.limits = Limits(self.settings.start_timeout, self.settings.grace)

    # --- orders of the supervisor

    def ask_stacks(self, slot: int) -> None:
        """Asks the process to write its stacks, from C."""
        if slot in self.processes:
            self.processes[slot].child.send(STACKS_SIGNAL)

    def send_all(self, signum: int) -> None:
        """A signal to every worker that has its handlers."""
        for process in self.processes.values():
            process.child.send(signum)

    def check_requests(self, now: float) -> None:
        """Asks for the replacement of workers that have answered their quota of requests."""
        for slot, process in list(self.processes.items()):
            if process.quota and process.member.phase is Phase.READY:
                finished = self.segment.worker_info(slot)["finished"]
                if finished >= process.quota:
                    self.fleet.recycle(slot, f"{finished} requests (max-requests)", now)

    def check_memory(self, limit: int, now: float) -> None:
        """Asks for the replacement of workers whose private memory is above ``limit`` bytes; 0: no limit."""
        for slot, process in list(self.processes.items()):
            if not limit or process.member.phase is not Phase.READY or process.memory_ignored:
                continue
            used = processes.private_memory(process.child.pid)
            if used is None or used <= limit:
                continue
            if self.segment.worker_info(slot)["finished"]:
                self.fleet.recycle(slot, f"{used >> 20} MiB of memory (max-memory)", now)
            else:  # the next one would start with as much
                process.memory_ignored = True
                logs.event(
                    _log,
                    logging.WARNING,
                    "max-memory is less than a worker needs before its first request, it is ignored for this one",
                    **self.describe(process),
                    memory=used,
                    limit=limit,
                )

    # --- for the log

    def describe(self, process: WorkerProcess) -> dict[str, Any]:
        return {"worker": process.member.name, "worker_pid": process.child.pid}

    def doing(self, slot: int) -> dict[str, Any]:
        """The requests that a worker has claimed: number, and the oldest ones with their ages in seconds."""
        requests = self.segment.requests_of(slot)
        if not requests:
            return {"requests": 0}
        lines = ", ".join(f"{r['method']} {r['target']} ({r['age']:.1f} s)" for r in requests[:MOST_REQUESTS])
        return {"requests": len(requests), "oldest": lines}

    # --- what happens

    def _on_readable(self, process: WorkerProcess) -> None:
        if self.processes.get(process.member.slot) is process:  # else its end came first in the same round
            self._on_reports(process)

    def _on_reports(self, process: WorkerProcess) -> None:
        now = time.monotonic()
        slot = process.member.slot
        for message in process.reports.take():
            match message["event"]:
                case "ready":
                    self.fleet.on_ready(slot, now)
                case "failed":
                    process.epitaph = _traceback(str(message.get("traceback") or ""))
                    self.fleet.on_failed(slot, str(message.get("reason")))
                case "asked":  # by somebody who may tell all of our group, and so us in a moment
                    self._wishes.setdefault(slot, now + GROUP_PAUSE)
                case "blocked" | "recovered":
                    self.on_blocked(process, message)

    def _on_exit(self, process: WorkerProcess) -> None:
        status = process.child.exit_status()
        if status is None:
            return
        self._on_reports(process)  # its last words
        now = time.monotonic()
        member, slot = process.member, process.member.slot
        useful = self.segment.worker_info(slot)["finished"] > 0
        how = processes.describe_exit(status)
        doing = self.doing(slot)
        # By somebody else than us, and not because some request needs more memory than there is.
        killed = status == -signal.SIGKILL and member.phase is not Phase.CONDEMNED and not self._memory.struck()
        self.segment.set_worker_state(slot, DEAD, killed)  # at once: the gateway retries or answers what it had
        if member.phase is Phase.READY:
            process.epitaph = doing
        process.epitaph = _traceback(process.take_stacks()) | process.epitaph
        self._unwatch(process.child)
        self._unwatch(process.reports)
        self.on_gone(slot)
        self.fleet.on_exit(slot, how, now, useful=useful, clean=status == 0)
        if self.processes.get(slot) is process:
            del self.processes[slot]
        process.close()

    def ready_workers(self) -> int:
        return sum(self.segment.worker_state(slot) == READY for slot in range(self.segment.slots))


def _traceback(text: str) -> dict[str, Any]:
    return {"traceback": text} if text else {}


def _quota(settings: Settings) -> int:
    if not settings.max_requests:
        return 0
    return settings.max_requests + random.randint(0, settings.max_requests_jitter)

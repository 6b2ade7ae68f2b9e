"""The supervisor: starts gateway and workers, watches them, reloads and stops them. It runs no application code.

One loop over one selector: signals, the ends of children (pidfds), the reports of workers, changed files. Nothing in
it waits for anybody. Who is to be started, retired or killed is decided in fleet.py (workers) and gatekeeper.py; here
is what concerns the server as a whole: its start, its signals, its end.

======================  ====================================================================================
SIGTERM, SIGINT         drain: the gateway answers what is open, then the workers end; at most ``grace`` seconds
a further SIGINT        stop now: kill everything
SIGHUP                  read the settings again, open log files anew, replace all workers (also: a file changed);
                        when it comes because the terminal was closed: drain
SIGUSR1                 log the counters and the state of every worker
======================  ====================================================================================

The end, in this order, so that nothing is lost: the gateway drains while workers are replaced as ever; when its last
connection is closed, it ends; only then the workers retire, each running its ``on_stop``.
"""

from __future__ import annotations

import contextlib
import dataclasses
import enum
import logging
import os
import selectors
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from evpy.errors import ExitCode, StartupError, UsageError
from evpy.server import binds, logs, processes, segment, status, watchdog
from evpy.server.gatekeeper import Gatekeeper
from evpy.server.pidfile import PidFile
from evpy.server.reload import Watcher, readable
from evpy.server.settings import Settings
from evpy.server.watchdog import Ask, Freeze, Log, Recover, Replace, Watchdog
from evpy.server.workforce import WorkerProcess, Workforce

__all__ = ["Supervisor", "main", "reread_settings"]

TICK = 0.25  # seconds between looks at the health of workers
BUSY_TICK = 0.02  # ... while somebody starts or leaves: an acknowledged slot rings no bell
MEMORY_TICK = 1.0
GIVE_UP_TIME = 2.0  # seconds for the gateway to say so to those who wait
STOP_TIME = 5.0  # seconds for on_stop, when the grace time has been used up by requests
HANDLED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)

_log = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Runs the server until it is told to stop; returns its exit code. StartupError when it cannot start."""
    with contextlib.ExitStack() as cleanup:
        return Supervisor(settings, cleanup).run()


class _Stage(enum.Enum):
    STARTING = 0
    RUNNING = 1
    DRAINING = 2  # the gateway answers what is open
    LEAVING = 3  # the workers end


class Supervisor:
    """One running server. ``cleanup`` takes back what the constructor has acquired."""

    def __init__(self, settings: Settings, cleanup: contextlib.ExitStack) -> None:
        self.settings = settings
        self._began = time.monotonic()
        self._stage = _Stage.STARTING
        self._deadline = float("inf")  # of the drain
        self._failure: str | None = None
        self._busy: set[int] = set()  # slots of workers that had requests when the grace time was over
        self._overdue = False  # the grace time was over before everything was answered
        self._next_health = self._next_memory = 0.0
        self._terminal = processes.Terminal()
        processes.raise_descriptor_limit()
        if settings.pid is not None:
            cleanup.callback(PidFile(settings.pid).remove)
        self._selector = cleanup.enter_context(selectors.DefaultSelector())
        self._signals = cleanup.enter_context(contextlib.closing(processes.Signals(HANDLED)))
        self._watch(self._signals, self._on_signals)
        mode = None if settings.unix_mode is None else int(settings.unix_mode, 8)
        self._listeners = binds.open_all(settings.binds(), backlog=settings.backlog, unix_mode=mode, inheritable=False)
        cleanup.callback(self._listeners.close_all)
        self._addresses = self._listeners.addresses()
        access_log = segment.open_access_log(settings.access_log)
        if access_log >= 0:
            cleanup.callback(os.close, access_log)
        self._access_log = access_log
        self._segment = cleanup.enter_context(contextlib.closing(segment.create(settings)))
        segment.configure(self._segment, settings, access_log)
        segment.add_listeners(self._segment, self._listeners)
        self._gatekeeper = Gatekeeper(self._segment)
        self._watchdog = Watchdog(settings.watchdog, settings.watchdog_kill)
        self._workforce = Workforce(self._segment, settings, self._watch, self._unwatch, self._reread)
        self._workforce.on_blocked = self._on_blocked
        self._workforce.on_gone = self._watchdog.forget
        self._watcher: Watcher | None = None
        cleanup.callback(self._kill_children)

    def run(self) -> int:
        """The loop."""
        now = self._began
        logs.event(
            _log,
            logging.INFO,
            "starting",
            target=self.settings.target,
            workers=self.settings.workers,
            threads=self.settings.threads,
        )
        self._start_gateway(now)
        self._fleet.tick(now)
        if self.settings.reload:
            self._start_watcher()
        while not self._finished():
            for key, _ in self._selector.select(self._timeout(time.monotonic())):
                key.data()
            self._turn(time.monotonic())
        if self._failure is not None:
            raise StartupError(self._failure)
        seconds = round(time.monotonic() - self._began, 3)
        level = logging.WARNING if self._overdue else logging.INFO
        overdue: dict[str, Any] = {"overdue": True} if self._overdue else {}
        logs.event(_log, level, "stopped", seconds=seconds, **overdue)
        return ExitCode.DONE

    @property
    def _fleet(self) -> Any:
        return self._workforce.fleet

    # --- the loop

    def _watch(self, source: Any, act: Callable[[], None]) -> None:
        self._selector.register(source, selectors.EVENT_READ, act)

    def _unwatch(self, source: Any) -> None:
        self._selector.unregister(source)

    def _timeout(self, now: float) -> float:
        settled = self._stage is _Stage.RUNNING and len(self._fleet.members) == self.settings.workers
        tick = TICK if settled and not self._gatekeeper.gone else BUSY_TICK
        times = (self._fleet.next_deadline(), self._gatekeeper.next_deadline(), self._deadline, now + tick)
        return max(0.001, min(at for at in times if at is not None and at > now) - now)

    def _finished(self) -> bool:
        return self._stage is _Stage.LEAVING and self._gatekeeper.gone and not self._fleet.members

    def _turn(self, now: float) -> None:
        self._fleet.tick(now)
        if self._fleet.failed is not None and self._failure is None and self._stage is _Stage.STARTING:
            self._fail(self._fleet.failed, now)
        if self._stage is _Stage.STARTING and self._fleet.up:
            self._stage = _Stage.RUNNING
            logs.event(
                _log,
                logging.INFO,
                "ready",
                listening=", ".join(self._addresses),
                workers=self.settings.workers,
                seconds=round(now - self._began, 3),
            )
        if self._stage is _Stage.DRAINING:
            if self._gatekeeper.gone:
                self._leave(now)
            elif now >= self._deadline and not self._overdue:
                self._give_up(now)
            elif now >= self._deadline:
                self._gatekeeper.kill()
                self._leave(now)
        if self._stage is not _Stage.LEAVING:
            gone = self._gatekeeper.gone
            self._gatekeeper.tick(now)
            if gone and not self._gatekeeper.gone:
                self._watch_gateway()
        if now >= self._next_health:
            self._next_health = now + TICK
            self._look_after(now)

    # --- the gateway

    def _start_gateway(self, now: float) -> None:
        self._gatekeeper.start(now)
        self._watch_gateway()

    def _watch_gateway(self) -> None:
        child = self._gatekeeper.child
        assert child is not None

        def on_exit() -> None:
            pidfd = child.pidfd
            status = self._gatekeeper.on_exit(time.monotonic())
            if status is None:
                return
            self._selector.unregister(pidfd)
            if self._stage is _Stage.STARTING and status > 0:  # it has said why on stderr
                self._fail(f"the gateway cannot start ({processes.describe_exit(status)})", time.monotonic())

        self._selector.register(child.pidfd, selectors.EVENT_READ, on_exit)

    # --- signals

    def _on_signals(self) -> None:
        now = time.monotonic()
        for signum in self._signals.take():
            name = signal.Signals(signum).name
            if signum == signal.SIGHUP and not self._terminal.lost():
                self._reload(name, now)
            elif signum == signal.SIGUSR1:
                self._log_status()
            elif self._stage in (_Stage.STARTING, _Stage.RUNNING):
                self._drain("lost terminal" if signum == signal.SIGHUP else name, now)
            elif signum == signal.SIGINT:
                self._stop_now()

    def _reload(self, why: str, now: float) -> None:
        logs.reopen()
        self._reopen_access_log()
        self._workforce.send_all(signal.SIGHUP)
        if not self._fleet.reload(now):
            logs.event(_log, logging.INFO, "reload queued", why=why)

    def _reopen_access_log(self) -> None:
        """After a rotation: the same path, which is another file now, behind the same descriptor."""
        if self._access_log < 0 or self.settings.access_log == "-":
            return
        try:
            fresh = segment.open_access_log(self.settings.access_log)
        except StartupError as error:
            logs.event(_log, logging.WARNING, "the access log stays in its old file", reason=str(error))
            return
        os.dup2(fresh, self._access_log, inheritable=False)
        os.close(fresh)
        self._segment.access_log_reopened()

    def _drain(self, why: str, now: float) -> None:
        grace = self.settings.grace
        counters = self._segment.counters()
        logs.event(_log, logging.INFO, "draining", why=why, grace=grace, connections=counters["connections_open"])
        self._stage = _Stage.DRAINING
        self._deadline = now + grace
        self._fleet.stop()
        self._gatekeeper.drain()

    def _stop_now(self) -> None:
        logs.event(_log, logging.WARNING, "stopping now")
        self._stage, self._deadline, self._overdue = _Stage.LEAVING, float("inf"), True
        self._gatekeeper.draining = True
        self._gatekeeper.kill()
        self._fleet.kill_all()

    def _give_up(self, now: float) -> None:
        """The grace time is over, and not everything is answered."""
        self._overdue = True
        self._busy = {slot for slot in self._workforce.processes if self._segment.worker_info(slot)["active"]}
        connections = self._segment.counters()["connections_open"]
        busy = len(self._busy)
        logs.event(_log, logging.WARNING, "the grace time is over", connections=connections, busy_workers=busy)
        self._segment.give_up()
        self._deadline = now + GIVE_UP_TIME

    def _leave(self, now: float) -> None:
        """No connection is open any more: the workers' turn."""
        self._stage = _Stage.LEAVING
        self._fleet.leave(now, now + STOP_TIME if self._overdue else max(self._deadline, now + STOP_TIME), self._busy)
        self._deadline = float("inf")

    def _fail(self, reason: str, now: float) -> None:
        """The first start has failed: whoever is ready finishes what it has, and runs its on_stop."""
        self._failure = reason
        self._fleet.stop()
        self._gatekeeper.drain()
        self._stage = _Stage.DRAINING
        self._deadline = now + min(self.settings.grace, STOP_TIME)
        if not self._fleet.ready:  # nobody will answer what is waiting
            self._gatekeeper.kill()

    def _children(self) -> dict[int, processes.Child]:
        """Our processes, by their numbers."""
        children = [process.child for process in self._workforce.processes.values()]
        children += [child for child in (self._gatekeeper.child, self._watcher and self._watcher.child) if child]
        return {child.pid: child for child in children}

    def _kill_children(self) -> None:
        """Whatever happens: nobody stays behind."""
        if self._watcher is not None:
            self._watcher.close()
            self._watcher = None
        children = self._children().values()
        for child in children:
            child.send(signal.SIGKILL)
        for child in children:
            child.wait()
            child.close()

    # --- settings

    def _reread(self) -> Settings | None:
        """The settings for the next workers, or None with a line in the log."""
        try:
            new, ignored = reread_settings(self.settings)
            if (new.log_file, new.log_format, new.log_level) != (
                self.settings.log_file, self.settings.log_format, self.settings.log_level
            ):  # fmt: skip
                logs.configure(role="supervisor", level=new.log_level, form=new.log_format, path=new.log_file)
        except (UsageError, StartupError) as error:
            logs.event(_log, logging.ERROR, "reload failed, the old workers stay", reason=str(error))
            return None
        if ignored:
            logs.event(_log, logging.WARNING, "some changed settings need a restart", settings=", ".join(ignored))
        return new

    def _apply(self, new: Settings) -> None:
        """A reload is done: what the supervisor and the gateway go by changes with it."""
        self.settings = new
        self._watchdog.limit, self._watchdog.kill = new.watchdog, new.watchdog_kill
        segment.configure(self._segment, new, self._access_log)

    # --- health

    def _look_after(self, now: float) -> None:
        if self._workforce.settings is not self.settings:
            self._apply(self._workforce.settings)
        self._watchdog.begin(now)
        if self._watchdog.trusts(now):
            self._gatekeeper.watch(self.settings.watchdog, self.settings.watchdog_kill)
        for slot, process in list(self._workforce.processes.items()):
            for action in self._watchdog.look(slot, self._segment.worker_info(slot), now):
                self._act(process, action, now)
        self._workforce.grant_wishes(now)
        self._workforce.check_requests(now)
        if now >= self._next_memory:
            self._next_memory = now + MEMORY_TICK
            self._workforce.check_memory(self.settings.max_memory, now)
            processes.reap_strangers(self._children())

    def _act(self, process: WorkerProcess, action: Any, now: float) -> None:
        named = self._workforce.describe(process)
        match action:
            case Ask():
                doing = status.culprit(self._segment, action.slot, action.threads)
                process.asked_while = doing | self._workforce.doing(action.slot)
                self._workforce.ask_stacks(action.slot)
            case Log():
                stacks = process.take_stacks()
                logs.event(
                    _log,
                    logging.ERROR,
                    "a worker is blocked and holds the interpreter lock",
                    **named,
                    threads=", ".join(map(str, action.threads)),
                    seconds=round(action.seconds, 1),
                    **process.asked_while,
                    traceback=stacks or "(none)",
                )
            case Freeze():
                logs.event(
                    _log,
                    logging.ERROR,
                    "a worker does not run",
                    **named,
                    seconds=round(action.seconds, 1),
                    **self._workforce.doing(action.slot),
                )
            case Recover():
                logs.event(_log, logging.INFO, "a worker runs again", **named, seconds=round(action.seconds, 1))
            case Replace():
                self._fleet.replace_hung(action.slot, action.why, now)

    def _on_blocked(self, process: WorkerProcess, message: dict[str, Any]) -> None:
        """A worker has reported a blocked thread, or that it has come round."""
        named = self._workforce.describe(process) | {"thread": message.get("thread")}
        seconds = round(float(message.get("seconds", 0.0)), 1)
        slot = process.member.slot
        if message["event"] == "recovered":
            logs.event(_log, logging.INFO, watchdog.RECOVERED, **named, seconds=seconds)
            return
        self._watchdog.reported(slot, int(message["thread"]), int(message["tick"]))
        spare: dict[str, Any] = {} if message.get("spare") is None else {"stand_in": message["spare"]}
        logs.event(
            _log,
            logging.ERROR,
            watchdog.BLOCKED,
            **named,
            seconds=seconds,
            **status.culprit(self._segment, slot, (int(message["thread"]),), message.get("request")),
            **spare,
            traceback=str(message.get("stack") or "(no Python code)"),
        )

    def _log_status(self) -> None:
        snapshot = status.snapshot(self._segment)
        counters = {"gateway": snapshot["gateway"]["pid"], **snapshot["counters"]}
        logs.event(_log, logging.INFO, "status of the gateway", **counters)
        for worker in snapshot["workers"]:
            logs.event(_log, logging.INFO, "status of a worker", **worker)

    # --- changed files

    def _start_watcher(self) -> None:
        try:
            self._watcher = Watcher(self.settings)
        except OSError as error:
            logs.event(_log, logging.ERROR, "cannot watch files for --reload", reason=error.strerror)
            return
        self._watch(self._watcher, self._on_changed_files)

    def _on_changed_files(self) -> None:
        assert self._watcher is not None
        files = self._watcher.take()
        if files is None:
            self._unwatch(self._watcher)
            self._watcher.close()
            self._watcher = None
            logs.event(_log, logging.ERROR, "watching files for --reload has ended; restart the server to go on")
        elif files and self._stage is _Stage.RUNNING:
            logs.event(_log, logging.INFO, "files have changed", files=readable(files))
            if not self._fleet.reload(time.monotonic()):
                logs.event(_log, logging.INFO, "reload queued", why="changed files")


def reread_settings(now: Settings) -> tuple[Settings, list[str]]:
    """The settings as file, environment and command line give them today, with what cannot change kept as it is, and
    the keys of what has changed nevertheless. UsageError for a mistake in them.
    """
    from evpy.server.cli import _parse
    from evpy.server.sources import load

    _, flags = _parse(sys.argv[1:])
    if now.config is not None:
        flags = {**flags, "config": now.config}
    new = load(flags, os.environ).settings
    kept = {name: getattr(now, name) for name in segment.RUNNING_ONLY}
    ignored = [name.replace("_", "-") for name, value in kept.items() if getattr(new, name) != value]
    return dataclasses.replace(new, **kept), ignored

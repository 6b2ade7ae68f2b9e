"""Inline mode (``--workers 0``): gateway, scheduler and application in one process, on one hub. For development, tests
and embedding.

The same engine that the gateway process runs is driven by the hub here: its epoll descriptor is watched, a timer stands
for its next deadline, and each time one *turn* is made, which never waits. Requests go through the same slabs and rings
as between processes, in anonymous memory.

What one process cannot have: ``--threads``, ``--io-threads``, ``--max-requests``, ``--max-memory`` and
``--watchdog-kill`` do nothing, a handler that blocks the thread blocks the server, and a crash ends it. The watchdog
does log where it is blocked.

``--reload`` and SIGHUP replace the program by a fresh copy of itself (execve(2)), which inherits the listening sockets,
so that connections of the time between wait in their queues. A source file that does not compile keeps the old one; a
target that cannot be loaded after a reload is reported, and the next change is waited for.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from evpy.errors import ExitCode, StartupError, UsageError
from evpy.server import appsettings, binds, logs, processes, segment, status, watchdog
from evpy.server.pidfile import PidFile
from evpy.server.reload import Watcher, readable
from evpy.server.settings import Settings
from evpy.server.supervisor import reread_settings
from evpy.server.worker import stop_application

if TYPE_CHECKING:
    from evpy import _core
    from evpy.http.handlers import LoadedTarget
    from evpy.server.schedulers import Schedulers

__all__ = ["InlineServer", "main"]

INHERITED = "EVPY_LISTENERS"  # "PID:FD,FD": listening sockets of the program that we replace
BURST = 16  # turns before other greenlets are let in
HEARTBEAT = 0.5  # seconds between turns at the latest

_log = logging.getLogger(__name__)


def main(settings: Settings) -> int:
    """Runs the server until it is told to stop; returns its exit code. StartupError when it cannot start."""
    began = time.monotonic()
    if settings.patch:
        from evpy.runtime.patch import patch_all

        patch_all()
    processes.raise_descriptor_limit()
    with contextlib.ExitStack() as cleanup:
        server = InlineServer(settings, cleanup, began)
        again = server.run()
        listeners = server.keep_listeners() if again else []
    if again:
        _replace_program(settings, server.folder, listeners)
    return ExitCode.DONE


class InlineServer:
    """One server in this process. ``cleanup`` takes back what it acquires."""

    def __init__(self, settings: Settings, cleanup: contextlib.ExitStack, began: float) -> None:
        import gevent.event
        from gevent import get_hub

        try:
            self.folder = os.getcwd()
        except FileNotFoundError:
            raise StartupError("the current directory has been removed; start evserver in another one") from None
        self._settings = settings
        self._cleanup = cleanup
        self._began = began
        self._hub = get_hub()
        self._wake = gevent.event.Event()
        self._stopping = ""  # the signal that asked for it
        self._again = ""  # why the program is to be replaced by a fresh copy
        self._terminal = processes.Terminal()
        if settings.pid is not None:
            cleanup.callback(PidFile(settings.pid).remove)
        self._install_signals()
        self._inherited = _take_inherited()
        mode = None if settings.unix_mode is None else int(settings.unix_mode, 8)
        where = [binds.Bind("fd", fd=fd) for fd in self._inherited] or settings.binds()
        self._listeners = binds.open_all(where, backlog=settings.backlog, unix_mode=mode, inheritable=False)
        cleanup.callback(self._listeners.close_all)
        if self._inherited and not any(bind.kind == "fd" for bind in settings.binds()):
            self._listeners.foreign.clear()  # the program before us has opened them
        self._watcher: Watcher | None = None

    def run(self) -> bool:
        """Serves until told to stop; True when the program is to be replaced by a fresh copy of itself."""
        from evpy.http.request import install_context_inheritance

        settings = self._settings
        appsettings.provide(settings.app)
        install_context_inheritance()
        if settings.reload:
            self._start_watcher()
        target = self._load()
        if target is None:
            return bool(self._again)
        access_log = segment.open_access_log(settings.access_log)
        if access_log >= 0:
            self._cleanup.callback(os.close, access_log)
        shared = self._cleanup.enter_context(contextlib.closing(segment.create(settings, shared=False)))
        segment.configure(shared, settings, access_log)
        segment.add_listeners(shared, self._listeners)
        with contextlib.ExitStack() as serving:
            schedulers, drive = self._start(shared, target, serving)
            logs.event(
                _log,
                logging.INFO,
                "ready",
                listening=", ".join(self._listeners.addresses()),
                workers=0,
                seconds=round(time.monotonic() - self._began, 3),
            )
            self._serve(shared, drive)
            stop_application(target)
            schedulers.stop()
        logs.event(_log, logging.INFO, "stopped", seconds=round(time.monotonic() - self._began, 3))
        return bool(self._again)

    def keep_listeners(self) -> list[int]:
        """Takes the listening sockets out of the clean-up. Those of Unix paths are not kept: their paths are ours."""
        if any(address.startswith("unix:") for address in self._listeners.addresses()):
            return []
        kept = [sock.detach() for sock in self._listeners]
        self._listeners.sockets.clear()
        return kept

    # --- start

    def _load(self) -> LoadedTarget | None:
        """The target, started; None when it cannot be and the next change has been waited for."""
        from evpy.http.handlers import load_target

        assert self._settings.target is not None
        try:
            target = load_target(self._settings.target, debug=self._settings.debug)
            target.on_start()
        except StartupError as error:
            import traceback

            cause = error.__cause__
            text: dict[str, Any] = {} if cause is None else {"traceback": "".join(traceback.format_exception(cause))}
            if self._inherited and self._watcher is not None:
                logs.event(_log, logging.ERROR, "reload failed, waiting for a change", reason=str(error), **text)
                self._wake.wait()
                return None
            if text:
                logs.event(_log, logging.ERROR, "the application did not start", **text)
            raise
        return target

    def _start(
        self, shared: _core.Segment, target: LoadedTarget, serving: contextlib.ExitStack
    ) -> tuple[Schedulers, _Drive]:
        from evpy import _core
        from evpy.server.control import Control
        from evpy.server.schedulers import Schedulers

        shared.begin_worker(0)
        _core.cache_greenlet_stacks()
        worker = _core.Worker(shared, 0)
        schedulers = Schedulers(worker, target.app, self._settings, threads=1, spares=0)
        schedulers.start()
        worker.start_heartbeat()
        serving.callback(worker.stop_heartbeat)
        if limit := self._settings.watchdog:
            control = Control(worker, schedulers, limit, _Reporter(shared).report)
            control.start()
            serving.callback(control.stop)
        worker.set_ready()
        engine = serving.enter_context(contextlib.closing(_core.Engine(shared, 0)))
        drive = _Drive(engine, self._hub.loop, self._wake.set)
        serving.callback(drive.close)
        return schedulers, drive

    # --- serving

    def _serve(self, shared: _core.Segment, drive: _Drive) -> None:
        from evpy.server.schedulers import undisturbed

        while not (self._stopping or self._again):
            undisturbed(self._wake.wait)
            self._wake.clear()
        why, grace = self._stopping or self._again, self._settings.grace
        logs.event(_log, logging.INFO, "draining", why=why, grace=grace, connections=drive.engine.open_connections)
        deadline = time.monotonic() + grace
        shared.set_draining(stop=not self._again)
        drive.turn()
        while not drive.engine.drained:
            left = deadline - time.monotonic()
            if left <= 0:
                logs.event(_log, logging.WARNING, "the grace time is over", connections=drive.engine.open_connections)
                shared.give_up()
                drive.turn()
                return
            undisturbed(functools.partial(self._wait_again, left))

    def _wait_again(self, seconds: float) -> bool:
        self._wake.wait(seconds)
        self._wake.clear()
        return True

    # --- signals and changed files

    def _install_signals(self) -> None:
        from evpy.runtime import dump

        bell = self._hub.loop.async_()
        bell.start(self._wake.set)

        def on_stop(signum: int, frame: object) -> None:
            if self._stopping and signum == signal.SIGINT:
                os._exit(ExitCode.DONE)
            self._stopping = self._stopping or signal.Signals(signum).name
            bell.send()

        def on_hangup(signum: int, frame: object) -> None:
            if self._terminal.lost():
                self._stopping = self._stopping or "lost terminal"
            else:
                logs.reopen()
                self._again = self._again or "SIGHUP"
            bell.send()

        for signum, handler in {
            signal.SIGTERM: on_stop,
            signal.SIGINT: on_stop,
            signal.SIGHUP: on_hangup,
        }.items():
            self._cleanup.callback(signal.signal, signum, signal.signal(signum, handler))
        self._cleanup.callback(signal.signal, signal.SIGUSR1, signal.getsignal(signal.SIGUSR1))
        dump.install(signal.SIGUSR1, lambda text: logs.event(_log, logging.INFO, "stacks", traceback=text))
        self._cleanup.callback(bell.close)

    def _start_watcher(self) -> None:
        try:
            watcher = self._watcher = Watcher(self._settings)
        except OSError as error:
            logs.event(_log, logging.ERROR, "cannot watch files for --reload", reason=error.strerror)
            return
        self._cleanup.callback(watcher.close)
        watch = self._hub.loop.io(watcher.fileno(), 1)
        watch.start(self._on_changed_files, watcher, watch)
        self._cleanup.callback(watch.close)

    def _on_changed_files(self, watcher: Watcher, watch: Any) -> None:
        files = watcher.take()
        if files is None:
            watch.stop()
            logs.event(_log, logging.ERROR, "watching files for --reload has ended; restart the server to go on")
        elif files:
            logs.event(_log, logging.INFO, "files have changed", files=readable(files))
            problem = problem_with(files, self._settings)
            if problem is None:
                self._again = "changed files"
                self._wake.set()
            else:
                logs.event(_log, logging.ERROR, "reload failed, the old program stays", reason=problem)


class _Drive:
    """Lets a hub run an engine: a turn whenever its descriptor is readable or its next deadline has come."""

    def __init__(self, engine: _core.Engine, loop: Any, on_drained: Callable[[], None]) -> None:
        self.engine = engine
        self._loop = loop
        self._on_drained = on_drained
        self._due = float("inf")  # when the timer will ring
        self._timer: Any = None
        self._readable = loop.io(engine.fileno(), 1)
        self._readable.start(self.turn)
        self.turn()

    def turn(self) -> None:
        for _ in range(BURST):
            if not self.engine.turn(0.0):
                break
        seconds = self.engine.next_deadline()
        seconds = HEARTBEAT if seconds < 0 else min(seconds, HEARTBEAT)
        due = self._loop.now() + seconds
        if due < self._due:  # a timer that rings early does no harm; a new one for each turn would cost
            self._close_timer()
            self._due = due
            self._timer = self._loop.timer(seconds)
            self._timer.start(self._on_timer, update=True)
        if self.engine.drained:
            self._on_drained()

    def _on_timer(self) -> None:
        self._due = float("inf")
        self.turn()

    def _close_timer(self) -> None:
        if self._timer is not None:
            self._timer.stop()
            self._timer.close()
            self._timer = None

    def close(self) -> None:
        self._readable.stop()
        self._readable.close()
        self._close_timer()


class _Reporter:
    """Logs what the control thread has to say, where there is no supervisor to do it."""

    def __init__(self, shared: _core.Segment) -> None:
        self._segment = shared
        _log.isEnabledFor(logging.ERROR)  # fills logging's cache, so that the control thread takes no patched lock

    def report(self, event: str, **fields: Any) -> None:
        if event == "recovered":
            logs.event(_log, logging.INFO, watchdog.RECOVERED, seconds=round(fields["seconds"], 1))
        elif event == "blocked":
            logs.event(
                _log,
                logging.ERROR,
                watchdog.BLOCKED,
                seconds=round(fields["seconds"], 1),
                **status.culprit(self._segment, 0, (0,), fields.get("request")),
                traceback=fields["stack"] or "(no Python code)",
            )


def problem_with(files: list[str], settings: Settings) -> str | None:
    """Why a fresh copy of the program would not start, as far as can be told before: syntax and settings."""
    for file in files:
        if not file.endswith(".py"):
            continue
        try:
            with open(file, "rb") as source:
                compile(source.read(), file, "exec", dont_inherit=True)
        except SyntaxError as error:
            return f"{file}:{error.lineno or '?'}: {type(error).__name__}: {error.msg}"
        except (OSError, ValueError):  # removed; a NUL in it: Python will tell
            continue
    try:
        reread_settings(settings)
    except UsageError as error:
        return str(error)
    return None


def _take_inherited() -> list[int]:
    """The listening sockets that the program before us has left open for us."""
    pid, _, fds = os.environ.pop(INHERITED, "").partition(":")
    return [int(fd) for fd in fds.split(",")] if pid == str(os.getpid()) and fds else []


def _replace_program(settings: Settings, folder: str, listeners: list[int]) -> None:
    os.chdir(folder)
    for fd in listeners:
        os.set_inheritable(fd, True)
    if listeners:
        os.environ[INHERITED] = f"{os.getpid()}:{','.join(map(str, listeners))}"
    command = [*sys.orig_argv, "--config", settings.config or ""]
    if settings.chdir is not None:  # we are in it already
        command += ["--chdir", folder]
    os.execv(sys.executable, command)

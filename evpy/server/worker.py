"""A worker: a process of application code, started by the supervisor (never forked from it).

    python -P -m evpy.server.worker SEGMENT SLOT REPORTS STACKS SETTINGS SUPERVISOR

Descriptors of the segment, of the socket for reports.py, of a memory file for stacks, and of one with the settings as
JSON; the slot; and the supervisor's process id.

The order matters: die with the supervisor; be able to show stacks; patch the standard library; only then import what
belongs to the application. Scheduler thread 0 is the main thread: what ``on_start`` makes (pools, locks, timers) lives
on the hub that serves, and gevent's child watchers work there. More threads are in schedulers.py; a real OS thread that
watches them is in control.py.

Signals: SIGTERM ends the worker when the supervisor has set its slot DRAINING, and otherwise passes the wish on, so
that a replacement comes first. SIGUSR1 logs the stacks of all threads and greenlets. SIGHUP opens the log file anew.
SIGINT is ignored, for Ctrl-C is the supervisor's affair. SIGUSR2 is left to the application.
"""

from __future__ import annotations

import contextlib
import faulthandler
import functools
import os
import signal
import sys
from typing import TYPE_CHECKING

from evpy.server import appsettings, processes, reports

if TYPE_CHECKING:
    from evpy._core import Worker
    from evpy.http.handlers import LoadedTarget
    from evpy.server.settings import Settings

__all__ = ["HANDLED", "main", "stop_application"]

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)  # blocked until the handlers are there
DRAIN_POLL = 0.01  # seconds
BACKGROUND_GRACE = 5.0  # for background tasks, after the last request


def main(arguments: list[str]) -> int:
    """Runs the worker; returns its exit code: 0 retired, 3 the application cannot be started."""
    segment_fd, slot, reports_fd, stacks_fd, settings_fd, supervisor = map(int, arguments)
    processes.die_with(supervisor)  # a worker without a supervisor serves nobody
    _prepare_stacks(stacks_fd)
    _name_process(f"evpy:worker-{slot + 1}")
    settings = _read_settings(settings_fd)
    os.close(settings_fd)
    if settings.patch:
        from evpy.runtime.patch import patch_all

        patch_all()
    from evpy.server import logs

    logs.configure(
        role=f"worker-{slot + 1}",
        level=settings.log_level,
        form=settings.log_format,
        path=settings.log_file,
        root=True,
    )
    sys.setswitchinterval(settings.switch_interval)
    if settings.reload or settings.debug:
        # A script that is edited twice within a second to the same size would be loaded from its stale bytecode.
        sys.dont_write_bytecode = True
    sys.argv[:] = [settings.target or ""]  # ours are of no use to the application
    appsettings.provide(settings.app)
    process = WorkerProcess(settings, segment_fd, slot, reports_fd)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
    try:
        return process.run()
    finally:
        for signum in HANDLED:  # the interpreter's end would bring the default back: to be killed
            signal.signal(signum, signal.SIG_IGN)


class WorkerProcess:
    """From loading the target to the end."""

    def __init__(self, settings: Settings, segment_fd: int, slot: int, reports_fd: int) -> None:
        import gevent
        import gevent.event

        from evpy import _core

        _core.cache_greenlet_stacks()
        self._settings = settings
        self._reports = reports_fd
        segment = _core.Segment.attach(segment_fd)
        for fd in (*segment.worker_fds(slot), reports_fd):
            os.set_inheritable(fd, False)  # what the application starts must not keep them open
        self._worker: Worker = _core.Worker(segment, slot)
        self._ending = gevent.event.Event()
        self._bell = gevent.get_hub().loop.async_()  # may be rung from a signal handler at any point
        self._bell.start(self._ending.set)
        self._told = False
        self._install_signals()

    def run(self) -> int:
        from evpy.http.request import install_context_inheritance

        install_context_inheritance()
        try:
            target = self._load()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the reason
            return self._fail(error)
        from evpy.server.schedulers import Schedulers

        schedulers = Schedulers(self._worker, target.app, self._settings, threads=self._settings.threads)
        if not self._told:
            schedulers.start()
            self._worker.start_heartbeat()
            if limit := self._settings.watchdog or self._settings.watchdog_kill:
                from evpy.server.control import Control

                Control(self._worker, schedulers, limit, functools.partial(reports.send, self._reports)).start()
            self._worker.set_ready()
            reports.send(self._reports, "ready")
            self._serve()
        stop_application(target)
        schedulers.stop()
        self._worker.stop_heartbeat()
        return 0

    def _load(self) -> LoadedTarget:
        from evpy.http.handlers import load_target

        assert self._settings.target is not None
        target = load_target(self._settings.target, debug=self._settings.debug)
        target.on_start()
        return target

    def _fail(self, error: BaseException) -> int:
        import traceback

        from evpy.errors import ExitCode, StartupError
        from evpy.http.usercode import user_only

        cause = error.__cause__ if isinstance(error, StartupError) else error
        if cause is not None:
            cause = cause.with_traceback(user_only(cause.__traceback__))
        reason = str(error) if isinstance(error, StartupError) else f"{type(error).__name__}: {error}"
        text = "".join(traceback.format_exception(cause)) if cause is not None else ""
        reports.send(self._reports, "failed", reason=reason, traceback=text[-10000:])
        return ExitCode.STARTUP

    # --- serving

    def _serve(self) -> None:
        """The main greenlet waits; the hub it waits in runs scheduler thread 0."""
        from evpy.server.schedulers import nap, undisturbed

        undisturbed(self._ending.wait)
        while not self._drained():
            undisturbed(lambda: nap(DRAIN_POLL))

    def _drained(self) -> bool:
        segment = self._worker.segment
        if not _alive(segment.gateway_pid):
            segment.gateway_gone()  # nobody is left to acknowledge, or to hand anything over
        return self._worker.drained()

    # --- signals

    def _install_signals(self) -> None:
        from evpy.runtime import dump
        from evpy.server import logs

        # Not SIG_IGN, which programs that the application starts would inherit.
        signal.signal(signal.SIGINT, lambda *_: None)
        signal.signal(signal.SIGHUP, lambda *_: logs.reopen())
        signal.signal(signal.SIGTERM, self._on_term)
        dump.install(signal.SIGUSR1, _log_stacks)

    def _on_term(self, signum: int, frame: object) -> None:
        if self._worker.draining():
            self._told = True
            self._bell.send()
        else:
            reports.send(self._reports, "asked")


def stop_application(target: LoadedTarget) -> None:
    """Ends background tasks and runs ``on_stop``; what goes wrong is logged, for the process ends anyway."""
    import logging

    from evpy.runtime import background

    try:
        background.stop_all(BACKGROUND_GRACE)
        target.on_stop()
    except BaseException as error:
        from evpy.http.usercode import user_traceback

        log = logging.getLogger("evpy.server.worker")
        log.error("on_stop() failed", exc_info=(type(error), error, user_traceback(error.__traceback__)))


def _log_stacks(text: str) -> None:
    import logging

    from evpy.server import logs

    logs.event(logging.getLogger("evpy.server.worker"), logging.INFO, "stacks", traceback=text)


def _alive(pid: int) -> bool:
    if pid <= 0:
        return False
    with contextlib.suppress(PermissionError):
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
    return True


def _prepare_stacks(fd: int) -> None:
    faulthandler.enable(fd)  # SIGSEGV and the like: the supervisor finds the stacks of the dead
    faulthandler.register(reports.STACKS_SIGNAL, fd, all_threads=True, chain=False)
    os.set_inheritable(fd, False)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [reports.STACKS_SIGNAL])


def _name_process(name: str) -> None:
    with contextlib.suppress(OSError), open("/proc/self/comm", "w") as file:
        file.write(name)


def _read_settings(fd: int) -> Settings:
    import json

    from evpy.server.settings import Settings

    return Settings.from_dict(json.loads(os.pread(fd, os.fstat(fd).st_size, 0)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

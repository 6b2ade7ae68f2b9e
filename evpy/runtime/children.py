"""Child processes on every hub: their ends are seen through pidfds instead of SIGCHLD.

libev sees the end of a child by SIGCHLD, and that on the loop of the main thread only: ``subprocess.run`` on another
scheduler thread fails with "child watchers are only available on the default loop". It also reaps every child that has
ended, whoever has started it. A pidfd (pidfd_open(2), Linux 5.3) becomes readable when its process ends, on any loop.

These are the child watchers of gevent's loops, with what gevent.os and gevent.subprocess use of them. Invariant, as
with libev: when one watcher of a process has fired, all of them have its status. Before Linux 5.3 everything stays as
gevent has it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any, Self

import gevent
import gevent.os
from gevent import config, monkey
from gevent._hub_local import get_hub_if_exists
from gevent.libev import corecext

__all__ = ["Loop", "see_children_everywhere"]

ANY_POLL = 0.02  # seconds between two looks for a child of whose start nobody here knows
_native_waitpid: Callable[[int, int], tuple[int, int]] = monkey.get_original("os", "waitpid")
_native_close: Callable[[int], None] = monkey.get_original("os", "close")
_watchers: dict[int, list[Child]] = {}  # by process id: those that wait for its end
_anybody: list[AnyChild] = []
# Between the reaping of a child and the telling of all who wait for it nobody else may look: it would find neither the
# child nor how it has ended. Of threads, and held for no switch.
_telling: Any = monkey.get_original("_thread", "allocate_lock")()
os.register_at_fork(after_in_child=_telling._at_fork_reinit)


class _Finished(dict[int, Any]):
    """The watched children of gevent.os, which knows of one thread only: a watcher, or how the child has ended."""

    def __init__(self) -> None:
        self.told: set[int] = set()  # of these ``os.waitpid(-1)`` has told already, or somebody who asked for one

    def __setitem__(self, pid: int, child: Any) -> None:
        if pid in self.told and isinstance(child, tuple):
            self.pop(pid, None)  # not even for the moment that the watcher's callback takes: another thread may look
        else:
            super().__setitem__(pid, child)

    def __delitem__(self, pid: int) -> None:
        self.pop(pid, None)  # another thread may have been quicker

    def items(self) -> Any:
        return tuple(super().items())  # other threads add and remove while gevent goes through them


_finished = _Finished()


class _Watcher:
    """What both kinds have in common; ``_source`` is the loop's own watcher behind it."""

    _source: Any

    def __init__(self, pid: int) -> None:
        self.pid = self.rpid = pid
        self.rstatus = 0  # as waitpid(2) gives it; 0 when somebody else has reaped the child
        # Of the hub that will wait, which need not be the one whose loop was asked.
        self.loop: Any = gevent.get_hub().loop

    def start(self, callback: Callable[..., Any], *args: Any) -> None:
        self._source.start(self._look, callback, args)

    def stop(self) -> None:
        self._source.stop()

    def close(self) -> None:
        self._source.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def active(self) -> bool:
        return bool(self._source.active)

    @property
    def callback(self) -> Callable[..., Any] | None:
        callback: Callable[..., Any] | None = self._source.callback
        return callback

    def _look(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if self._has_ended():
            self._source.stop()
            callback(*args)

    def _has_ended(self) -> bool:
        raise NotImplementedError


class Child(_Watcher):
    """Fires when a child process has ended, and reaps it."""

    def __init__(self, pid: int, *, ref: bool) -> None:
        super().__init__(pid)
        self._reaped = self._told = False
        with _telling:
            try:
                self._fd = os.pidfd_open(pid)
            except ProcessLookupError:
                if not isinstance(_finished.get(pid), tuple):
                    raise
                self._fd, self._reaped = -1, True  # another thread has reaped it a moment ago
                self.rstatus = _finished[pid][1]
                self._source = self.loop.timer(0.0, ref=ref)
                return
            self._source = self.loop.io(self._fd, 1, ref=ref)
            _watchers.setdefault(pid, []).append(self)

    def close(self) -> None:
        super().close()
        if self._fd < 0:
            return
        _native_close(self._fd)
        self._fd = -1
        others = _watchers[self.pid]
        others.remove(self)
        if not others:
            del _watchers[self.pid]

    def _has_ended(self) -> bool:
        return self._reaped or _reap(self.pid)

    def _look(self, callback: Callable[..., Any], args: tuple[Any, ...]) -> None:
        if not self._has_ended():
            return
        self._source.stop()
        # gevent's callback puts it among those that os.waitpid(-1) may yet tell of.
        if not self._told and self.pid in _finished:
            callback(*args)
            return
        _finished.told.add(self.pid)
        try:
            callback(*args)
        finally:
            _finished.told.discard(self.pid)


class AnyChild(_Watcher):
    """Fires when any child has ended: ``os.wait()``."""

    def __init__(self, *, ref: bool) -> None:
        super().__init__(0)
        self._source = self.loop.timer(0.0, ANY_POLL, ref=ref)
        _anybody.append(self)

    def close(self) -> None:
        super().close()
        if self in _anybody:
            _anybody.remove(self)

    def _has_ended(self) -> bool:
        if not self.rpid:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return True  # os.waitpid() then says so
            if found is not None:
                _reap(found.si_pid)
        return self.rpid != 0


def _reap(pid: int) -> bool:
    """True when it has ended; everybody who waits for it then knows how."""
    with _telling:
        return _reap_and_tell(pid)


def _reap_and_tell(pid: int) -> bool:
    try:
        ended, status = _native_waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return True  # reaped by somebody else: nobody can tell how it ended
    if not ended:
        return False
    first = _anybody.pop(0) if _anybody else None
    if first is not None:
        first.rpid, first.rstatus = pid, status
    elif pid in _finished:
        _finished[pid] = (pid, status, time.time())  # as the watcher of gevent.os will, in its own time
    for child in _watchers.get(pid, ()):
        child.rstatus = status
        child._reaped = True
        child._told = first is not None
    return True


def wait() -> tuple[int, int]:
    """``os.wait()``. gevent leaves it as it is: it would stop the thread, and rob watched children's status."""
    pid, status = gevent.os.waitpid(-1, 0)
    return (pid, status) if pid else _native_waitpid(-1, os.WNOHANG)  # ChildProcessError: there are no children


class Loop(corecext.loop):
    """libev's loop, but for children."""

    def child(self, pid: int, trace: int = 0, ref: bool = True) -> Any:
        return Child(pid, ref=ref) if pid else AnyChild(ref=ref)

    def install_sigchld(self) -> None:
        pass

    def reset_sigchld(self) -> None:
        pass


def see_children_everywhere() -> None:
    """To be called before there is a hub."""
    try:
        _native_close(os.pidfd_open(os.getpid()))
    except OSError:
        return
    if get_hub_if_exists() is None:
        settings: Any = config
        settings.loop = Loop
        vars(gevent.os)["_watched_children"] = _finished
        os.wait = wait

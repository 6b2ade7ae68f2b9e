"""multiprocessing in a patched process: its pipes and semaphores switch greenlets instead of stopping the thread.

The standard library reads and writes the pipes of ``Pool``, ``Queue``, ``Pipe`` and ``Manager`` with os.read and
os.write, and takes its semaphores with sem_wait(3). In a patched process that stops all greenlets, among them those
that were to write what is waited for (``Pool`` waited for ever); and the socket pair behind ``Pipe()`` is a patched
one, so not blocking: reading from it failed with BlockingIOError. Here, whoever would block waits on his hub.

The modules are changed when somebody imports them (PEP 302's loaders), because most programs do not.
"""

from __future__ import annotations

import importlib.abc
import os
import sys
import time
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import gevent
from gevent.socket import wait_read, wait_write

__all__ = ["change_when_imported"]

ATOMIC = 4096  # PIPE_BUF: so much a blocking pipe takes at once when it can be written to (pipe(7))
LONGEST_NAP = 0.01  # seconds between two looks at a semaphore; nothing tells when another process gives it up


def _read(fd: int, size: int) -> bytes:
    while True:
        wait_read(fd)
        try:
            return os.read(fd, size)
        except BlockingIOError:  # somebody else was faster
            continue


def _write(fd: int, data: Any) -> int:
    while True:
        wait_write(fd)
        try:
            return os.write(fd, data[:ATOMIC])
        except BlockingIOError:
            continue


def _change_connection(module: ModuleType) -> None:
    names = vars(module)
    make_pipe = names["Pipe"]

    def make_blocking_pipe(duplex: bool = True) -> Any:
        ends = make_pipe(duplex)
        for end in ends:  # the other end may go to a process that is not patched
            os.set_blocking(end.fileno(), True)
        return ends

    names["Pipe"] = make_blocking_pipe
    connection: Any = names["Connection"]
    receive, send = connection._recv, connection._send
    connection._recv = lambda self, size, read=_read: receive(self, size, read)
    connection._send = lambda self, data, write=_write: send(self, memoryview(data), write)


def _change_semaphores(module: ModuleType) -> None:
    semlock: Any = vars(module)["SemLock"]
    make_methods = semlock._make_methods

    def make_methods_that_switch(self: Any) -> None:
        make_methods(self)
        self.acquire = _acquiring(self._semlock.acquire)

    semlock._make_methods = make_methods_that_switch
    semlock.__enter__ = lambda self: self.acquire()


def _acquiring(acquire: Callable[..., bool]) -> Callable[..., bool]:
    def acquire_or_switch(block: bool = True, timeout: float | None = None) -> bool:
        until = None if timeout is None else time.monotonic() + timeout
        nap = 0.0
        while not acquire(False):
            left = LONGEST_NAP if until is None else until - time.monotonic()
            if not block or left <= 0:
                return False
            gevent.sleep(min(nap, left))
            nap = min(LONGEST_NAP, nap * 2 or 0.0005)
        return True

    return acquire_or_switch


CHANGES: dict[str, Callable[[ModuleType], None]] = {
    "multiprocessing.connection": _change_connection,
    "multiprocessing.synchronize": _change_semaphores,
}


class _Loader(importlib.abc.Loader):
    """The module's own loader, and the change after it."""

    def __init__(self, loader: Any) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self._loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        CHANGES[module.__name__](module)

    def __getattr__(self, name: str) -> Any:  # get_source and the like, for tracebacks
        return getattr(self._loader, name)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in CHANGES:
            return None
        for finder in sys.meta_path:
            if finder is not self and (spec := finder.find_spec(fullname, path, target)) is not None:
                if spec.loader is not None:
                    spec.loader = _Loader(spec.loader)
                return spec
        return None


def change_when_imported() -> None:
    """To be called once, when the standard library has been patched."""
    for name, change in CHANGES.items():
        if name in sys.modules:
            change(sys.modules[name])
    sys.meta_path.insert(0, _Finder())

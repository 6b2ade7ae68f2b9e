"""Loading handler scripts: Python files that become modules without being installed or importable by name.

A script is loaded once per process and registered in ``sys.modules`` under the name that an import from its directory
would give it, so that ``import`` of the same file elsewhere finds the same module, and pickling and ``inspect`` work.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

from evpy.http.signature import is_async
from evpy.http.usercode import describe_callable, relative

log = logging.getLogger("evpy.handler")


def load_script(path: str, name: str, *, again: bool = False) -> ModuleType:
    """Runs the file ``path`` as module ``name``; with ``again`` also when it is loaded already.

    Raises NameTaken, OSError when the file cannot be read, SyntaxError, and whatever the script raises.
    """
    known = sys.modules.get(name)
    if known is not None and _same_file(known, path):
        if not again:
            return known
    elif name in sys.stdlib_module_names or known is not None:
        raise NameTaken(path, name)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None, path  # the name ends in .py
    assert spec.loader is not None, path
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        if known is None:
            del sys.modules[name]
        else:
            sys.modules[name] = known
        raise
    return sys.modules.get(name, module)  # as import does: a module may replace itself


def _same_file(module: ModuleType, path: str) -> bool:
    file = getattr(module, "__file__", None)
    return file is not None and os.path.abspath(file) == path


class NameTaken(Exception):
    """A script cannot have this name, because a module of the same name exists already."""

    def __init__(self, path: str, name: str) -> None:
        whose = "of the standard library" if name in sys.stdlib_module_names else "that is loaded already"
        super().__init__(f"{relative(path)}: {name!r} is the name of a module {whose}; rename the script")


class Scripts:
    """The scripts below one directory, each loaded when first asked for, with ``debug`` again when it has changed."""

    def __init__(self, directory: str, *, debug: bool = False) -> None:
        self.directory = directory
        self.debug = debug
        self._modules: dict[str, tuple[ModuleType, int]] = {}  # by path: module, mtime in ns when it was loaded
        self._lock = threading.RLock()  # one at a time; a script may ask for another one while it loads

    def get(self, path: str) -> ModuleType:
        """The module of a script, ``path`` relative to the directory, its ``on_start`` done. Raises as load_script."""
        entry = self._modules.get(path)
        if entry is not None and (not self.debug or entry[1] == self._mtime(path)):
            return entry[0]
        with self._lock:
            mtime = self._mtime(path)
            entry = self._modules.get(path)
            if entry is not None and (not self.debug or entry[1] == mtime):
                return entry[0]
            name = path.removesuffix(".py").replace("/", ".")
            module = load_script(os.path.join(self.directory, path), name, again=entry is not None)
            call_hook(module, "on_start")
            self._modules[path] = (module, mtime)
            return module

    def _mtime(self, path: str) -> int:
        return os.stat(os.path.join(self.directory, path)).st_mtime_ns

    def stop(self) -> None:
        """Runs the ``on_stop`` of every loaded script, the last loaded first; failures are logged."""
        for module, _ in reversed(self._modules.values()):
            try:
                call_hook(module, "on_stop")
            except Exception:
                log.exception("%s: on_stop() failed", relative(module.__file__ or module.__name__))


def call_hook(module: ModuleType, name: str) -> None:
    """Calls ``on_start`` or ``on_stop``, if the script has it."""
    hook: Callable[[], Any] | None = getattr(module, name, None)
    if hook is not None:
        if is_async(hook):
            where = describe_callable(hook)
            raise TypeError(f"{where} is async: write def instead, blocking calls switch by themselves")
        hook()

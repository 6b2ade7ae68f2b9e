"""From what was given to evserver on the command line to the function that answers requests.

A target is a handler script (``hello/main.py``, ``main.py:name``), a mapping script, a directory of scripts, or
``module:name``. ``load_target`` runs once per worker, after monkey-patching and before the worker reports that it is
ready. What is wrong with a script is one StartupError line with file, line, what, and the way out; when the script
itself raised, that exception is the error's ``__cause__``, its traceback reduced to the frames of the application, for
the log.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from evpy.errors import StartupError
from evpy.http.scripts import NameTaken, Scripts, call_hook, load_script
from evpy.http.signature import foreign_interface, is_async, signature_problem
from evpy.http.sites import Directory, Mapping
from evpy.http.usercode import describe_callable, relative, user_only

App = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class LoadedTarget:
    """What serves: ``app`` takes a request and returns a result.

    ``on_start`` and ``on_stop`` run the application's hooks, if it has any; ``on_start`` raises StartupError when one
    fails. ``directory`` is where the application's sources are.
    """

    app: App
    on_start: Callable[[], None]
    on_stop: Callable[[], None]
    directory: str

    def source_files(self) -> list[str]:
        """The files of the modules that were loaded from below the directory, installed packages excepted."""
        base = self.directory.rstrip("/") + "/"
        files = {getattr(module, "__file__", None) or "" for module in list(sys.modules.values())}
        return sorted(file for file in files if file.startswith(base) and "/site-packages/" not in file)


def load_target(target: str, *, debug: bool = False) -> LoadedTarget:
    """Loads a target; StartupError when it cannot be served. ``debug``: scripts of a directory load again on change."""
    path, is_script, name = _split(target)
    if is_script:
        return _load_file(path, name, debug=debug)
    if os.path.isdir(target):
        return _load_directory(target, debug=debug)
    module, colon, name = target.partition(":")
    if colon and module and name and "/" not in module:
        return _load_module(module, name)
    if os.path.isfile(target):
        raise StartupError(f"{target}: the name of a handler script ends in .py")
    hint = f"; did you mean {target}.py?" if os.path.isfile(f"{target}.py") else ""
    raise StartupError(f"{target}: no such script or directory{hint or '; for a module write module:name'}")


def _split(target: str) -> tuple[str, bool, str]:
    """``dir/main.py:name`` -> ("dir/main.py", True, "name")."""
    path, colon, name = target.rpartition(":")
    if colon and path.endswith(".py"):
        return path, True, name
    return target, target.endswith(".py") and not os.path.isdir(target), ""


def _load_file(path: str, name: str, *, debug: bool) -> LoadedTarget:
    shown = path
    path = os.path.abspath(path)
    if not os.path.isfile(path):
        raise StartupError(f"{shown}: no such file (the current directory is {os.getcwd()})")
    directory, file = os.path.split(path)
    _put_first(directory)
    with _startup_errors(f"loading {shown}"):
        module = load_script(path, file.removesuffix(".py"))
    if name:
        return _target(_checked(_attribute(module, name, shown), f"{shown}:{name}"), module, directory)
    handle, map_request = getattr(module, "handle", None), getattr(module, "map_request", None)
    if handle is not None and map_request is not None:
        raise StartupError(f"{shown}: both handle() and map_request() are defined; keep one of them")
    if map_request is not None:
        scripts = Scripts(directory, debug=debug)
        app = Mapping(scripts, _checked(map_request, shown), describe_callable(map_request))
        return _target(app, module, directory, scripts)
    if handle is None:
        other = next((n for n in ("application", "app", "router") if callable(getattr(module, n, None))), "name")
        raise StartupError(f"{shown}: no function handle(request); define it, or serve another one as {shown}:{other}")
    return _target(_checked(handle, shown), module, directory)


def _load_directory(shown: str, *, debug: bool) -> LoadedTarget:
    directory = os.path.abspath(shown)
    try:
        entries = sorted(os.listdir(directory))
    except OSError as error:
        raise StartupError(f"{shown}: {error.strerror}") from None
    for entry in entries:  # they come first on sys.path
        if entry.endswith(".py") and entry.removesuffix(".py") in sys.stdlib_module_names:
            raise StartupError(str(NameTaken(os.path.join(directory, entry), entry.removesuffix(".py"))))
    if not any(file.endswith(".py") for _, _, files in os.walk(directory) for file in files):
        raise StartupError(
            f"{shown}: there is no handler script in this directory; give it an index.py with handle(request)"
        )
    _put_first(directory)
    scripts = Scripts(directory, debug=debug)

    def on_start() -> None:
        if "index.py" in entries:  # the others wait until they are asked for
            with _startup_errors(f"loading {shown}/index.py"):
                scripts.get("index.py")

    return LoadedTarget(Directory(scripts), on_start, scripts.stop, directory)


def _load_module(module_name: str, name: str) -> LoadedTarget:
    directory = os.getcwd()
    _put_first(directory)
    with _startup_errors(f"importing {module_name}"):
        try:
            module = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            missing = error.name or ""
            if missing != module_name and not module_name.startswith(f"{missing}."):
                raise
            raise StartupError(
                f"{module_name}:{name}: there is no module {missing!r} in {directory} or among the installed packages"
            ) from None
    file = getattr(module, "__file__", None)
    app = _checked(_attribute(module, name, module_name), f"{module_name}:{name}")
    return _target(app, module, os.path.dirname(os.path.abspath(file)) if file else directory)


def _target(app: App, module: ModuleType, directory: str, scripts: Scripts | None = None) -> LoadedTarget:
    for hook in ("on_start", "on_stop"):
        value = getattr(module, hook, None)
        if value is not None and not callable(value):
            raise StartupError(f"{_file(module)}: {hook} is {type(value).__name__}, it must be a function")
        if is_async(value):
            where = describe_callable(value)
            raise StartupError(f"{where} is async: write def instead, blocking calls switch by themselves")

    def on_start() -> None:
        with _startup_errors(f"in on_start() of {_file(module)}"):
            call_hook(module, "on_start")

    def on_stop() -> None:
        if scripts is not None:
            scripts.stop()
        call_hook(module, "on_stop")

    return LoadedTarget(app, on_start, on_stop, directory)


def _attribute(module: ModuleType, name: str, shown: str) -> Any:
    value: Any = module
    for part in name.split("."):
        try:
            value = getattr(value, part)
        except AttributeError:
            raise StartupError(f"{shown}: there is no {name!r} in it") from None
    return value


def _checked(app: Any, shown: str) -> App:
    problem = signature_problem(app)
    if problem is None:
        return app  # type: ignore[no-any-return]
    interface = foreign_interface(app) if callable(app) else None
    if interface:
        raise StartupError(
            f"{shown} takes the arguments of {interface}; evserver serves functions handle(request) only"
        )
    raise StartupError(f"{shown}: {problem}")


@contextmanager
def _startup_errors(doing: str) -> Iterator[None]:
    """Turns what application code raises into one StartupError line."""
    try:
        yield
    except (StartupError, KeyboardInterrupt):
        raise
    except NameTaken as error:
        raise StartupError(str(error)) from None
    except SyntaxError as error:
        line = f": {error.text.strip()}" if error.text else ""
        raise StartupError(f"{_source_place(error, doing)}{type(error).__name__}: {error.msg}{line}") from None
    except BaseException as error:  # noqa: BLE001 - SystemExit too
        own = user_only(error.__traceback__)
        raise StartupError(f"{_place(own)}{_one_line(error)} ({doing})") from error.with_traceback(own)


def _source_place(error: SyntaxError, doing: str) -> str:
    """Where a script cannot be read; Python does not always say (a NUL byte)."""
    return f"{relative(error.filename)}:{error.lineno or '?'}: " if error.filename else f"{doing}: "


def _place(traceback: Any) -> str:
    """Where the application raised: its innermost frame that is not in an installed package."""
    place = ""
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not place or ("/site-packages/" not in file and not file.startswith(os.path.dirname(os.__file__))):
            place = f"{relative(file)}:{traceback.tb_lineno}: "
        traceback = traceback.tb_next
    return place


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, SystemExit):
        return f"the script called sys.exit({text})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _file(module: ModuleType) -> str:
    return relative(getattr(module, "__file__", None) or module.__name__)


def _put_first(directory: str) -> None:
    """Makes imports look in the application's directory first, as Python does for a script."""
    if directory in sys.path:
        sys.path.remove(directory)
    sys.path.insert(0, directory)

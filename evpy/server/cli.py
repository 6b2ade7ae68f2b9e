"""The command ``evserver``: arguments to settings, settings to a running server, errors to one line and an exit code.

The arguments, the help text and the output of ``--print-config`` are all made from ``settings.options()``. argparse
only finds out which flag has which text; what the text means is decided in one place for all layers (sources.py,
values.py). The help is laid out here, one aligned block for every Python version.

``--help``, ``--version`` and ``--print-config`` load neither gevent nor the native core, and ``--help`` has to stay
within two screens: at most 100 lines of 100 columns.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import io
import json
import os
import sys
import textwrap
import traceback
from collections.abc import Sequence
from typing import NoReturn

import evpy
from evpy.errors import CrashError, ExitCode, ExitError, UsageError
from evpy.server.settings import GROUPS, Option, Settings, options
from evpy.server.sources import Loaded, load, suggestion
from evpy.server.toml_text import dump_table
from evpy.server.values import Switch

__all__ = ["main"]

WIDTH = 100
HELP_COLUMN = 34

USAGE = "usage: evserver [OPTIONS] TARGET"
ABOUT = "Serves Python over HTTP: plain, blocking-looking code that runs event-driven, on every core."
NOTE = "Options are also keys of evserver.toml (max-body) and variables (EVSERVER_MAX_BODY); flags win."
ACTIONS = (
    ("-h, --help", "this text"),
    ("    --version", "the versions of evserver and of what it runs on"),
    ("    --print-config", "the settings as they apply and where each comes from; --print-config=json"),
    ("    --check", "load the settings and the target, report, and exit"),
)
EXAMPLES = (
    ("evserver hello/main.py", "a handler script, on 127.0.0.1:8000"),
    ("evserver -w 0 --reload --debug main.py", "while developing"),
    ("evserver -b :80 -b '[::1]:8080' main.py", "every interface, and a second address"),
    ("evserver -b unix:/run/app.sock --unix-mode 660 main.py", "behind a proxy"),
    ("evserver -w 8 --timeout 5 --max-body 1G --access-log - api/", "a directory of scripts"),
    ("EVSERVER_WORKERS=4 evserver -c prod.toml", "a file, one setting overridden"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs evserver with these arguments (default: those of the process) and returns its exit code (``ExitCode``)."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except ExitError as error:
        _say(f"evserver: error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _run(argv: Sequence[str]) -> int:
    action, flags = _parse(argv)
    if action == "help":
        return _print(help_text())
    if action == "version":
        return _print(_version())
    loaded = load(flags, os.environ)
    if action == "print-config":
        return _print(config_toml(loaded))
    if action == "print-config=json":
        return _print(config_json(loaded))
    settings = loaded.settings
    if settings.target is None:
        raise UsageError("no target; name what to serve, as in 'evserver main.py' (evserver --help shows more)")
    if settings.chdir is not None:
        _enter(settings.chdir)
    if action == "check":
        return _check(settings, settings.target)
    return _serve(settings)


def _serve(settings: Settings) -> int:
    import logging

    from evpy.server import logs

    inline = settings.workers == 0
    logs.configure(
        role="inline" if inline else "supervisor",
        level=settings.log_level,
        form=settings.log_format,
        path=settings.log_file,
    )
    log = logging.getLogger(__name__)
    try:
        server = importlib.import_module("evpy.server.inline" if inline else "evpy.server.supervisor")
        return int(server.main(settings))
    except ExitError as error:
        if settings.log_file is not None:  # else the line on stderr would be there twice
            logs.event(log, logging.ERROR, str(error))
        raise
    except Exception as error:  # noqa: BLE001  # a bug of ours, whatever it is
        logs.event(log, logging.CRITICAL, "internal error", exc_info=error)
        raise CrashError(
            f"internal error ({type(error).__name__}); the log has the traceback, please report it"
        ) from None


def _check(settings: Settings, target: str) -> int:
    """Loads the target as a worker would, but for its ``on_start``, and says that all is well."""
    if settings.patch:
        from evpy.runtime.patch import patch_all

        patch_all()
    from evpy.http.handlers import load_target

    try:
        load_target(target, debug=settings.debug)
    except ExitError as error:
        if error.__cause__ is not None:  # what the application's code has raised
            _say(*"".join(traceback.format_exception(error.__cause__)).splitlines())
        raise
    return _print(f"evserver: the settings are fine, and {target} can be loaded (its on_start was not run)")


def _enter(directory: str) -> None:
    try:
        os.chdir(directory)
    except OSError as error:
        raise UsageError(f"--chdir: cannot enter {directory!r}: {error.strerror}") from None


# --- arguments


class _Layout(argparse.HelpFormatter):
    """argparse makes one to check every argument; told the width, it need not load shutil to ask the terminal."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=WIDTH)


class _Parser(argparse.ArgumentParser):
    """argparse with our kind of error."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        if message.startswith("--print-config: ignored explicit argument"):
            message = "--print-config: the one form besides the usual is --print-config=json"
        message = message.replace("ignored explicit argument", "takes no value, but there is")
        raise UsageError(f"{message} (evserver --help shows the options)")


def _parser() -> _Parser:
    parser = _Parser(
        prog="evserver",
        add_help=False,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
        formatter_class=_Layout,
    )
    for option in options():
        names = [name for name in (option.short, option.flag) if name] or [option.name]
        if isinstance(option.kind, Switch):
            parser.add_argument(*names, action=argparse.BooleanOptionalAction)
        elif not option.flag:
            parser.add_argument(*names, nargs="?")
        else:
            parser.add_argument(*names, action="append" if option.kind.repeatable else "store")
    only_one = parser.add_mutually_exclusive_group()
    for name in ("version", "print-config", "print-config=json", "check"):
        only_one.add_argument(f"--{name}", action="store_const", const=name, dest=":action")
    parser.add_argument("-h", "--help", action="store_const", const="help", dest=":help")
    return parser


def _parse(argv: Sequence[str]) -> tuple[str, dict[str, object]]:
    """The action asked for (``""``: serve) and the settings given, by field name and unread."""
    parser = _parser()
    found, rest = parser.parse_known_args(argv)
    flags: dict[str, object] = vars(found)
    action = str(flags.pop(":action", ""))
    if flags.pop(":help", ""):
        return "help", {}
    if rest:
        unknown = next((arg for arg in rest if arg.startswith("-") and arg not in ("-", "--")), None)
        if unknown is None:
            raise UsageError(
                f"one target at a time, and {rest[0]!r} is a second one; serve a directory or a Router instead"
            )
        name = unknown.partition("=")[0]
        known = [option.flag for option in options() if option.flag] + [
            "--help",
            "--version",
            "--print-config",
            "--check",
        ]
        raise UsageError(f"unknown option {name}" + suggestion(name, known, "evserver --help shows the options", "--"))
    return action, flags


# --- output


def help_text() -> str:
    """The text of ``evserver --help``."""
    lines = [USAGE, "", *textwrap.wrap(ABOUT, WIDTH), *textwrap.wrap(NOTE, WIDTH)]
    for group, title in GROUPS.items():
        lines += ["", f"{title}:"]
        for option in options():
            if option.group == group:
                lines += _help_lines(_invocation(option), _explanation(option))
    lines += ["", "Instead of serving:"]
    for name, text in ACTIONS:
        lines += _help_lines(name, text)
    lines += ["", "Examples:"]
    column = max(len(command) for command, _ in EXAMPLES)
    lines += [f"  {command:<{column}}  {text}".rstrip() for command, text in EXAMPLES]
    return "\n".join(lines)


def _invocation(option: Option) -> str:
    if not option.flag:
        return option.kind.metavar
    flag = option.flag
    if isinstance(option.kind, Switch) and option.default:
        flag = f"--no-{option.key}"
    short = f"{option.short}, " if option.short else "    "
    return f"{short}{flag} {option.kind.metavar}".rstrip()


def _explanation(option: Option) -> str:
    if isinstance(option.kind, Switch):
        return f"do not {option.help}" if option.default else option.help
    return f"{option.help} [{option.default_text}]" if option.default_text else option.help


def _help_lines(name: str, text: str) -> list[str]:
    left = f"  {name}"
    rest = textwrap.wrap(text, WIDTH - HELP_COLUMN, break_long_words=False, break_on_hyphens=False)
    if len(left) > HELP_COLUMN - 2:
        return [left, *(" " * HELP_COLUMN + line for line in rest)]
    return [f"{left:<{HELP_COLUMN}}{rest[0]}", *(" " * HELP_COLUMN + line for line in rest[1:])]


def config_toml(loaded: Loaded) -> str:
    """The settings as an evserver.toml that would give the same ones, each with its source as a comment."""
    lines = ["# The settings that apply, and where each comes from."]
    if loaded.settings.config:
        lines.append(f"# Read from {json.dumps(loaded.settings.config)} ({loaded.origins['config']}).")
    entries = [(o, f"{o.key} = {o.kind.toml(getattr(loaded.settings, o.name))}") for o in options() if o.in_file]
    column = min(48, max(len(text) for _, text in entries))
    for option, text in entries:
        origin = loaded.origins[option.name]
        if origin == "default" and option.default_note:
            origin += f" ({option.default_note})"
        lines.append(f"{text:<{column}}  # {origin}")
    if loaded.settings.app:
        lines += ["", "[app]", dump_table(loaded.settings.app).rstrip("\n")]
    return "\n".join(lines)


def config_json(loaded: Loaded) -> str:
    """The same as JSON: ``{"settings": {key: {"value", "source"}}, "app": {...}}``; dates under "app" become text."""
    plain = loaded.settings.to_dict()
    values = {o.key: {"value": plain[o.name], "source": loaded.origins[o.name]} for o in options()}
    return json.dumps({"settings": values, "app": loaded.settings.app}, indent=2, default=str)


def _version() -> str:
    import platform
    from importlib import metadata

    def version_of(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return "(not installed)"

    parts = ", ".join(f"{name} {version_of(name)}" for name in ("gevent", "greenlet"))
    return f"evserver {evpy.__version__} ({platform.python_implementation()} {platform.python_version()}, {parts})"


def _print(text: str) -> int:
    """Writes to stdout; a reader that has had enough (``| head``) is no error."""
    if sys.stdout is None:  # started with it closed
        return ExitCode.DONE
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")  # arguments need not be text
        sys.stdout.write(text + "\n")
        sys.stdout.flush()
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or the interpreter tries again at exit, and complains
        if not isinstance(error, BrokenPipeError):
            raise CrashError(f"cannot write to stdout: {error.strerror}") from None
    return ExitCode.DONE


def _say(*lines: str) -> None:
    """Writes to stderr, each line escaped so that it is one."""
    from evpy.server.log_formats import escape

    with contextlib.suppress(OSError, AttributeError):  # stderr is closed, and nobody can be told
        sys.stderr.write("".join(f"{escape(line)}\n" for line in lines))

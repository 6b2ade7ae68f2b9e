"""Where settings come from: defaults < evserver.toml < EVSERVER_* < flags; the later one wins.

Every layer is checked in full, also what a later one overrides: a wrong value that waits in a file for the day on
which somebody drops a flag helps nobody. Names that are not known are errors with a suggestion. Two exceptions for
variables: those that Kubernetes makes up for a service called "evserver" (``EVSERVER_PORT=tcp://10.0.0.1:8000``) are
not meant for us, and ``LISTEN_FDS`` of systemd stands between the defaults and the file, for ``bind`` alone.

The file is evserver.toml in the current directory, or what ``-c`` or ``EVSERVER_CONFIG`` names; it is looked up
before ``chdir`` takes effect. Its ``[app]`` table belongs to the application and is passed on untouched.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evpy.errors import UsageError
from evpy.server.binds import inherited_binds
from evpy.server.settings import Option, Settings, options

__all__ = ["DEFAULT_FILE", "Loaded", "load", "suggestion"]

DEFAULT_FILE = "evserver.toml"
PREFIX = "EVSERVER_"
KUBERNETES = re.compile(r"EVSERVER_(SERVICE_(HOST|PORT)|PORT)(_[A-Z0-9_]+)?\Z")


@dataclass(frozen=True)
class Loaded:
    """Settings, and for each of them (by field name) where its value came from."""

    settings: Settings
    origins: dict[str, str]


@dataclass(frozen=True)
class _Entry:
    """One value as written, with the place to name in an error and in --print-config."""

    option: Option
    raw: object
    place: str


def load(flags: Mapping[str, object], environ: Mapping[str, str]) -> Loaded:
    """Merges the layers. ``flags`` holds what the command line gave, by field name, as text, bool or list of text.

    UsageError names the place, what is wrong with it and what is expected there.
    """
    from_environ = list(_environ_entries(environ))
    from_flags = [
        _Entry(option, flags[option.name], option.flag or option.kind.metavar)
        for option in options()
        if option.name in flags
    ]
    config = _config_path([*from_environ, *from_flags])
    from_file, app = _read_file(config) if config else ([], {})

    values: dict[str, object] = {}
    origins = {option.name: "default" for option in options()}
    inherited = inherited_binds(environ)
    if inherited:
        values["bind"], origins["bind"] = inherited, "LISTEN_FDS"
    for entry in [*from_file, *from_environ, *from_flags]:
        values[entry.option.name] = _parse(entry)
        origins[entry.option.name] = entry.place
    values["config"] = config and os.path.abspath(config)
    if config and origins["config"] == "default":
        origins["config"] = "current directory"
    return Loaded(Settings(**values, app=app), origins)  # type: ignore[arg-type]


def suggestion(word: str, known: Iterable[str], otherwise: str, prefix: str = "") -> str:
    """``; did you mean 'x'?`` when something known looks like the word, else ``; `` and the other way out.

    The ``prefix``, which all of them have, makes no two of them alike.
    """
    import difflib

    bare = [name.removeprefix(prefix) for name in known]
    close = difflib.get_close_matches(word.removeprefix(prefix), bare, n=1, cutoff=0.6)
    return f"; did you mean '{prefix}{close[0]}'?" if close else f"; {otherwise}"


def _parse(entry: _Entry) -> object:
    try:
        return entry.option.kind.parse(entry.raw)
    except ValueError as error:
        raise UsageError(f"{entry.place}: {error}") from None


def _config_path(entries: list[_Entry]) -> str | None:
    named = [_parse(entry) for entry in entries if entry.option.name == "config"]
    if named:
        return str(named[-1]) if named[-1] else None
    return DEFAULT_FILE if os.path.exists(DEFAULT_FILE) else None


def _environ_entries(environ: Mapping[str, str]) -> Iterable[_Entry]:
    known = {option.env: option for option in options()}
    for name in sorted(environ):
        if name in known:
            yield _Entry(known[name], environ[name], name)
        elif name.startswith(PREFIX) and not KUBERNETES.match(name):
            hint = suggestion(name, known, "evserver --help lists the settings", PREFIX)
            raise UsageError(f"unknown variable {name}{hint}")


def _read_file(path: str) -> tuple[list[_Entry], dict[str, Any]]:
    """The entries of the file and its [app] table."""
    import tomllib  # here, because --help and servers without a file need not pay for it

    try:
        with open(path, "rb") as file:
            text = file.read().decode("utf-8")
        data = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the configuration file {path!r}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 (byte {error.start}); TOML files are") from None
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, or a number of thousands of digits
        raise UsageError(f"{path}: not valid TOML: {error}") from None

    app = data.pop("app", {})
    if not isinstance(app, dict):
        raise UsageError(f"{_place(path, text, 'app')}: the settings of the application are a table; write [app]")
    known = {option.key: option for option in options() if option.in_file}
    entries: dict[str, _Entry] = {}
    for key, raw in data.items():
        option = known.get(key.replace("_", "-"))
        if option is None:
            raise UsageError(_unknown_key(path, text, key, raw, known))
        if option.key in entries:
            raise UsageError(f"{_place(path, text, key)}: the key is there twice, with '-' and with '_'; drop one")
        entries[option.key] = _Entry(option, raw, _place(path, text, key))
    return list(entries.values()), app


def _unknown_key(path: str, text: str, key: str, raw: object, known: Iterable[str]) -> str:
    if isinstance(raw, dict):
        return (
            f"{path}: unknown table [{key}]; the settings of evserver stand at the top of the file, outside of any "
            "table, those of the application under [app]"
        )
    otherwise = "docs/settings.md lists the keys, those of the application stand under [app]"
    return f"{_place(path, text, key, bare=True)}: unknown key {key!r}" + suggestion(key, known, otherwise)


def _place(path: str, text: str, key: str, *, bare: bool = False) -> str:
    """``evserver.toml line 3: workers``, as far as the line can be told by its looks."""
    top = re.split(r"^\s*\[", text, maxsplit=1, flags=re.MULTILINE)[0]
    lines = [
        number
        for number, line in enumerate(top.split("\n"), 1)
        if re.match(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""", line)
    ]
    where = f"{path} line {lines[0]}" if len(lines) == 1 else path
    return where if bare else f"{where}: {key}"

"""The settings of evserver: one frozen dataclass, whose fields are the one table behind everything.

From a field's metadata and its name come its flag (``--max-body``), its variable (``EVSERVER_MAX_BODY``), its key in
evserver.toml (``max-body``), its line in ``evserver --help`` and its row in docs/settings.md; see ``options()``. To
add a setting is to add a field here. How the four layers are merged is in sources.py.

Invariants: an object of ``Settings`` is valid, because the constructor checks every field and what must hold between
them; it is plain data, so that ``Settings.from_dict(json.loads(json.dumps(settings.to_dict()))) == settings`` carries
it to a spawned worker. Times are seconds, sizes are bytes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from evpy.errors import UsageError
from evpy.server.binds import MAX_LISTENERS, Bind, parse_bind
from evpy.server.machine import usable_cores
from evpy.server.toml_text import dump_table
from evpy.server.values import Choice, FilePath, Kind, Octal, Seconds, Size, Switch, Text, Texts, Whole, quoted

__all__ = ["BODY_RATE_GRACE", "GROUPS", "Option", "Settings", "options"]

BODY_RATE_GRACE = 10.0  # seconds that a body may take before its rate counts
MAX_BODY_LIMITS = 32  # places in the segment
MAX_WORKERS = 254  # the segment has room for twice as many and two, so that a reload fits
DAY = 86400.0
KIB = 1 << 10
MIB = 1 << 20

GROUPS = {
    "what": "What to run",
    "listen": "Where to listen",
    "process": "Processes and threads",
    "health": "Keeping workers healthy",
    "limit": "Limits of requests",
    "log": "Logs",
    "develop": "Development",
}


@dataclass(frozen=True)
class Option:
    """One setting as flag, variable, key, and what the reader is told about it."""

    name: str
    kind: Kind
    group: str
    help: str
    unit: str
    short: str  # "-b" or ""
    default: object
    default_note: str  # says what a default means that its value does not show
    in_file: bool

    @property
    def key(self) -> str:
        """Its key in evserver.toml."""
        return self.name.replace("_", "-")

    @property
    def flag(self) -> str:
        """Its long flag; the target is the one argument without."""
        return "" if self.name == "target" else f"--{self.key}"

    @property
    def env(self) -> str:
        return f"EVSERVER_{self.name.upper()}"

    @property
    def default_text(self) -> str:
        """The default for readers; empty when there is none."""
        if self.default_note or self.default is None:
            return self.default_note
        if isinstance(self.default, tuple):
            return ", ".join(self.default)
        return self.kind.toml(self.default).strip('"')


def _option(
    kind: Kind,
    group: str,
    help: str,
    default: object = None,
    *,
    short: str = "",
    unit: str = "",
    factory: Callable[[], object] | None = None,
    default_note: str = "",
    in_file: bool = True,
) -> Any:
    """A field whose metadata are the rest of its ``Option``."""
    metadata = {
        "kind": kind,
        "group": group,
        "help": help,
        "unit": unit,
        "short": short,
        "default_note": default_note,
        "in_file": in_file,
    }
    if factory is not None:
        return dataclasses.field(default_factory=factory, metadata=metadata)
    return dataclasses.field(default=default, metadata=metadata)


def _default_workers() -> int:
    return min(2 * usable_cores(), MAX_WORKERS)


def _check_server_header(text: str) -> None:
    if not (text.isascii() and text.isprintable()) or len(text) > 63 or text != text.strip():
        raise ValueError(f"{text!r} is not a header value of at most 63 printable ASCII characters")


def _is_any_port(address: str) -> bool:
    """Port 0 is another free port each time."""
    bind = parse_bind(address)
    return bind.kind == "tcp" and bind.port == 0


def parse_body_limit(text: str) -> tuple[str, int]:
    """Path and bytes of "/upload=10G"; ValueError says what is wrong."""
    path, _, size = text.rpartition("=")
    if not path.startswith("/") or not (path.isascii() and path.isprintable()) or " " in path or len(path) > 120:
        raise ValueError(f"{quoted(text)} is not a path of at most 120 bytes and a size, such as /upload=10G")
    return path, Size().parse(size)


_SERVER_HEADER = Text("TEXT", "text of at most 63 printable ASCII characters", _check_server_header, optional=False)
_BODY_LIMIT = Text("PATH=SIZE", "a path and a size such as /upload=10G", parse_body_limit, optional=False)
_ADDRESS = Text("ADDRESS", "an address", parse_bind, optional=False)
_TARGET = FilePath("TARGET", "a handler script, a directory of them, or module:name")
_DIRECTORY = FilePath("DIR", "a directory")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """All settings of one server. UsageError names the field that is wrong."""

    # --- what to run
    target: str | None = _option(_TARGET, "what", "main.py, main.py:name, a directory of scripts, or module:name")
    config: str | None = _option(
        FilePath("FILE", "a file"), "what", "read this file; '' reads none", short="-c", in_file=False,
        default_note="evserver.toml, if there is one",
    )  # fmt: skip
    chdir: str | None = _option(_DIRECTORY, "what", "change to this directory first; relative paths start there")
    patch: bool = _option(Switch(), "what", "make the standard library cooperative (gevent)", True)

    # --- where to listen
    bind: tuple[str, ...] = _option(
        Texts(_ADDRESS, least=1, most=MAX_LISTENERS, may_repeat=_is_any_port), "listen",
        "HOST:PORT, [IPV6]:PORT, :PORT (everywhere), unix:PATH or fd:3; repeatable", ("127.0.0.1:8000",), short="-b",
    )  # fmt: skip
    unix_mode: str | None = _option(Octal(), "listen", "permissions of Unix sockets", default_note="by the umask")
    backlog: int = _option(Whole(1, 65535), "listen", "connections that wait to be accepted", 2048)
    max_connections: int = _option(Whole(0, 10_000_000), "listen", "connections open at a time; 0 no limit", 20_000)
    server_header: str = _option(_SERVER_HEADER, "listen", "the Server header; '' sends none", "evserver")

    # --- processes and threads
    workers: int = _option(
        Whole(0, MAX_WORKERS), "process", "worker processes; 0 serves inline, in one process", short="-w",
        factory=_default_workers, default_note="2 per core",
    )  # fmt: skip
    threads: int = _option(
        Whole(1, 8), "process", "scheduler threads of each worker, a gevent hub in each", 1, short="-t"
    )
    concurrency: int = _option(Whole(1, 100_000), "process", "requests that a scheduler thread runs at a time", 1000)
    io_threads: int = _option(Whole(1, 8), "process", "I/O threads of the gateway", 1)
    queue: int = _option(Whole(1, 100_000), "process", "requests that may wait for a worker; the next gets 503", 1024)
    grace: float = _option(
        Seconds(0, DAY), "process", "how long running requests may go on at a stop or reload", 30.0, unit="s"
    )
    start_timeout: float = _option(
        Seconds(0.1, DAY), "process", "how long a worker may take to become ready", 60.0, unit="s"
    )
    switch_interval: float = _option(
        Seconds(1e-6, 1), "process", "sys.setswitchinterval of the workers", 0.0001, unit="s"
    )
    time_slice: float = _option(
        Seconds(0, 0.1), "process", "CPU time slices of gateway and schedulers (Linux 6.12); 0 the kernel's own",
        0.0001, unit="s",
    )  # fmt: skip
    costly: float = _option(
        Seconds(0, 1), "process",
        "CPU time from which requests to a path are costly: no more of them at once than there are cores; 0 none are",
        0.005, unit="s",
    )  # fmt: skip
    pid: str | None = _option(
        FilePath("FILE", "a file"), "process", "write the process id of the supervisor to this file"
    )

    # --- keeping workers healthy
    max_requests: int = _option(Whole(0, 10**12), "health", "replace a worker after so many requests; 0 never", 0)
    max_requests_jitter: int = _option(
        Whole(0, 10**12), "health", "plus a random number from 0 to this, for each worker", 0
    )
    max_memory: int = _option(
        Size(MIB), "health", "replace a worker whose resident memory is larger; 0 never", 0, unit="bytes"
    )
    watchdog: float = _option(
        Seconds(0, DAY), "health", "log the stack of a thread that is blocked for longer; 0 never", 5.0, unit="s"
    )
    watchdog_kill: float = _option(
        Seconds(0, DAY), "health", "replace a worker that is blocked for longer; 0 never", 60.0, unit="s"
    )

    # --- limits of requests
    timeout: float = _option(
        Seconds(0.001, DAY), "limit", "deadline of a complete request, its wait included; then 504", 30.0, unit="s"
    )
    header_timeout: float = _option(
        Seconds(0.001, DAY), "limit", "the header block must be complete; else 408", 10.0, unit="s"
    )
    body_timeout: float = _option(
        Seconds(0.001, DAY), "limit", "silence within a request body; then 408", 30.0, unit="s"
    )
    body_rate: int = _option(
        Whole(0, 1 << 30),
        "limit",
        f"bytes/s that a body must keep up after {BODY_RATE_GRACE:.0f} s; else 408; 0 any",
        240,
        unit="bytes/s",
    )
    send_timeout: float = _option(
        Seconds(0.001, DAY), "limit", "the client reads nothing of a response; then close", 30.0, unit="s"
    )
    keep_alive: float = _option(
        Seconds(0, DAY), "limit", "idle connection between requests; 0 closes after each", 75.0, unit="s"
    )
    max_body: int = _option(Size(), "limit", "longest request body, else 413; 0 no limit", 16 * MIB, unit="bytes")
    max_body_at: tuple[str, ...] = _option(
        Texts(_BODY_LIMIT, most=MAX_BODY_LIMITS), "limit", "the same for a path and all below it; repeatable", ()
    )

    # --- logs
    log_level: str = _option(
        Choice("debug", "info", "warning", "error", "critical"), "log", "log nothing below this level", "info"
    )
    log_format: str = _option(Choice("text", "json"), "log", "form of the log lines", "text")
    log_file: str | None = _option(
        FilePath("FILE", "a file"), "log", "append the log to this file; reopened on SIGHUP", default_note="stderr"
    )
    access_log: str | None = _option(
        FilePath("FILE", "a file"),
        "log",
        "one line per request to this file; reopened on SIGHUP; - is stdout",
        default_note="off",
    )
    access_log_format: str = _option(Choice("combined", "json"), "log", "form of its lines", "combined")

    # --- development
    reload: bool = _option(Switch(), "develop", "reload when a source file changes", False)
    reload_dir: tuple[str, ...] = _option(
        Texts(_DIRECTORY), "develop", "watch this directory; repeatable", (), default_note="where the target is"
    )
    debug: bool = _option(Switch(), "develop", "show tracebacks to the client; never in production", False)

    # --- not a setting of ours: what the application keeps in the same file
    app: dict[str, Any] = dataclasses.field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        for option in options():
            try:
                value = option.kind.parse(getattr(self, option.name))
            except ValueError as error:
                raise UsageError(f"{option.name}: {error}") from None
            object.__setattr__(self, option.name, value)
        self._check_together()

    def _check_together(self) -> None:
        """What must hold between fields."""
        if self.watchdog_kill and self.watchdog_kill < self.watchdog:
            raise UsageError(
                f"watchdog-kill ({self.watchdog_kill:g} s) is below watchdog ({self.watchdog:g} s), so the stack would "
                "never be logged; raise it, or set it to 0"
            )
        seen: dict[Bind, str] = {}
        for text in self.bind:
            bind = parse_bind(text)
            if bind.port and bind in seen:
                raise UsageError(f"bind: {text!r} and {seen[bind]!r} are the same address; drop one")
            seen[bind] = text
        if len(self.body_limits()) < len(self.max_body_at):
            raise UsageError(f"max-body-at: a path has two limits: {', '.join(self.max_body_at)}; drop one")

    def binds(self) -> tuple[Bind, ...]:
        """The parsed addresses."""
        return tuple(parse_bind(text) for text in self.bind)

    def body_limits(self) -> dict[str, int]:
        """Bytes that a request body may have, by path (``max_body_at``)."""
        return dict(map(parse_body_limit, self.max_body_at))

    def to_dict(self) -> dict[str, Any]:
        """JSON-plain data. The application's table goes as TOML text, because JSON would lose dates and infinity."""
        plain = {option.name: getattr(self, option.name) for option in options()}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in plain.items()} | {
            "app": dump_table(self.app)
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Settings:
        """The inverse of ``to_dict``. UsageError for an unknown field or a wrong value."""
        unknown = sorted(set(data) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise UsageError(f"unknown setting {unknown[0]!r}")
        app = data.get("app")
        if app:
            import tomllib  # costs some milliseconds of every start, and few have such a table

            return cls(**{**data, "app": tomllib.loads(app)})
        return cls(**{**data, "app": {}})


@functools.cache
def options() -> tuple[Option, ...]:
    """Every setting, in the order of ``--help``."""
    found = []
    for field in dataclasses.fields(Settings):
        if "kind" not in field.metadata:
            continue
        factory = field.default_factory
        default = field.default if factory is dataclasses.MISSING else factory()
        found.append(Option(name=field.name, default=default, **field.metadata))
    return tuple(found)

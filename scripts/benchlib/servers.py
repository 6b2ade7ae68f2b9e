"""The one table of servers: how each is installed, started and told its number of workers.

To add a peer is to add a line to ``SERVERS``. Peers run with what their own documentation recommends for speed, access
logs off, and defaults for the rest; limits that would end a benchmark (keep-alive after 2 s, 1,000 connections, small
bodies) are lifted for everybody alike.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchlib.places import APPS, BENCH, ROOT, VENV, BenchError

__all__ = ["SERVERS", "Job", "Server", "choose", "clean_env", "evserver"]

PYTHON = str(VENV / "bin" / "python")
HOUR = "3600"  # seconds: longer than any benchmark
CONNECTIONS = "20000"
NGINX_MODULES = (Path("/usr/lib/nginx/modules"), Path("/usr/lib64/nginx/modules"), Path("/usr/share/nginx/modules"))


@dataclass(frozen=True)
class Job:
    """What a server shall serve, and how."""

    app: str  # hello, tail, upload or download
    workers: int
    file: Path | None = None  # what download serves

    @property
    def env(self) -> dict[str, str]:
        return {"EVPY_BENCH_FILE": str(self.file)} if self.file else {}


@dataclass(frozen=True)
class Server:
    """One row of the table."""

    name: str
    kind: str  # "ours", "peer", or "reference": shown, but no target is set on it as a peer
    command: Callable[[Job, int], list[str]]  # (job, port)
    apps: frozenset[str]
    requires: tuple[str, ...] = ()  # from PyPI
    missing: Callable[[], str | None] = lambda: None  # why it cannot run here, apart from `requires`
    env: Mapping[str, str] = field(default_factory=dict)
    # Processes of it that are no workers, by their command line; the first process never is one when there are others.
    helpers: str = r"resource_tracker|semaphore_tracker"

    def workers_among(self, commands: Mapping[int, str], root: int) -> list[int]:
        """The pids of its workers, given the command lines of all its processes."""
        others = [pid for pid in commands if pid != root]
        return [pid for pid in others if not re.search(self.helpers, commands[pid])] or [root]


def clean_env(*extra: Mapping[str, str]) -> dict[str, str]:
    """What a server sees: nothing of the caller's environment that could configure it behind our back."""
    env = {
        name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ
    }
    for more in ({"PYTHONPATH": str(APPS)}, *extra):
        env.update(more)
    return env


# --- command lines ---------------------------------------------------------------------------------------------------


def _evserver(program: Path, more: Sequence[str], job: Job, port: int) -> list[str]:
    command = [
        str(program),
        str(APPS / f"ev_{job.app}.py"),
        "--bind",
        f"127.0.0.1:{port}",
        "--workers",
        str(job.workers),
    ]
    command += ["--config", "", "--log-level", "warning", "--keep-alive", HOUR]
    if job.app == "tail":
        command += ["--threads", "2"]
    if job.app in ("upload", "download"):
        command += ["--timeout", HOUR, "--max-body", "0"]
    return [*command, *more]


def _prefork(name: str, job: Job, port: int) -> list[str]:
    return [PYTHON, str(APPS / "prefork.py"), name, job.app, str(port), str(job.workers)]


def _granian(interface: str, job: Job, port: int) -> list[str]:
    command = [PYTHON, "-m", "granian", "--interface", interface, "--http", "1", "--no-ws", "--loop", "uvloop"]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(job.workers), "--backlog", "4096"]
    return [*command, "--backpressure", CONNECTIONS, "--log-level", "warning", f"{interface}:{job.app}"]


def _uvicorn(job: Job, port: int) -> list[str]:
    command = [
        PYTHON,
        "-m",
        "uvicorn",
        "--loop",
        "uvloop",
        "--http",
        "httptools",
        "--no-access-log",
        "--lifespan",
        "off",
    ]
    command += ["--host", "127.0.0.1", "--port", str(port), "--workers", str(job.workers), "--log-level", "warning"]
    return [*command, "--timeout-keep-alive", HOUR, f"asgi:{job.app}"]


def _gunicorn(kind: str, job: Job, port: int) -> list[str]:
    command = [PYTHON, "-m", "gunicorn", "--worker-class", kind, "--workers", str(job.workers), "--keep-alive", HOUR]
    command += ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--worker-connections", CONNECTIONS]
    command += ["--timeout", HOUR, "--graceful-timeout", "1", *(["--threads", "8"] if kind == "gthread" else [])]
    return [*command, f"wsgi:{job.app}"]


def _openresty() -> tuple[str, str | None]:
    """The program, and its Lua module when that is separate; ('', None) when there is neither."""
    if program := shutil.which("openresty"):
        return program, None
    for folder in NGINX_MODULES:
        if (folder / "ngx_http_lua_module.so").exists() and _nginx():
            return _nginx(), str(folder)
    return "", None


def _nginx() -> str:
    return shutil.which("nginx") or next((p for p in ("/usr/sbin/nginx",) if os.access(p, os.X_OK)), "")


def _nginx_config(program: str, job: Job, port: int, location: str, modules: str | None = None) -> list[str]:
    folder = BENCH / "nginx"  # one server runs at a time
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "logs").mkdir(parents=True)
    load = f"load_module {modules}/ndk_http_module.so; load_module {modules}/ngx_http_lua_module.so;" if modules else ""
    # As root nginx would switch to a user who may not be able to read the checkout.
    user = "user root;" if os.geteuid() == 0 else ""
    paths = " ".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (folder / "nginx.conf").write_text(f"""{load}
{user}
daemon off;
pid {folder}/pid;
error_log stderr warn;
worker_processes {job.workers};
worker_rlimit_nofile 40000;
events {{ worker_connections {CONNECTIONS}; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000000;
    keepalive_timeout {HOUR}s;
    {paths}
    default_type text/plain;
    server {{
        listen 127.0.0.1:{port};
        location / {{ {location} }}
        {f"location = /file {{ default_type application/octet-stream; alias {job.file}; }}" if job.file else ""}
    }}
}}
""")
    return [program, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def _nginx_plain(job: Job, port: int) -> list[str]:
    return _nginx_config(_nginx(), job, port, 'return 200 "Hello, World!";')


def _nginx_lua(job: Job, port: int) -> list[str]:
    program, modules = _openresty()
    slow = (
        "if ngx.var.uri == '/slow' then local e = os.clock() + 0.02; while os.clock() < e do end end "
        if job.app == "tail"
        else ""
    )
    lua = f"content_by_lua_block {{ {slow}ngx.header.content_length = 13; ngx.print('Hello, World!') }}"
    return _nginx_config(program, job, port, lua, modules)


def _needs(find: Callable[[], str], advice: str) -> Callable[[], str | None]:
    return lambda: None if find() else advice


# --- the table -------------------------------------------------------------------------------------------------------

ALL = frozenset({"hello", "tail", "upload", "download"})
NO_FILES = ALL - {"download"}  # its way of sending a file is the application's own loop
GUNICORN = ("gunicorn", "gevent")

PEERS = (
    # bjoern and fastwsgi collect a body before they call the application: no streamed upload.
    Server("fastwsgi", "peer", functools.partial(_prefork, "fastwsgi"), frozenset({"hello", "tail"}),
           ("fastwsgi", "setuptools<81")),
    Server("bjoern", "peer", functools.partial(_prefork, "bjoern"), frozenset({"hello", "tail"}), ("bjoern",)),
    Server("socketify", "peer", functools.partial(_prefork, "socketify"), NO_FILES, ("socketify",)),
    Server("granian-wsgi", "peer", functools.partial(_granian, "wsgi"), ALL, ("granian", "uvloop")),
    Server("granian-asgi", "peer", functools.partial(_granian, "asgi"), ALL, ("granian", "uvloop")),
    Server("granian-rsgi", "peer", functools.partial(_granian, "rsgi"), ALL, ("granian", "uvloop")),
    Server("uvicorn", "peer", _uvicorn, ALL, ("uvicorn", "uvloop", "httptools")),
    Server("gunicorn-gevent", "peer", functools.partial(_gunicorn, "gevent"), ALL, GUNICORN),
    Server("gunicorn-gthread", "peer", functools.partial(_gunicorn, "gthread"), ALL, GUNICORN),
    Server("openresty", "peer", _nginx_lua, frozenset({"hello", "tail"}),
           missing=_needs(lambda: _openresty()[0], "no openresty and no nginx with its Lua module; on Debian: "
                          "apt-get install nginx-light libnginx-mod-http-lua")),
    Server("nginx", "reference", _nginx_plain, frozenset({"hello", "download"}),
           missing=_needs(_nginx, "nginx is not installed; on Debian: apt-get install nginx-light")),
)  # fmt: skip


def evserver(program: Path = ROOT / ".venv" / "bin" / "evserver", more: Sequence[str] = ()) -> tuple[Server, ...]:
    """evserver itself, with less that shortens its tail, and its gateway answering every request without any Python."""
    command = functools.partial(_evserver, program, more)
    helpers = r"gateway|resource_tracker|semaphore_tracker"
    return (
        Server("evserver", "ours", command, ALL, helpers=helpers),
        *(
            Server(name, "reference", functools.partial(_evserver, program, [*more, *options]), frozenset({"tail"}),
                   helpers=helpers)
            for name, options in (
                ("evserver-1-thread", ("--threads", "1")),
                ("evserver-untold", ("--costly", "0")),  # as where paths do not tell what is slow
            )
        ),
        Server("evserver-echo", "reference", command, frozenset({"hello"}), env={"EVPY_BENCH_ECHO": "1"}),
    )  # fmt: skip


SERVERS: tuple[Server, ...] = (*evserver(), *PEERS)


def choose(names: Sequence[str] | None, default: Iterable[str], app: str, table: Sequence[Server]) -> list[Server]:
    """The servers of a run: ours always, then the peers named, or the default ones. BenchError names an unknown one."""
    known = {server.name: server for server in table}
    wanted = list(default) if names is None else list(names)
    if wanted == ["all"]:
        wanted = [server.name for server in table if server.kind != "ours"]
    if wanted == ["none"]:
        wanted = []
    chosen = [server for server in table if server.kind == "ours"]
    for name in wanted:
        if name not in known:
            raise BenchError(f"--peers {name}: no such server; there are {', '.join(known)}")
        if known[name] not in chosen:
            chosen.append(known[name])
    return [server for server in chosen if app in server.apps]

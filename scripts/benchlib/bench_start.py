"""start: how soon after its command a server answers, and what an idle worker weighs.

The time runs from starting the command to the end of the first right answer; two workers, hello world, file cache warm
(a first start is not counted). Once with all processes on one core, as everything else here, and once with all cores of
this process. A worker's weight is its resident set (RSS) less that of the same Python with nothing imported.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchlib.launch import Running
from benchlib.procfs import memory
from benchlib.results import Target
from benchlib.servers import Job, Server, clean_env
from benchlib.session import Options, Panel, Session

DEFAULT_PEERS = ("granian-wsgi", "granian-asgi", "uvicorn", "gunicorn-gevent", "gunicorn-gthread")
WORKERS = 2
FIRST_ANSWER_LIMIT = 0.6  # seconds
WORKER_LIMIT = 45.0  # MB


def bare_interpreter(python: Path) -> int:
    """Bytes resident of ``python -c`` with nothing imported, while it waits for its input."""
    code = "import os; print(flush=True); os.read(0, 1)"  # os is there already, imported by site
    process = subprocess.Popen(
        [python, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=clean_env({"PYTHONPATH": ""})
    )
    with process:
        assert process.stdin
        assert process.stdout
        process.stdout.readline()
        resident = memory(process.pid).get("Rss", 0)
        process.stdin.close()
    return resident


def _command_lines(running: Running) -> dict[int, str]:
    lines = {}
    for stat in running.tree.look():
        try:
            words = Path(f"/proc/{stat.pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
        lines[stat.pid] = f"{stat.name} {words}"
    return lines


def run(options: Options) -> list[Target]:
    session = Session("start", options, "hello", DEFAULT_PEERS, rounds=7, seconds=1.0)
    own = options.evserver.parent / "python"
    bare = bare_interpreter(own if own.exists() else Path(sys.executable))
    session.extra["bare_interpreter_bytes"] = bare
    everywhere = set(options.server_cpus | options.client_cpus)
    warm: set[str] = set()
    for round_, server in session.turns():
        with session.attempt(server):
            if server.name not in warm:
                warm.add(server.name)
                with session.start(server, Job("hello", WORKERS), settle=False):
                    pass
            _measure(session, server, round_, bare, everywhere)
    return _report(session, bare)


def _measure(session: Session, server: Server, round_: int, bare: int, everywhere: set[int]) -> None:
    with session.start(server, Job("hello", WORKERS), settle=False, cpus=everywhere) as running:
        free = running.first_answer
    with session.start(server, Job("hello", WORKERS)) as running:
        commands = _command_lines(running)
        sizes = [memory(pid).get("Rss", 0) for pid in server.workers_among(commands, running.tree.root)]
        total = running.tree.memory()
    session.add(
        server,
        round_,
        {
            "first_answer_s": running.first_answer,
            "first_answer_all_cores_s": free,
            "worker_mb": (max(sizes) - bare) / 1e6,
            "workers_seen": len(sizes),
            "total_mb": total / 1e6,
        },
    )


def _report(session: Session, bare: int) -> list[Target]:
    samples = session.samples
    names = session.ordered("first_answer_s", highest_first=False)
    rows = []
    for name in names:
        if (seen := samples.median(name, "workers_seen")) != WORKERS:
            session.remarks.append(
                f"{name}: {seen:.0f} processes look like workers, not {WORKERS}; its weight is a guess"
            )
        rows.append(
            (
                name,
                f"{samples.median(name, 'first_answer_s'):.3f}",
                f"{samples.median(name, 'first_answer_all_cores_s'):.3f}",
                f"{samples.median(name, 'worker_mb'):.1f}",
                f"{samples.median(name, 'total_mb'):.1f}",
            )
        )
    session.remarks.append(
        f"the bare interpreter beside it has {bare / 1e6:.1f} MB resident; a worker's figure is above that"
    )
    times = samples.rounds("evserver", "first_answer_s").values()
    why = "" if times else "evserver did not run"
    targets = [
        Target(f"first answer after the command, {WORKERS} workers, one core",
               samples.median("evserver", "first_answer_s"), FIRST_ANSWER_LIMIT, "at most", unit=" s", against=why,
               spread=(min(times), max(times)) if times else None),
        Target("resident memory of an idle worker above the interpreter's", samples.median("evserver", "worker_mb"),
               WORKER_LIMIT, "at most", unit=" MB", against=why),
    ]  # fmt: skip
    panels = [
        Panel(f"first answer after the command, {WORKERS} workers", "seconds",
              {n: [samples.median(n, "first_answer_s"), samples.median(n, "first_answer_all_cores_s")] for n in names},
              ("one core", "all cores")),
        Panel("resident memory of an idle worker above the interpreter's own", "MB",
              {n: [samples.median(n, "worker_mb")] for n in names}),
    ]  # fmt: skip
    head = ("server", "first answer s", "all cores", "worker MB above Python", "all processes MB")
    return session.report(head, rows, targets, panels)

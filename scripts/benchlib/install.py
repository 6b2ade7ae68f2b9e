"""Gets what the benchmarks need: the peers' virtualenv, the load generator, evserver itself.

Each peer is installed by a pip of its own, so that one that cannot be built takes none of the others with it. What was
tried is remembered in .bench/venv/peers.json with the reason of a failure; a failed one is tried again after an hour or
when its requirements change.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchlib.places import BENCH, LIB, LOGS, ROOT, VENV, BenchError, say

__all__ = ["DRAWING", "build_loadgen", "ensure_evserver", "install_requirements", "installed", "make_venv"]

DRAWING = ("matplotlib",)
RETRY_AFTER = 3600.0  # seconds
# Requirements that are built from source, and the Debian package whose headers they need.
DEBIAN_FOR = {"bjoern": ("libev-dev", "/usr/include/ev.h")}


def _run(command: Sequence[str | Path], log: Path, timeout: float = 900) -> int:
    with log.open("ab") as file:
        file.write(f"\n$ {' '.join(map(str, command))}\n".encode())
        file.flush()
        try:
            return subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, timeout=timeout, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            file.write(f"stopped after {timeout:.0f} s\n".encode())
            return 124


def _base_python() -> str:
    """The interpreter behind .venv when there is one: peers and evserver should run on the same Python."""
    own = ROOT / ".venv" / "bin" / "python"
    return os.path.realpath(own) if own.exists() else os.path.realpath(sys.executable)


def make_venv() -> None:
    """Makes .bench/venv unless it works already with the right Python. BenchError when it cannot be made."""
    base = _base_python()
    note = VENV / "made-with"
    if (VENV / "bin" / "python").exists() and note.exists() and note.read_text() == base:
        return
    LOGS.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(VENV, ignore_errors=True)
    say(f"making {VENV.relative_to(ROOT)} with {base}")
    log = LOGS / "install.log"
    if _run([base, "-m", "venv", VENV], log):
        raise BenchError(f"{base} -m venv {VENV} failed; the reason is at the end of {log}")
    note.write_text(base)


def _notes() -> dict[str, Any]:
    try:
        data = json.loads((VENV / "peers.json").read_text())
    except (FileNotFoundError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _versions(requirements: Iterable[str]) -> dict[str, str]:
    """Installed versions by distribution name, asked from the virtualenv's own Python."""
    code = (
        "import importlib.metadata as m, json, sys; "
        "d = {x.name.lower(): x.version for x in m.distributions()}; print(json.dumps(d))"
    )
    out = subprocess.run([VENV / "bin" / "python", "-c", code], capture_output=True, text=True, check=True).stdout
    known: dict[str, str] = json.loads(out)
    names = [r.split("<")[0].split("=")[0].split(">")[0].split("[")[0].lower() for r in requirements]
    return {name: known[name] for name in names if name in known}


def _debian(requirement: str, log: Path) -> str | None:
    """Installs the Debian package with the headers a requirement needs, as root; else says what is missing."""
    package, header = DEBIAN_FOR.get(requirement, ("", ""))
    if not package or Path(header).exists():
        return None
    command = f"apt-get install -y --no-install-recommends {package}"
    if os.geteuid() == 0 and shutil.which("apt-get"):
        say(f"  {requirement} is built from source and needs {package}: {command}")
        _run(["apt-get", "update", "-q"], log)
        _run(["env", "DEBIAN_FRONTEND=noninteractive", *command.split()], log)
    return None if Path(header).exists() else f"needs {header}; install it: sudo {command}"


def install_requirements(requirements: Sequence[str]) -> str | None:
    """Installs into .bench/venv; None when all is there, else one line that says why not."""
    if not requirements:
        return None
    key, notes = " ".join(requirements), _notes()
    note = notes.get(key)
    if note and (note.get("ok") or time.time() - note["at"] < RETRY_AFTER):
        return None if note.get("ok") else str(note["reason"])
    log = LOGS / "install.log"
    LOGS.mkdir(parents=True, exist_ok=True)
    say(f"  installing {key}")
    reason = next(filter(None, (_debian(r, log) for r in requirements)), None)
    if reason is None:
        pip: list[str | Path] = [
            VENV / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
            "--no-input",
            "install",
            "-q",
        ]
        if _run([*pip, *requirements], log):
            reason = f"pip install {key} failed: {_last_error(log)} ({log})"
    notes = _notes()
    notes[key] = {"ok": reason is None, "reason": reason, "at": time.time()}
    (VENV / "peers.json").write_text(json.dumps(notes, indent=1))
    return reason


def _last_error(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    errors = [line.strip() for line in lines if "error:" in line.lower()]
    return (errors or lines or ["no output"])[-1][:160]


def installed(requirements: Sequence[str]) -> dict[str, str]:
    """Versions of what is installed of these."""
    return _versions(requirements) if (VENV / "bin" / "python").exists() else {}


def build_loadgen() -> Path:
    """Compiles loadgen.c unless this very source was compiled before. BenchError when it cannot be."""
    sources = sorted(LIB.glob("loadgen*.[ch]"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    program = BENCH / f"loadgen-{digest}"
    if program.exists():
        return program
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc")
    if not compiler:
        raise BenchError("no C compiler for the load generator; install one: apt-get install gcc libc6-dev")
    BENCH.mkdir(exist_ok=True)
    new = program.with_suffix(f".{os.getpid()}")
    command: list[str | Path] = [
        *compiler.split(),
        "-std=gnu11",
        "-O2",
        "-Wall",
        "-Wextra",
        "-o",
        new,
        LIB / "loadgen.c",
        "-lm",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"loadgen.c does not compile: {(done.stderr.splitlines() or ['no message'])[-1]}")
    for old in BENCH.glob("loadgen-*"):
        if old != new:
            old.unlink()
    new.rename(program)
    return program


def ensure_evserver(program: Path) -> str | None:
    """Runs scripts/setup for the default evserver; None when it is there, else one line that says why not."""
    if program == ROOT / ".venv" / "bin" / "evserver" and (ROOT / "scripts" / "setup").exists():
        done = subprocess.run([ROOT / "scripts" / "setup", "--quiet"], stdin=subprocess.DEVNULL, check=False)
        if done.returncode:
            return "scripts/setup failed (its message is above)"
    return None if os.access(program, os.X_OK) else f"{program} is not there or not executable"

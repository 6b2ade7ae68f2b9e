"""What is shared between processes: kills at random moments, and nothing doubled, out of order or left behind."""

from __future__ import annotations

import ctypes
import os
import random
import re
import signal
import subprocess
import time
from pathlib import Path

from efio import SharedMap, SharedQueue, remove_stale_segments
from stresslib import Scenario, Violation

ROOT = Path(__file__).resolve().parents[2]
PRODUCERS = CONSUMERS = 2


def native_kills(kills: int) -> str:
    """The C test's own: producers and consumers of the native queue, which do nothing else."""
    program = ROOT / ".build" / "native-release" / "tests" / "efio" / "native" / "test_shared_queue"
    if not program.exists():
        subprocess.run([ROOT / "scripts" / "test", "--native", "shared_queue"], check=True, capture_output=True)
    done = subprocess.run([program, str(kills)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Violation(done.stderr.strip())
    found = re.search(r"\d+ kills: .*", done.stdout)
    return found.group(0) if found else done.stdout.strip()


def forked(work: object, *arguments: object) -> int:
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: it does not outlive us
        if os.getppid() != parent:
            os._exit(1)
        try:
            work(*arguments)  # type: ignore[operator]
        finally:
            os._exit(1)
    return pid


def python_kills(kills: int) -> str:
    """Producers and consumers in Python, by name; a collector that is never killed sees what the consumers had."""
    name = f"stress-{os.getpid()}"
    seed = random.Random(1)
    with SharedQueue[tuple[int, int]](name), SharedQueue[tuple[int, int]]() as results:

        def produce(life: int) -> None:
            q = SharedQueue[tuple[int, int]](name)
            n = 0
            while True:
                q.put((life, n))
                n += 1

        def consume(_life: int) -> None:
            q = SharedQueue[tuple[int, int]](name)
            while True:
                results.put(q.get())

        children = [(forked(role, k), role) for k, role in enumerate([produce, consume] * PRODUCERS)]
        lives, seen = len(children), 0
        known: dict[int, set[int]] = {}
        for kill in range(kills):
            until = time.monotonic() + seed.random() * 0.004
            progress = False
            while time.monotonic() < until or not progress:
                for life, n in results.get_many(10_000, timeout=20):
                    numbers = known.setdefault(life, set())
                    if n in numbers:
                        raise Violation(f"message {n} of producer {life} came twice, after {kill} kills")
                    numbers.add(n)
                    seen += 1
                    progress = True
            victim = seed.randrange(len(children))
            pid, role = children[victim]
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            children[victim] = (forked(role, lives), role)
            lives += 1
        for pid, _role in children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if os.path.exists(f"/dev/shm/efio.{name}"):
        raise Violation("the name is still there")
    return f"{kills} kills, {seen} messages came"


def map_kills(kills: int) -> str:
    """Writers of a map are killed; every value that is read is whole, and the next writer goes on."""
    seed = random.Random(2)
    writes = 0
    with SharedMap(entries=64, value_bytes=64) as shared:

        def write(life: int) -> None:
            while True:
                for n in range(256):
                    shared[f"key{n % 40}"] = bytes([n]) * 64
                    shared.pop(f"key{(n + life) % 40}", None)

        for life in range(kills):
            pid = forked(write, life)
            until = time.monotonic() + 0.002 + seed.random() * 0.002
            while time.monotonic() < until:
                for value in shared.values():
                    if len(set(value)) != 1 or len(value) != 64:
                        raise Violation(f"a torn value after {life} kills: {value!r}")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            shared["mine"] = b"m" * 64
            writes += 1
            if shared.pop("mine") != b"m" * 64 or len(shared) != len(list(shared)):
                raise Violation(f"after {life} kills the map counts {len(shared)} and has {len(list(shared))}")
    remove_stale_segments()
    return f"{kills} kills"


SCENARIOS = [
    Scenario("native", "native queue, 2 producers and 2 consumers killed at random", 10_000, native_kills),
    Scenario("kills", "efio.SharedQueue, the same in Python, with checks of every message", 1_000, python_kills),
    Scenario("map", "efio.SharedMap, writers killed", 1_000, map_kills),
]

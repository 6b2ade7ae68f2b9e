"""One soak: a server, a hammer, samples all along, a verdict."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from hammer import APP, Hammer, Report
from serving import Server
from serving.inside import ACCOUNTS, Inside

from soaklib.samples import Sample, growth, take, verdict

__all__ = ["MIX", "Soak", "soak"]

MIX = {"hello": 60, "json": 16, "echo": 16, "put": 4, "stream": 4}
CONNECTIONS = 32
DEPTH = 2


@dataclass(frozen=True)
class Soak:
    """What came of it."""

    complaints: list[str]
    samples: list[Sample]
    report: Report

    @property
    def grown(self) -> int:
        """Bytes of memory, after warming up."""
        return growth([sample.memory for sample in self.samples])


def soak(
    *,
    requests: int = 0,
    seconds: float | None = None,
    workers: int = 2,
    bound: int,
    report: float,
    say: Callable[[str], None],
    app: str = APP,
) -> Soak:
    """``requests`` or ``seconds`` end it, what comes first; ``bound`` in bytes; a sample every ``report`` seconds."""
    samples, last = [], None
    with Server(app, "-w", str(workers)) as server, Inside(server.pid) as inside:
        say("processes: rss/pss/anonymous MB (descriptors)")
        load = Hammer(
            server.port, MIX, connections=CONNECTIONS, depth=DEPTH, requests=requests, seconds=seconds, report=report
        )
        with load as hammer:
            before = time.monotonic(), 0
            for last in hammer.reports():
                if last.final:
                    break
                samples.append(take(server, inside))
                now = time.monotonic(), last.total("ok")
                done = f"{last.seconds:8.1f} s {now[1]:12,} answers {_rate(before, now):8,.0f}/s"
                say(f"{done}  {samples[-1]}, {_counters(inside)}")
                before = now
        assert last is not None, "hammer ended without a word"
        server.wait_until(lambda: inside.count("connections_open") == 0, "every connection is closed")
        samples.append(take(server, inside))
        return Soak(verdict(samples, last, inside, bound), samples, last)


def _rate(before: tuple[float, int], now: tuple[float, int]) -> float:
    return (now[1] - before[1]) / max(now[0] - before[0], 1e-9)


def _counters(inside: Inside) -> str:
    counters = inside.counters()
    odd = {name: counters[name] for name in (*ACCOUNTS[1:], "stale") if counters[name]}
    return f"slabs {counters['slabs_used']}, queue {counters['queue_len']}" + (f", {odd}" if odd else "")

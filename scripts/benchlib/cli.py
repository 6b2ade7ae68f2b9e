"""The command line of scripts/bench."""

from __future__ import annotations

import argparse
import fcntl
import os
import shlex
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchlib import (
    bench_db,
    bench_efio,
    bench_hello,
    bench_http,
    bench_idle,
    bench_schema,
    bench_shapes,
    bench_start,
    bench_tail,
    bench_transfer,
    install,
)
from benchlib.places import BENCH, RESULTS, ROOT, BenchError, say
from benchlib.results import Target
from benchlib.servers import SERVERS
from benchlib.session import Options

__all__ = ["main"]

BENCHES: dict[str, tuple[str, Callable[[Options], list[Target]]]] = {
    "hello": ("hello world: requests/s and CPU per request, one worker each", bench_hello.run),
    "tail": ("latency of the other requests when 1 in 200 burns 20 ms of CPU", bench_tail.run),
    "idle": ("memory and throughput with 10,000 idle keep-alive connections", bench_idle.run),
    "download": ("a 1 GB file sent, against nginx", bench_transfer.run_download),
    "upload": ("a 1 GB body streamed through a handler that hashes it", bench_transfer.run_upload),
    "schema": ("XML and JSON against objects, beside lxml, xsdata and xmlschema", bench_schema.run),
    "shapes": ("evserver with 1, 2, 4 workers of 1 and 2 threads: throughput, tail, memory", bench_shapes.run),
    "start": ("time to the first answer, memory of idle workers", bench_start.run),
}
EPILOG = """\
Each benchmark prints a table with ratios and the targets, and writes .bench/results/NAME.json and NAME.png.
What it measures and how: docs/benchmarks.md.

examples:
  scripts/bench hello                              everything, about five minutes
  scripts/bench hello --rounds 1 --seconds 2 --peers granian-wsgi,bjoern
  scripts/bench tail --peers all
  scripts/bench peers                              who can take part on this machine, and who cannot and why
"""


def _cpu_set(text: str) -> frozenset[int]:
    try:
        cpus = frozenset(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of CPU numbers, such as 0 or 0,1") from None
    if wrong := cpus - os.sched_getaffinity(0):
        usable = ", ".join(map(str, sorted(os.sched_getaffinity(0))))
        raise argparse.ArgumentTypeError(f"no CPU {min(wrong)} for this process; there are {usable}")
    return cpus


def _positive(kind: Callable[[str], float]) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            value = 0
        if not 0 < value < 1e6:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
        return value

    return parse


def _add_parts(commands: Any, name: str, text: str, parts: Mapping[str, str]) -> None:
    """A benchmark of a library, which consists of parts."""
    parser = commands.add_parser(
        name, help=text, allow_abbrev=False, formatter_class=argparse.RawDescriptionHelpFormatter,
        description="\n".join([text, "", *(f"  {part:10} {line}" for part, line in parts.items())]),
    )  # fmt: skip
    parser.add_argument("parts", nargs="*", metavar="PART", help="default: all of them")
    parser.add_argument("--rounds", type=_positive(int), help="rounds; the figure is the median (default: by part)")
    parser.add_argument("--scale", type=_positive(float), default=1.0, help="amounts of work, times this (default: 1)")
    parser.add_argument("--peers", metavar="A,B", help="compare with these, 'all' or 'none' (default: all)")
    parser.add_argument("--results", type=Path, metavar="DIR", help="where to write (default: .bench/results)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scripts/bench", description="Measures evserver beside its peers.", epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
    )  # fmt: skip
    commands = parser.add_subparsers(dest="bench", metavar="BENCH", required=True)
    common = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    common.add_argument(
        "--rounds", type=_positive(int), help="rounds; the figure is the median (default: by benchmark)"
    )
    common.add_argument("--seconds", type=_positive(float), help="length of each measured window, seconds")
    common.add_argument("--peers", metavar="A,B", help="compare with these, 'all' or 'none' (default: by benchmark)")
    common.add_argument(
        "--server-cpus", type=_cpu_set, metavar="LIST", help="cores of the servers (default: the first)"
    )
    common.add_argument(
        "--client-cpus", type=_cpu_set, metavar="LIST", help="cores of the client (default: the second)"
    )
    common.add_argument("--evserver", type=Path, metavar="PROGRAM", help="default: .venv/bin/evserver, built if needed")
    common.add_argument(
        "--evserver-args", metavar="FLAGS", default="", help="more flags for it, as one word: '--threads 2'"
    )
    common.add_argument("--results", type=Path, metavar="DIR", help="where to write (default: .bench/results)")
    sizes = argparse.ArgumentParser(add_help=False)
    sizes.add_argument("--size", type=_positive(int), metavar="MIB", help="file of this size (default: 1024)")
    idle = argparse.ArgumentParser(add_help=False)
    idle.add_argument("--idle", type=_positive(int), metavar="N", help="idle connections (default: 10000)")
    extra = {"download": [sizes], "upload": [sizes], "idle": [idle], "all": [sizes, idle]}
    for name, (text, _) in BENCHES.items():
        commands.add_parser(
            name, parents=[common, *extra.get(name, [])], help=text, description=text, allow_abbrev=False
        )
    text = "all of the above, one after the other (about 40 minutes)"
    commands.add_parser("all", parents=[common, *extra["all"]], help=text, description=text, allow_abbrev=False)
    text = "the library efio, in parts: " + ", ".join(bench_efio.PARTS)
    _add_parts(commands, "efio", text, bench_efio.parts())
    text = "service_utils with databases, in parts: " + ", ".join(bench_db.PARTS)
    _add_parts(commands, "db", text, bench_db.parts())
    _add_parts(commands, "http-client", bench_http.TEXT, bench_http.parts())
    text = "list the servers, their versions, and what keeps the others from taking part"
    commands.add_parser("peers", help=text, description=text, allow_abbrev=False)
    return parser


def _options(args: argparse.Namespace) -> Options:
    """Options from the command line. BenchError when there are no two cores."""
    cpus = sorted(os.sched_getaffinity(0))
    server, client = args.server_cpus, args.client_cpus
    if len(cpus) < 2 and not (server and client):
        raise BenchError("this process may use one core only: server and client would share it; say --server-cpus and "
                         "--client-cpus if you want that")  # fmt: skip
    default = Options()
    return Options(
        rounds=int(args.rounds) if args.rounds else None,
        seconds=args.seconds,
        peers=tuple(filter(None, args.peers.split(","))) if args.peers is not None else None,
        server_cpus=server or frozenset({cpus[0]}),
        client_cpus=client or frozenset({cpus[1]}),
        evserver=args.evserver.absolute() if args.evserver else default.evserver,
        evserver_args=tuple(shlex.split(args.evserver_args)),
        size_mib=int(getattr(args, "size", None) or default.size_mib),
        idle=int(getattr(args, "idle", None) or default.idle),
        results=args.results.absolute() if args.results else RESULTS,
    )


@contextmanager
def _alone() -> Iterator[None]:
    """Two benchmarks at the same time would measure each other."""
    BENCH.mkdir(exist_ok=True)
    with (BENCH / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise BenchError(f"another scripts/bench is running (it holds {BENCH / 'lock'})") from None
        yield


def _list_peers() -> None:
    install.make_venv()
    for server in SERVERS:
        if server.name.startswith("evserver"):
            reason = None if (ROOT / ".venv" / "bin" / "evserver").exists() else "not built yet: scripts/setup"
        else:
            reason = server.missing() or install.install_requirements(server.requires)
        versions = " ".join(f"{name} {version}" for name, version in install.installed(server.requires).items())
        say(f"{server.name:18} {server.kind:10} {'NO: ' + reason if reason else versions or 'yes'}")


def _terminated(signum: int, frame: object) -> None:
    raise SystemExit(128 + signum)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a benchmark; 0 whatever the figures are, 1 when it could not be run, 2 for a wrong command line."""
    args = _parser().parse_args(arguments)
    # So that a server is stopped by the `finally` that belongs to it.
    signal.signal(signal.SIGTERM, _terminated)
    signal.signal(signal.SIGHUP, _terminated)
    try:
        with _alone():
            if args.bench == "peers":
                _list_peers()
                return 0
            if args.bench in ("efio", "db", "http-client"):
                {"efio": bench_efio, "db": bench_db, "http-client": bench_http}[args.bench].run(
                    args.parts,
                    bench_efio.EfioOptions(
                        rounds=int(args.rounds) if args.rounds else None,
                        peers=tuple(filter(None, args.peers.split(","))) if args.peers is not None else None,
                        scale=args.scale,
                        results=args.results.absolute() if args.results else RESULTS,
                    ),
                )
                return 0
            options = _options(args)
            summary: list[str] = []
            os.sched_setaffinity(0, options.client_cpus)
            for name in BENCHES if args.bench == "all" else [args.bench]:
                say(f"== {name}: {BENCHES[name][0]}")
                targets = BENCHES[name][1](options)
                summary += [f"{name}:", *(target.verdict() for target in targets)]
            if args.bench == "all":
                say("\n".join(["\n== all targets", *summary]))
    except BenchError as error:
        sys.stderr.write(f"scripts/bench: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("scripts/bench: stopped\n")
        return 130
    return 0

"""The command: what it prints, what it refuses, what it hands to the server, and its exit codes."""

from __future__ import annotations

import json
import logging
import os
import re
import signal
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

import evpy
from evpy.errors import StartupError
from evpy.server import cli, logs
from evpy.server.settings import Settings, options

Serve = Callable[[Settings], int]


@pytest.fixture(autouse=True)
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty directory, no variables of ours, and logging as before."""
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("EVSERVER_")]:
        monkeypatch.delenv(name)
    loggers = [logging.getLogger("evpy"), logging.getLogger()]
    before = [(logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
    while logs._installed:
        handler = logs._installed.pop()
        loggers[0].removeHandler(handler)
        handler.close()


def serve_with(monkeypatch: pytest.MonkeyPatch, name: str, serve: Serve) -> None:
    """Puts a server in the place of the supervisor or of inline mode."""
    module = ModuleType(f"evpy.server.{name}")
    module.main = serve  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)


def refused(capfd: pytest.CaptureFixture[str], *argv: str, code: int = 2) -> str:
    """The one line that these arguments lead to."""
    assert cli.main(argv) == code
    out, err = capfd.readouterr()
    assert out == ""
    line, rest = err.split("\n", 1)
    assert rest == ""
    assert line.startswith("evserver: error: ")
    return line.removeprefix("evserver: error: ")


class TestHelp:
    def test_it_fits_two_screens(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--help"]) == 0
        lines = capfd.readouterr().out.split("\n")
        assert len(lines) <= 100
        assert max(map(len, lines)) <= 100

    def test_it_names_every_option_once(self) -> None:
        text = cli.help_text()
        for option in options():
            flag = option.flag.replace("--patch", "--no-patch") or "TARGET"
            assert len(re.findall(rf"^  (-\w, |    )?{flag}\b(?!-)", text, re.MULTILINE)) == 1, option.name

    def test_short_and_long(self, capfd: pytest.CaptureFixture[str]) -> None:
        cli.main(["-h"])
        assert capfd.readouterr().out == cli.help_text() + "\n"

    def test_it_wins_over_mistakes(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["--nonsense", "--check", "--help"]) == 0

    @pytest.mark.parametrize("command", [command for command, _ in cli.EXAMPLES])
    def test_its_examples_are_right(
        self, command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        Path("prod.toml").write_text("target = 'main.py'")
        words = [word.strip("'") for word in command.split()]
        while "=" in words[0]:
            monkeypatch.setenv(*words.pop(0).split("=", 1))
        assert words[0] == "evserver"
        assert cli.main([*words[1:], "--print-config"]) == 0, capfd.readouterr().err


class TestPrintConfig:
    def test_it_names_the_sources(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        Path("evserver.toml").write_text("\nthreads = 2\n[app]\nkey = 'v'\n")
        monkeypatch.setenv("EVSERVER_QUEUE", "3")
        assert cli.main(["main.py", "--print-config", "--max-body", "1M", "-b", ":80", "-b", ":81"]) == 0
        lines = [re.sub(" +#", " #", line) for line in capfd.readouterr().out.splitlines()]
        for line in (
            'target = "main.py" # TARGET',
            "threads = 2 # evserver.toml line 2: threads",
            "queue = 3 # EVSERVER_QUEUE",
            'max-body = "1MiB" # --max-body',
            'bind = [":80", ":81"] # --bind',
            "backlog = 2048 # default",
            'log-file = "" # default (stderr)',
            f'# Read from "{Path.cwd() / "evserver.toml"}" (current directory).',
        ):
            assert line in lines
        assert lines[-2:] == ["[app]", 'key = "v"']

    def test_it_is_a_file_that_gives_the_same(self, capfd: pytest.CaptureFixture[str]) -> None:
        arguments = "-w 3 --timeout 0.25 --no-patch --reload-dir a --reload-dir b,c --unix-mode 660 -b unix:ü x.py"
        assert cli.main([*arguments.split(), "--print-config"]) == 0
        first = capfd.readouterr().out
        assert tomllib.loads(first)["reload-dir"] == ["a", "b,c"]
        Path("again.toml").write_text(first)
        assert cli.main(["-c", "again.toml", "--print-config"]) == 0
        assert tomllib.loads(capfd.readouterr().out) == tomllib.loads(first)

    def test_as_json(self, capfd: pytest.CaptureFixture[str]) -> None:
        Path("evserver.toml").write_text("[app]\nday = 2026-01-02\n")
        assert cli.main(["--print-config=json", "-w", "3"]) == 0
        data = json.loads(capfd.readouterr().out)
        assert data["settings"]["workers"] == {"value": 3, "source": "--workers"}
        assert data["settings"]["bind"]["value"] == ["127.0.0.1:8000"]
        assert data["app"] == {"day": "2026-01-02"}

    def test_an_argument_that_is_no_text(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["a\udcff.py", "--print-config"]) == 0
        assert 'target = "a\\udcff.py"' in capfd.readouterr().out


class TestUsage:
    @pytest.mark.parametrize(
        ("argv", "error"),
        [
            ("", "no target; name what to serve, as in 'evserver main.py' (evserver --help shows more)"),
            ("x.py --worker 3", "unknown option --worker; did you mean '--workers'?"),
            ("x.py --wrokers=3", "unknown option --wrokers; did you mean '--workers'?"),
            ("x.py --zzz", "unknown option --zzz; evserver --help shows the options"),
            ("x.py -z", "unknown option -z; evserver --help shows the options"),
            ("x.py y.py", "one target at a time, and 'y.py' is a second one; serve a directory or a Router instead"),
            ("x.py -w", "-w/--workers: expected one argument (evserver --help shows the options)"),
            ("x.py -w many", "--workers: 'many' is not a whole number from 0 to 254"),
            ("x.py -b nowhere", "--bind: 'nowhere' has no port; write 'nowhere:8000'"),
            ("x.py -b :1 -b :1", "--bind: ':1' is named twice"),
            (
                "x.py --check --version",
                "--version: not allowed with argument --check (evserver --help shows the options)",
            ),
            (
                "--print-config=yaml",
                (
                    "--print-config: the one form besides the usual is --print-config=json "
                    "(evserver --help shows the options)"
                ),
            ),
            ("-c no.toml", "cannot read the configuration file 'no.toml': No such file or directory"),
            ("x.py --chdir no", "--chdir: cannot enter 'no': No such file or directory"),
        ],
    )
    def test_one_line_and_exit_2(self, argv: str, error: str, capfd: pytest.CaptureFixture[str]) -> None:
        assert refused(capfd, *argv.split()) == error

    def test_the_line_stays_one(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert refused(capfd, "--a\nb\x1b[31m").startswith("unknown option --a\\nb\\x1b[31m")

    def test_arguments_come_from_the_process(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(sys, "argv", ["evserver", "--version"])
        assert cli.main() == 0
        assert capfd.readouterr().out.startswith(f"evserver {evpy.__version__} (CPython ")

    @pytest.mark.parametrize("flag", ["--bind=-", "--access-log"])
    def test_a_dash_is_a_value(self, flag: str, capfd: pytest.CaptureFixture[str]) -> None:
        if flag == "--access-log":
            assert cli.main([flag, "-", "--print-config"]) == 0
        else:
            assert "has no port" in refused(capfd, flag)


class TestServing:
    def test_the_supervisor_gets_the_settings(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Settings] = []

        def serve(settings: Settings) -> int:
            given.append(settings)
            return 7

        serve_with(monkeypatch, "supervisor", serve)
        assert cli.main(["main.py", "-w", "3", "--log-file", "log"]) == 7
        assert given == [Settings(target="main.py", workers=3, log_file="log")]

    def test_without_workers_inline_mode_does(self, monkeypatch: pytest.MonkeyPatch) -> None:
        serve_with(monkeypatch, "inline", lambda settings: 5)
        assert cli.main(["main.py", "-w", "0"]) == 5

    def test_the_log_is_ready_and_the_directory_is_changed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def serve(settings: Settings) -> int:
            logs.event(logging.getLogger("evpy.x"), logging.WARNING, "hello")
            logs.event(logging.getLogger("evpy.x"), logging.INFO, "unheard")
            return 0

        serve_with(monkeypatch, "supervisor", serve)
        Path("sub").mkdir()
        Path("evserver.toml").write_text(
            "chdir = 'sub'\nlog-file = 'log'\nlog-format = 'json'\nlog-level = 'warning'\n"
        )
        assert cli.main(["main.py"]) == 0
        (line,) = Path("log").read_text().splitlines()
        assert Path.cwd().name == "sub"
        assert (json.loads(line)["role"], json.loads(line)["message"]) == ("supervisor", "hello")

    def test_a_failed_start_is_one_line_and_exit_3(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def serve(settings: Settings) -> int:
            raise StartupError("cannot listen")

        serve_with(monkeypatch, "supervisor", serve)
        assert refused(capfd, "main.py", code=3) == "cannot listen"
        assert refused(capfd, "main.py", "--log-file", "log", code=3) == "cannot listen"
        assert Path("log").read_text().endswith(" evpy.server.cli: cannot listen\n")

    def test_a_log_that_cannot_be_written_is_one_too(self, capfd: pytest.CaptureFixture[str]) -> None:
        assert refused(capfd, "main.py", "--log-file", "no/log", code=3).startswith("cannot write the log to 'no/log'")

    def test_a_bug_of_ours_has_its_traceback_in_the_log(
        self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def serve(settings: Settings) -> int:
            raise KeyError("oops")

        serve_with(monkeypatch, "supervisor", serve)
        text = refused(capfd, "main.py", "--log-file", "log", code=1)
        assert text == "internal error (KeyError); the log has the traceback, please report it"
        assert "KeyError: 'oops'" in Path("log").read_text()

    def test_an_interrupt_is_quiet(self, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
        def serve(settings: Settings) -> int:
            raise KeyboardInterrupt

        serve_with(monkeypatch, "supervisor", serve)
        assert cli.main(["main.py"]) == 128 + signal.SIGINT
        assert capfd.readouterr() == ("", "")


BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}


def run(
    *argv: str, code: str = "from evpy.server.cli import main; sys.exit(main(sys.argv[1:]))"
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-c", "import sys; " + code, *argv], capture_output=True, text=True, check=False, timeout=60
    )
    return done.returncode, done.stdout, done.stderr


class TestProcess:
    @pytest.mark.parametrize("argument", ["--help", "--version", "--print-config", "--print-config=json"])
    def test_looking_does_not_load_the_runtime(self, argument: str) -> None:
        code = """
from evpy.server.cli import main
assert main(sys.argv[1:]) == 0
heavy = {"gevent", "greenlet", "evpy._core", "logging", "asyncio", "ssl", "evpy.server.supervisor"} & set(sys.modules)
sys.exit(f"loaded: {sorted(heavy)}" if heavy else 0)
"""
        status, out, err = run(argument, code=code)
        assert (status, err) == (0, "")
        assert out

    def test_python_dash_m(self) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "evpy", "--nonsense"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "evserver: error: unknown option --nonsense; evserver --help shows the options\n"

    @pytest.mark.parametrize("argument", ["--version", "--help"])  # less and more than Python buffers
    def test_a_reader_that_leaves_early(self, argument: str) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        with os.fdopen(writer, "w") as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "evpy", argument],
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=BUFFERED,
                check=False,
                timeout=60,
            )
        assert (done.returncode, done.stderr) == (0, b"")

    @pytest.mark.parametrize("argument", ["--version", "--help"])  # less and more than Python buffers
    def test_a_full_disk(self, argument: str) -> None:
        with open("/dev/full", "w") as stdout:
            done = subprocess.run(
                [sys.executable, "-m", "evpy", argument],
                stdout=stdout,
                stderr=subprocess.PIPE,
                env=BUFFERED,
                check=False,
                timeout=60,
            )
        assert done.returncode == 1
        assert done.stderr == b"evserver: error: cannot write to stdout: No space left on device\n"

    @pytest.mark.parametrize("stream", ["1", "2"])
    def test_closed_streams(self, stream: str) -> None:
        done = subprocess.run(
            [
                "/bin/sh",
                "-c",
                f'exec "$0" -m evpy "$1" {stream}>&-',
                sys.executable,
                "--help" if stream == "1" else "-x",
            ],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0 if stream == "1" else 2, "", "")


class TestCheck:
    def test_a_good_target(self) -> None:
        Path("main.py").write_text(
            "import time\nassert 'gevent' in time.sleep.__module__\ndef handle(request): return ''\n"
        )
        status, out, err = run("--check", "main.py")
        assert (status, err) == (0, "")
        assert out == "evserver: the settings are fine, and main.py can be loaded (its on_start was not run)\n"

    def test_without_patching(self) -> None:
        Path("main.py").write_text("import time\nassert time.sleep.__module__ == 'time'\ndef handle(r): return ''\n")
        assert run("--check", "--no-patch", "main.py")[0] == 0

    def test_a_missing_target(self) -> None:
        status, out, err = run("--check", "nix.py")
        assert (status, out) == (3, "")
        assert re.fullmatch(r"evserver: error: nix\.py: no such file .*\n", err)

    def test_a_target_that_fails_shows_its_own_traceback(self) -> None:
        Path("main.py").write_text("def f(): return 1 / 0\nf()\n")
        status, out, err = run("--check", "main.py")
        assert (status, out) == (3, "")
        *trace, line = err.splitlines()
        assert line.startswith("evserver: error: main.py:1: ZeroDivisionError: division by zero")
        assert trace[0] == "Traceback (most recent call last):"
        assert {re.findall(r'File "(.*)"', text)[0] for text in trace if "File" in text} == {
            str(Path.cwd() / "main.py")
        }

    def test_settings_first(self) -> None:
        assert run("--check", "nix.py", "-w", "x")[0] == 2

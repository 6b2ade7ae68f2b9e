"""Inline mode as a process of its own: serving, stopping, and replacing itself."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

import pytest
from serving import Answer, Client, Load, Server
from serving.watching import watches

from evpy.server.inline import problem_with
from evpy.server.settings import Settings

APP = """
import os
import time

FOLDER = os.environ["EVPY_TEST_FOLDER"]
VERSION = 1

def note(name):
    with open(f"{FOLDER}/{name}", "a") as file:
        file.write(f"{VERSION}")

def on_stop():
    note("stopped")

def handle(request):
    if request.path == "/sleep":
        note("sleeping")
        time.sleep(float(request.query["seconds"]))
    if request.path == "/burn":
        while not os.path.exists(f"{FOLDER}/enough"):
            pass
    return f"version {VERSION}"
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the application leaves notes; its script is main.py in there."""
    monkeypatch.setenv("EVPY_TEST_FOLDER", str(tmp_path))
    # Bytecode is recognised by time in seconds and size of its source; these tests change digits within one second.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    (tmp_path / "main.py").write_text(APP)
    return tmp_path


def version(number: int) -> str:
    return APP.replace("VERSION = 1", f"VERSION = {number}")


def put(folder: Path, text: str) -> None:
    """Another main.py at one stroke, as editors do: who watches the folder never sees the half of it."""
    (folder / "main.new").write_text(text)
    os.replace(folder / "main.new", folder / "main.py")


def in_background(server: Server, target: str) -> tuple[threading.Thread, list[Answer]]:
    answers: list[Answer] = []

    def run() -> None:
        with contextlib.suppress(OSError, EOFError):
            answers.append(server.get(target))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, answers


def test_it_serves_in_one_process_and_stops_when_all_is_answered(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0", "--pid", str(folder / "pid")) as server:
        assert server.get("/").body == b"version 1"
        assert server.children() == {}
        assert (folder / "pid").read_text() == f"{server.pid}\n"
        thread, answers = in_background(server, "/sleep?seconds=0.3")
        server.wait_until((folder / "sleeping").exists, "the request is in work")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        thread.join()
        assert [answer.status for answer in answers] == [200]
        assert (folder / "stopped").read_text() == "1"
    assert not (folder / "pid").exists()


def test_many_requests_at_once(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0") as server:
        with Load(server.address, threads=4) as load:
            load.more(500)
        assert (load.failures, set(load.answers)) == ([], {200})
        with server.client() as client:  # pipelined: answered in order, without a pause between them
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n" * 100)
            assert {client.answer().status for _ in range(100)} == {200}


def test_second_sigint_stops_now(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0") as server:
        in_background(server, "/sleep?seconds=1000")
        server.wait_until((folder / "sleeping").exists, "the request is in work")
        server.signal(signal.SIGINT)
        server.wait_log("draining why=SIGINT")
        server.signal(signal.SIGINT)
        assert server.wait() == 0
    assert not (folder / "stopped").exists()


def test_after_the_grace_time_it_stops(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0", "--grace", "0.1") as server:
        in_background(server, "/sleep?seconds=1000")
        server.wait_until((folder / "sleeping").exists, "the request is in work")
        server.signal(signal.SIGTERM)
        assert server.wait() == 0
        server.wait_log("the grace time is over")
    assert (folder / "stopped").read_text() == "1"


def test_a_script_that_cannot_be_loaded_is_exit_3(folder: Path) -> None:
    (folder / "main.py").write_text("def handle(request:\n")
    with Server(folder / "main.py", "-w", "0", ready=False, exit_code=3) as server:
        assert server.wait() == 3
        server.wait_log(r"evserver: error: .*main\.py:1: SyntaxError: ")


def test_a_blocked_hub_is_logged_with_stack_and_request(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0", "--watchdog", "0.2") as server:
        thread, answers = in_background(server, "/burn")
        (line,) = server.wait_log("a scheduler thread is blocked .*")
        assert 'request="GET /burn"' in line
        server.wait_log(r'main\.py", line \d+, in handle')
        (folder / "enough").touch()
        server.wait_log("a scheduler thread has come round again")
        thread.join()
        assert [answer.status for answer in answers] == [200]


def test_sighup_replaces_the_program_and_keeps_its_sockets(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0") as server:
        waiting = Client(server.address)
        waiting.send(b"GET /sleep?seconds=0.2 HTTP/1.1\r\nHost: test\r\n\r\n")
        server.wait_until((folder / "sleeping").exists, "the request is in work")
        (folder / "main.py").write_text(version(2))
        server.signal(signal.SIGHUP)
        server.wait_log("draining why=SIGHUP")
        with Client(server.address) as early:  # before the next program runs: waits in the socket's queue
            assert waiting.answer().body == b"version 1"
            assert early.get("/").status == 200
        waiting.close()
        server.wait_log("ready listening", 2)
        assert server.get("/").body == b"version 2"
        assert (folder / "stopped").read_text() == "1"


def test_a_changed_file_reloads_and_a_broken_one_does_not(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0", "--reload") as server:
        server.wait_until(lambda: _watches(server, folder), "the folder is watched")
        put(folder, "def handle(request:\n")
        (line,) = server.wait_log("reload failed, the old program stays .*")
        assert "SyntaxError" in line
        assert server.get("/").body == b"version 1"
        put(folder, version(2))
        server.wait_log("ready listening", 2)
        assert server.get("/").body == b"version 2"


def test_after_a_reload_a_script_that_fails_is_waited_for(folder: Path) -> None:
    with Server(folder / "main.py", "-w", "0", "--reload") as server:
        server.wait_until(lambda: _watches(server, folder), "the folder is watched")
        put(folder, "raise ValueError('not yet')\n")
        (line,) = server.wait_log("reload failed, waiting for a change .*")
        assert "ValueError: not yet" in line
        server.wait_until(lambda: _watches(server, folder), "the folder is watched again")
        put(folder, version(3))
        server.wait_log("ready listening", 2)
        assert server.get("/").body == b"version 3"


class TestProblemWith:
    def settings(self) -> Settings:
        return Settings(target="main.py", workers=0)

    def test_syntax(self, tmp_path: Path) -> None:
        (tmp_path / "bad.py").write_text("x = = 1\n")
        problem = problem_with([str(tmp_path / "bad.py")], self.settings())
        assert problem is not None
        assert re.fullmatch(r".*bad\.py:1: SyntaxError: .*", problem)

    def test_what_is_right_or_gone_or_no_python_is_no_problem(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("sys.argv", ["evserver", "main.py", "-w", "0"])
        (tmp_path / "good.py").write_text("x = 1\n")
        (tmp_path / "evserver.toml").write_text("x = = 1\n")
        files = [str(tmp_path / name) for name in ("good.py", "gone.py", "evserver.toml")]
        assert problem_with(files, self.settings()) is None

    def test_settings(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        config = tmp_path / "evserver.toml"
        config.write_text('timeout = "much"\n')
        monkeypatch.setattr("sys.argv", ["evserver", "main.py", "-w", "0", "-c", str(config)])
        problem = problem_with([], Settings(target="main.py", workers=0, config=str(config)))
        assert problem is not None
        assert "timeout" in problem


def _watches(server: Server, folder: Path) -> bool:
    """Whether the watching process of --reload is at work."""
    return any(watches(pid, folder) for pid, line in server.children().items() if "evpy.server.reload" in line)

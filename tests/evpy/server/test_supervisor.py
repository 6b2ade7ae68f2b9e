"""The supervisor with real processes: start, stop, reload, crashes, replacement. Nothing sleeps to wait for something:
conditions are waited for, in the log or among the processes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Answer, Client, Load, Server
from serving.client import PATIENCE
from serving.watching import watches

from evpy.server import status

APP = """
import ctypes
import os
import signal
import time

FOLDER = os.environ.get("EVPY_TEST_FOLDER", "")
VERSION = 1

def note(name):
    with open(f"{FOLDER}/{name}.{os.getpid()}", "w") as file:
        file.write("x")

def on_start():
    note("started")

def on_stop():
    note("stopped")

def handle(request):
    path = request.path
    if path == "/pid":
        return str(os.getpid())
    if path == "/sleep":
        note("sleeping")
        time.sleep(float(request.query["seconds"]))
        return "slept"
    if path == "/hold":
        note("sleeping")
        while not os.path.exists(f"{FOLDER}/enough"):
            time.sleep(0.01)
        return "held"
    if path == "/die":  # each worker that gets it dies, until the file is gone
        try:
            os.unlink(f"{FOLDER}/deadly")
        except FileNotFoundError:
            return "survived"
        os.kill(os.getpid(), getattr(signal, request.query.get("by", "SIGKILL")))
    if path == "/exit":
        os._exit(7)
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


def notes(folder: Path, name: str) -> list[int]:
    return sorted(int(path.suffix[1:]) for path in folder.glob(f"{name}.*"))


class Pending:
    """A request that is under way in the background."""

    def __init__(self, server: Server, target: str, method: str = "GET") -> None:
        self.result: Answer | Exception | None = None
        self._thread = threading.Thread(target=self._run, args=(server, target, method), daemon=True)
        self._thread.start()

    def _run(self, server: Server, target: str, method: str) -> None:
        try:
            with server.client() as client:
                self.result = client.get(target) if method == "GET" else client.post(target, b"")
        except (OSError, EOFError) as error:
            self.result = error

    def wait(self) -> Answer | Exception | None:
        self._thread.join(PATIENCE)
        return self.result

    def status(self) -> int:
        result = self.wait()
        assert isinstance(result, Answer), result
        return result.status


def refused(server: Server) -> bool:
    try:
        Client(server.address).close()
    except ConnectionRefusedError:
        return True
    return False


def settled(server: Server, workers: int) -> list[int]:
    """Waits until there are exactly so many worker processes; returns their pids."""
    server.wait_until(lambda: len(server.workers()) == workers, f"{workers} workers, not {server.workers()}")
    return sorted(server.workers())


class TestStartAndStop:
    def test_it_serves_says_so_and_stops_cleanly(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2", "--pid", str(folder / "pid")) as server:
            (line,) = server.wait_log(r"evpy.server.supervisor: ready .*")
            assert f"listening=127.0.0.1:{server.port}" in line
            assert "workers=2" in line
            assert server.get("/").body == b"version 1"
            assert (folder / "pid").read_text() == f"{server.pid}\n"
            workers = sorted(server.workers())
            assert notes(folder, "started") == workers
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            assert notes(folder, "stopped") == workers, "on_stop runs once in each worker"
            server.wait_log("stopped seconds=")
        assert not (folder / "pid").exists()

    def test_requests_before_the_first_worker_is_ready_wait_for_it(self, folder: Path) -> None:
        slow = f"import os, time\nwhile not os.path.exists('{folder}/go'): time.sleep(0.01)\n"
        (folder / "main.py").write_text(slow + APP)
        with Server(folder / "main.py", "-w", "1", ready=False) as server:
            server.wait_until(lambda: not refused(server), "the gateway listens")
            pending = Pending(server, "/")
            assert "ready" not in server.log
            (folder / "go").touch()
            assert pending.status() == 200

    def test_sigterm_answers_what_is_open(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server:
            pending = [Pending(server, "/hold") for _ in range(4)]
            server.wait_until(lambda: notes(folder, "sleeping"), "a request is in work")
            server.wait_until(lambda: _active(server) == 4, "all are in work")
            server.signal(signal.SIGTERM)
            server.wait_until(lambda: refused(server), "no new connections")
            (folder / "enough").touch()
            assert [each.status() for each in pending] == [200] * 4
            assert server.wait() == 0
        assert len(notes(folder, "stopped")) == 2

    def test_it_can_be_stopped_while_it_starts(self, folder: Path) -> None:
        slow = "note('loading')\nwhile not os.path.exists(f'{FOLDER}/go'): time.sleep(0.01)\n"
        (folder / "main.py").write_text(f"{APP}\n{slow}")
        with Server(folder / "main.py", "-w", "1", ready=False) as server:
            server.wait_until(lambda: notes(folder, "loading"), "the script is being loaded")
            server.signal(signal.SIGTERM)
            server.wait_log("draining why=SIGTERM")
            (folder / "go").touch()
            assert server.wait() == 0
            assert "worker started" not in server.log
        assert notes(folder, "started") == notes(folder, "stopped"), "a worker that has started stops in order"

    def test_second_sigint_stops_now(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server:
            pending = Pending(server, "/sleep?seconds=1000")
            server.wait_until(lambda: notes(folder, "sleeping"), "the request is in work")
            server.signal(signal.SIGINT)
            server.wait_log("draining why=SIGINT")
            server.signal(signal.SIGINT)
            assert server.wait() == 0
            assert isinstance(pending.wait(), (OSError, EOFError))
        assert notes(folder, "stopped") == []

    def test_after_the_grace_time_it_says_who_was_late_and_stops(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1", "--grace", "0.2") as server:
            pending = Pending(server, "/sleep?seconds=1000")
            server.wait_until(lambda: notes(folder, "sleeping"), "the request is in work")
            server.signal(signal.SIGTERM)
            assert server.wait() == 0
            server.wait_log("the grace time is over")
            (line,) = server.wait_log("killing a worker .*")
            assert "GET /sleep?seconds=1000" in line
            server.wait_log(r'main\.py", line \d+, in handle')  # the greenlet, which waits
            assert "overdue" in server.wait_log("stopped seconds=.*")[0]
            answer = pending.wait()
            assert isinstance(answer, Answer)
            assert answer.status == 503

    def test_nobody_outlives_a_killed_supervisor(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2", exit_code=-signal.SIGKILL) as server:
            children = list(server.children())
            server.signal(signal.SIGKILL)
            server.wait()
            server.wait_until(lambda: not any(map(_running, children)), "gateway and workers are gone")

    @pytest.mark.parametrize("workers", ["0", "1"])
    def test_it_ends_with_its_terminal(self, folder: Path, workers: str) -> None:
        ours, theirs = os.openpty()
        evserver = Path(sys.executable).with_name("evserver")
        command = [str(evserver), "-c", "", "-b", "127.0.0.1:0", "-w", workers, str(folder / "main.py")]
        # what a terminal emulator does; under nohup the hang-up would be ignored
        terminal = ["env", "--default-signal=HUP", "setsid", "--ctty"]
        with subprocess.Popen([*terminal, *command], stdin=theirs, stderr=subprocess.PIPE) as process:
            os.close(theirs)
            assert process.stderr is not None
            log = b""
            while b"ready" not in log:
                log += process.stderr.readline()
            os.close(ours)
            assert b'draining why="lost terminal"' in process.stderr.read()
            assert process.wait(20) == 0

    def test_a_second_server_with_the_same_pid_file_is_refused(self, folder: Path) -> None:
        pid = ("--pid", str(folder / "pid"))
        with Server(folder / "main.py", "-w", "1", *pid) as server:
            with Server(folder / "main.py", "-w", "1", *pid, ready=False, exit_code=3) as second:
                assert second.wait() == 3
                second.wait_log(rf"evserver: error: process {server.pid} is running with the pid file")
            assert server.get("/").status == 200
            assert (folder / "pid").read_text() == f"{server.pid}\n"


class TestFailingStart:
    def run(self, folder: Path, source: str, *options: str) -> str:
        (folder / "main.py").write_text(source)
        with Server(folder / "main.py", "-w", "2", *options, ready=False, exit_code=3) as server:
            assert server.wait() == 3
            server.wait_log("end of log")
            assert refused(server)
            return server.log.removesuffix("\n[end of log]\n")

    def test_a_syntax_error_is_one_line(self, folder: Path) -> None:
        log = self.run(folder, "def handle(request:\n")
        errors = [line for line in log.splitlines() if " INFO " not in line]
        assert len(errors) == 1, log
        assert re.fullmatch(r"evserver: error: .*main\.py:1: SyntaxError: .*", errors[0])

    def test_an_exception_is_one_line_and_the_frames_of_the_application(self, folder: Path) -> None:
        log = self.run(folder, "def on_start():\n    raise ValueError('no database')\ndef handle(request): pass\n")
        assert re.search(r"evserver: error: .*main\.py:2: ValueError: no database \(in on_start\(\) of .*\)$", log)
        assert "raise ValueError" in log
        assert "evpy/server" not in log.replace("evpy.server", "")

    def test_a_worker_that_dies_while_it_starts_is_a_failure(self, folder: Path) -> None:
        log = self.run(folder, "import os\nos._exit(5)\n")
        assert "evserver: error: exit code 5 while it was starting" in log

    def test_a_worker_that_takes_too_long_is_a_failure_with_its_stack(self, folder: Path) -> None:
        source = "import time\ndef on_start():\n    time.sleep(1000)\ndef handle(request): pass\n"
        log = self.run(folder, source, "--start-timeout", "3", "--no-patch")  # until it gets there, on any machine
        assert "evserver: error: not ready after 3 s (start-timeout)" in log
        assert re.search(r'File ".*main\.py", line 3 in on_start', log)

    def test_an_address_in_use_is_one_line(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server:
            with Server(folder / "main.py", "-b", f"127.0.0.1:{server.port}", ready=False, exit_code=3) as second:
                assert second.wait() == 3
                second.wait_log(r"evserver: error: cannot listen on .*: the address is in use")
            assert server.get("/").status == 200


class TestReload:
    def test_sighup_in_a_loop_under_load_loses_nothing(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server, Load(server.address) as load:
            load.more(50)
            first = server.workers()
            for version in range(2, 6):
                (folder / "main.py").write_text(APP.replace("VERSION = 1", f"VERSION = {version}"))
                server.signal(signal.SIGHUP)
                server.wait_log("reload done", version - 1)
            load.more(50)
            last = settled(server, 2)
        assert load.failures == []
        assert set(load.answers) == {200}
        assert b"version 5" in load.bodies
        assert not set(first) & set(last)
        assert len(notes(folder, "stopped")) == 10

    def test_a_broken_script_keeps_the_old_workers(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server:
            workers = settled(server, 2)
            (folder / "main.py").write_text("def handle(request:\n")
            server.signal(signal.SIGHUP)
            (line,) = server.wait_log("reload failed, the old workers stay.*")
            assert "SyntaxError" in line
            assert server.get("/").body == b"version 1"
            assert settled(server, 2) == workers
            (folder / "main.py").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
            server.signal(signal.SIGHUP)
            server.wait_log("worker retired", 2)
            assert server.get("/").body == b"version 2"

    def test_the_configuration_is_read_again(self, folder: Path) -> None:
        config = folder / "evserver.toml"
        config.write_text('workers = 1\ntimeout = 30\nlog-level = "info"\n')
        with Server(folder / "main.py", "-c", str(config)) as server:
            assert server.get("/sleep?seconds=0.3").status == 200
            config.write_text('workers = 1\ntimeout = "much"\n')
            server.signal(signal.SIGHUP)
            (line,) = server.wait_log("reload failed, the old workers stay.*")
            assert "line 2: timeout" in line
            config.write_text("workers = 3\ntimeout = 0.1\n")
            server.signal(signal.SIGHUP)
            (line,) = server.wait_log("need a restart .*")
            assert "settings=workers" in line
            server.wait_log("reload done")
            server.wait_until(lambda: server.get("/sleep?seconds=0.3").status == 504, "the new timeout applies")
            assert len(settled(server, 1)) == 1

    def test_a_changed_file_reloads(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1", "--reload") as server:
            server.wait_until(lambda: _watches(server, folder), "the folder is watched")
            (folder / "main.new").write_text(APP.replace("VERSION = 1", "VERSION = 2"))
            os.replace(folder / "main.new", folder / "main.py")  # as editors do: nobody sees the half of it
            server.wait_log(r"files have changed files=.*main\.py")
            server.wait_log("worker retired")
            assert server.get("/").body == b"version 2"


class TestCrashes:
    def test_what_is_idempotent_is_run_again_and_the_worker_replaced(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server:
            (folder / "deadly").touch()
            assert server.get("/die?by=SIGSEGV").body == b"survived"
            (line,) = server.wait_log("worker crashed .*")
            assert "killed by SIGSEGV" in line
            assert "GET /die?by=SIGSEGV" in line
            server.wait_log(r'File ".*main\.py", line \d+ in handle')  # the last stack of the dead
            settled(server, 2)
            server.wait_log("worker started", 3)
            assert server.get("/").status == 200

    def test_what_is_not_is_answered_502(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server:
            assert Pending(server, "/exit", "POST").status() == 502
            (line,) = server.wait_log("worker crashed .*")
            assert "exit code 7" in line
            server.wait_log("worker started", 2)
            assert server.get("/").status == 200

    def test_killed_workers_are_replaced_under_load(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server, Load(server.address) as load:
            for round in range(1, 4):
                load.more(20)
                os.kill(int(server.get("/pid").body), signal.SIGKILL)
                server.wait_log("worker started", 2 + round)
            load.more(20)
        assert load.failures == []
        assert set(load.answers) == {200}

    def test_a_crash_loop_is_slowed_down(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server:
            for _ in range(3):
                assert Pending(server, "/exit", "POST").status() == 502
            server.wait_log("worker crashed", 3)
            pauses = [float(pause) for pause in re.findall(r"restart_in=([\d.]+)", server.log)]
            assert pauses == [0.0, 0.1, 0.2]

    def test_the_gateway_is_replaced_and_the_workers_stay(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "2") as server:
            workers = settled(server, 2)
            os.kill(server.gateway(), signal.SIGKILL)
            (line,) = server.wait_log("gateway crashed .*")
            assert "killed by SIGKILL" in line
            server.wait_until(lambda: _answers(server), "it serves again")
            assert settled(server, 2) == workers


class TestReplacement:
    def test_after_max_requests_one_at_a_time_without_a_failure(self, folder: Path) -> None:
        options = ("--max-requests", "50", "--max-requests-jitter", "10")
        with Server(folder / "main.py", "-w", "2", *options) as server, Load(server.address) as load:
            first = server.workers()
            server.wait_log("worker retired .*max-requests", 3)
            server.wait_until(lambda: not set(first) & set(server.workers()), "all have been replaced")
        assert load.failures == []
        assert set(load.answers) == {200}

    def test_above_max_memory(self, folder: Path) -> None:
        hog = "import os\nkept = []\ndef handle(request):\n    kept.append(bytearray(40 << 20))\n"
        (folder / "main.py").write_text(hog + "    return str(os.getpid())\n")
        with Server(folder / "main.py", "-w", "1", "--max-memory", "50M") as server:
            before = server.get("/").body
            server.wait_log("worker retired .*max-memory")
            assert server.get("/").body != before

    def test_max_memory_that_no_worker_can_keep_is_ignored(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1", "--max-memory", "1M") as server:
            server.wait_log("max-memory is less than a worker needs")
            assert len(settled(server, 1)) == 1

    def test_sigterm_to_a_worker_brings_another_one_first(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server, Load(server.address) as load:
            (old,) = server.workers()
            os.kill(old, signal.SIGTERM)
            server.wait_log("worker retired .*SIGTERM")
            load.more(10)
            assert server.workers() != [old]
        assert load.failures == []


BLOCKING = """
import os
import time

FOLDER = os.environ["EVPY_TEST_FOLDER"]

def rate():
    begin = time.perf_counter()
    sum(range(1000000))
    return 1000000 / (time.perf_counter() - begin)

RATE = max(rate() for _ in range(3))

def burn():
    while not os.path.exists(f"{FOLDER}/enough"):
        pass

def handle(request):
    if request.path == "/burn":
        burn()
    if request.path == "/hold":
        sum(range(int(RATE * 1000)))  # in C from beginning to end
    return "done"
"""


@pytest.fixture
def blocking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("EVPY_TEST_FOLDER", str(tmp_path))
    path = tmp_path / "main.py"
    path.write_text(BLOCKING)
    return path


class TestWatchdog:
    def test_a_busy_loop_is_logged_with_stack_and_request_and_the_others_go_on(self, blocking: Path) -> None:
        with Server(blocking, "-w", "1", "--watchdog", "0.3") as server:
            pending = Pending(server, "/burn")
            (line,) = server.wait_log("a scheduler thread is blocked .*")
            assert 'request="GET /burn"' in line
            age = re.search(r"age=([\d.]+)", line)
            assert age is not None
            assert float(age[1]) >= 0.3
            server.wait_log(r'main\.py", line \d+, in burn')
            assert server.get("/").status == 200, "another thread stands in"
            assert pending.result is None, "the blocked one is still at it"
            (blocking.parent / "enough").touch()
            assert pending.status() == 200
            server.wait_log("a scheduler thread has come round again")
            server.wait_until(lambda: _threads(server) == [0], "the stand-in leaves")
            assert server.get("/").status == 200
            assert len(re.findall("is blocked", server.log)) == 1

    def test_a_call_that_keeps_the_interpreter_lock_is_logged_with_its_stack(self, blocking: Path) -> None:
        with Server(blocking, "-w", "2", "--watchdog", "0.3") as server:
            pending = Pending(server, "/hold", "POST")
            (line,) = server.wait_log("a worker is blocked and holds the interpreter lock .*")
            assert 'request="POST /hold"' in line
            server.wait_log(r'main\.py", line \d+ in handle')
            assert server.get("/").status == 200, "the other worker goes on"
            match = re.search(r"worker_pid=(\d+)", line)
            assert match is not None
            os.kill(int(match[1]), signal.SIGKILL)
            assert pending.status() == 502

    def test_above_the_hard_limit_the_process_is_replaced_first_and_killed_then(self, blocking: Path) -> None:
        with Server(blocking, "-w", "1", "--watchdog", "0.5", "--watchdog-kill", "3") as server:
            (old,) = server.workers()
            pending = Pending(server, "/hold", "POST")
            server.wait_log("killing a worker .*watchdog-kill")
            server.wait_log("worker killed")
            assert pending.status() == 502
            assert server.get("/").status == 200
            assert old not in server.workers()
            order = re.findall("holds the interpreter lock|worker started|killing a worker|worker killed", server.log)
            assert order == [
                "worker started",
                "holds the interpreter lock",
                "worker started",
                "killing a worker",
                "worker killed",
            ]

    def test_a_stopped_process_is_noticed_and_replaced(self, blocking: Path) -> None:
        with Server(blocking, "-w", "1", "--watchdog", "0.3", "--watchdog-kill", "1.5") as server:
            (old,) = server.workers()
            os.kill(old, signal.SIGSTOP)
            server.wait_log("a worker does not run ")
            server.wait_log("worker killed .*has not run for")
            assert server.get("/").status == 200

    def test_a_process_that_is_stopped_for_a_moment_goes_on(self, blocking: Path) -> None:
        with Server(blocking, "-w", "1", "--watchdog", "0.3") as server:
            (worker,) = server.workers()
            os.kill(worker, signal.SIGSTOP)
            server.wait_log("a worker does not run ")
            os.kill(worker, signal.SIGCONT)
            server.wait_log("a worker runs again")
            assert server.get("/").status == 200
            assert server.workers() == [worker]


class TestThreads:
    def test_every_scheduler_thread_serves(self, tmp_path: Path) -> None:
        app = (
            "import time\nfrom gevent.monkey import get_original\nident = get_original('_thread', 'get_ident')\n"
            "def handle(request):\n    get_original('time', 'sleep')(0.05)\n    return str(ident())\n"
        )
        (tmp_path / "main.py").write_text(app)
        with Server(tmp_path / "main.py", "-w", "1", "-t", "3") as server:
            with Load(server.address, threads=6) as load:
                server.wait_until(lambda: len(load.bodies) >= 3, f"three threads have answered, not {load.bodies}")
                load.more(40)
            assert len(load.bodies) == 3
            assert set(load.answers) == {200}


class TestWorker:
    def test_programs_that_the_application_starts_inherit_nothing_of_ours(self, folder: Path) -> None:
        (folder / "main.py").write_text(
            "import subprocess, sys\n"
            "show = 'import os, signal; print(os.listdir(\"/proc/self/fd\"), signal.getsignal(signal.SIGINT), '\n"
            "show += 'signal.pthread_sigmask(0, []))'\n"
            "def handle(request):\n"
            "    return subprocess.check_output([sys.executable, '-c', show], close_fds=False)\n"
        )
        with Server(folder / "main.py", "-w", "1") as server:
            shown = server.get("/").body.decode()
        assert re.fullmatch(r"\['0', '1', '2', '\d+'\] <built-in function default_int_handler> set\(\)\n", shown), shown

    def test_arguments_are_those_of_the_application(self, folder: Path) -> None:
        (folder / "main.py").write_text("import sys\ndef handle(request): return sys.argv\n")
        with Server(folder / "main.py", "-w", "1") as server:
            assert server.get("/").json() == [str(folder / "main.py")]


class TestSignalsForPeople:
    def test_sigusr1_shows_the_state_of_the_server_and_the_stacks_of_a_worker(self, folder: Path) -> None:
        with Server(folder / "main.py", "-w", "1") as server:
            pending = Pending(server, "/hold")
            server.wait_until(lambda: notes(folder, "sleeping"), "the request is in work")
            server.signal(signal.SIGUSR1)
            assert "requests=1" in server.wait_log("status of the gateway .*")[0]
            assert "/hold" in server.wait_log("status of a worker .*")[0]
            os.kill(server.workers()[0], signal.SIGUSR1)
            server.wait_log(r'main\.py", line \d+, in handle')
            (folder / "enough").touch()
            assert pending.status() == 200


def _active(server: Server) -> int:
    return sum(worker["active"] for worker in status.of_process(server.pid)["workers"])


def _threads(server: Server) -> list[int]:
    (worker,) = status.of_process(server.pid)["workers"]
    return [thread["index"] for thread in worker["threads"]]


def _running(pid: int) -> bool:
    try:
        return not Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].startswith(" Z")
    except OSError:
        return False


def _answers(server: Server) -> bool:
    try:
        return server.get("/").status == 200
    except (OSError, EOFError):
        return False


def _watches(server: Server, folder: Path) -> bool:
    """Whether the watching process of --reload is at work."""
    return any(watches(pid, folder) for pid, line in server.children().items() if "evpy.server.reload" in line)

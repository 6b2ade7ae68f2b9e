"""evrun as a program: what python does, it does; what blocks in python, switches in evrun."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from evpy.runtime import evrun

EVRUN = [sys.executable, "-m", "evpy.runtime.evrun"]
LIMIT = 60  # seconds; a test that blocks has failed


def run(*args: str, python: bool = False, stdin: str = "", env: dict[str, str] | None = None, cwd: Path | None = None):
    command = [sys.executable] if python else EVRUN
    environment = os.environ | (env or {})
    if "PYTHONPATH" in environment and cwd is not None:
        environment["PYTHONPATH"] = os.path.abspath(environment["PYTHONPATH"])
    return subprocess.run(
        [*command, *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        env=environment,
        cwd=cwd,
        check=False,
    )


@pytest.fixture
def script(tmp_path):
    def write(text: str, name: str = "script.py") -> str:
        path = tmp_path / name
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


# ---------------------------------------------------------------- the same as python

SAME = {
    "identity": """
        import sys, __main__
        print(__name__, __file__, sys.argv, sys.path[0], sys.orig_argv[1:], __spec__, __doc__, __package__)
        print(sys._getframe().f_back, sorted(vars(__main__)))
        """,
    "pickle": """
        import pickle
        class Thing: pass
        print(type(pickle.loads(pickle.dumps(Thing()))) is Thing, Thing.__module__)
        """,
    "exit int": "import sys; sys.exit(7)",
    "exit text": "import sys; sys.exit('no good')",
    "exit none": "import sys; sys.exit(None)",
    "exit large": "import sys; sys.exit(300)",
    "exit in a nested call with atexit": """
        import atexit, sys
        atexit.register(print, 'atexit')
        try:
            sys.exit(3)
        finally:
            print('finally')
        """,
    "exception": """
        def inner(x):
            return 1 / x
        def outer():
            try:
                inner(0)
            except ZeroDivisionError as error:
                raise ValueError('outer') from error
        outer()
        """,
    "syntax error": "def broken(:\n    pass\n",
    "own excepthook": """
        import sys
        sys.excepthook = lambda kind, value, tb: print(kind, tb.tb_frame.f_code.co_name, tb.tb_frame.f_back)
        raise KeyError(1)
        """,
    "printed stack": "import traceback; traceback.print_stack()",
    "warning of the caller's caller": "import warnings; warnings.warn('old', stacklevel=2)",
    "exit in a thread": """
        import sys, threading
        thread = threading.Thread(target=sys.exit, args=(4,))
        thread.start(); thread.join(); print('main goes on')
        """,
    "non-daemon threads are waited for": """
        import threading, time
        def work():
            time.sleep(0.01); print('worked')
        threading.Thread(target=work).start()
        """,
    "clean environment": """
        import os, subprocess, sys
        names = sorted(name for name in os.environ if 'PYTHON' in name or 'EVRUN' in name)
        print(names, os.environ.get('PYTHONPATH'), [entry for entry in sys.path if 'boot' in entry], sys.path)
        child = "import sys, time; print(time.sleep, 'gevent' in sys.modules)"
        print(subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout)
        """,
    "killed by SIGINT": "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nfor i in range(10**9): pass",
    "kills itself": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "multiprocessing": """
        import multiprocessing
        def show(x): print(x, __name__, flush=True)
        if __name__ == '__main__':
            process = multiprocessing.get_context('spawn').Process(target=show, args=(1,))
            process.start(); process.join(); print(process.exitcode)
        """,
    "broken pipe at exit": """
        import os, sys
        reader, writer = os.pipe()
        os.close(reader); os.dup2(writer, 1)
        print('x' * 100)
        """,
}


@pytest.mark.parametrize("name", SAME)
def test_a_script_cannot_tell_the_difference(script, name):
    path = script(SAME[name])
    arguments = [path, "-h", "--threads", "9", "", "--", "-c", "ä b"]
    expected, got = run(*arguments, python=True), run(*arguments)
    assert got.stderr == expected.stderr
    assert got.stdout == expected.stdout
    assert got.returncode == expected.returncode


@pytest.mark.parametrize(
    "arguments",
    [
        ["-c", "import sys; print(sys.argv, __name__, sys.path[0])", "-x", "--no-patch"],
        ["-cprint(1)"],
        ["-c", "raise ValueError('x')"],
        ["-m", "module", "-m", "--help"],
        ["-mmodule"],
        ["-m", "nomodule_at_all"],
        ["-", "a", "-b"],
        ["--", "script.py", "--", "-u"],
        ["-Wdefault", "-uO", "-X", "dev", "-B", "script.py", "-W"],
        ["-W", "error", "script.py"],
        ["-OO", "-P", "script.py"],
        ["directory", "1"],
        ["empty"],
    ],
    ids=" ".join,
)
def test_ways_to_name_the_program_are_those_of_python(tmp_path, arguments):
    show = (
        "import sys\nprint(sys.argv, __name__, globals().get('__file__'), sys.path[0])\n"
        "print(sys.flags, sys.warnoptions, sys._xoptions)\n"
        "import warnings; warnings.warn('w')\nassert not print('asserted')\n"
    )
    (tmp_path / "script.py").write_text(show)
    (tmp_path / "module.py").write_text(show)
    (tmp_path / "empty").mkdir()
    (tmp_path / "directory").mkdir()
    (tmp_path / "directory" / "__main__.py").write_text(show)
    expected = run(*arguments, python=True, stdin=show, cwd=tmp_path)
    got = run(*arguments, stdin=show, cwd=tmp_path)
    assert (got.returncode, got.stdout, got.stderr) == (expected.returncode, expected.stdout, expected.stderr)


def interrupt(command: list[str], path: str) -> tuple[int, str]:
    with subprocess.Popen([*command, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=LIMIT)
        return process.returncode, errors


def test_ctrl_c_while_the_script_waits(script):
    path = script("""
        import time
        def wait():
            print('ready', flush=True)
            time.sleep(100)
        wait()
        """)
    status, errors = interrupt(EVRUN, path)
    assert status == -signal.SIGINT == interrupt([sys.executable], path)[0]
    lines = errors.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert [line.split(", ")[-1] for line in lines if path in line] == ["in <module>", "in wait"]
    assert lines[-1] == "KeyboardInterrupt"
    assert errors.count("KeyboardInterrupt") == 1


def test_ctrl_c_can_be_caught_and_reaches_the_main_program_from_any_greenlet(script):
    path = script("""
        import evpy.runtime.tasks as evpy
        def burn():
            print('ready', flush=True)
            while True: pass
        task = evpy.spawn(burn)
        try:
            evpy.sleep(100)
        except KeyboardInterrupt:
            raise SystemExit(5)
        """)
    assert interrupt(EVRUN, path) == (5, "")


def test_sys_exit_in_a_spawned_task_ends_the_script(script):
    path = script("""
        import atexit, sys, time
        import evpy.runtime.tasks as evpy
        atexit.register(print, 'atexit')
        evpy.spawn(sys.exit, 6)
        time.sleep(100)
        """)
    got = run(path)
    assert (got.returncode, got.stdout, got.stderr) == (6, "atexit\n", "")


# ---------------------------------------------------------------- the command line


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "no script given; evrun --help shows what it takes"),
        (["--threads", "2"], "no script given; evrun --help shows what it takes"),
        (["--"], "no script given; evrun --help shows what it takes"),
        (["--threads"], "--threads needs a number from 0 to 1024"),
        (["--threads", "two", "x.py"], "--threads needs a number from 0 to 1024, not 'two'"),
        (["--threads=-1", "x.py"], "--threads needs a number from 0 to 1024, not '-1'"),
        (["--threads=1025", "x.py"], "--threads needs a number from 0 to 1024, not '1025'"),
        (["--threads=", "x.py"], "--threads needs a number from 0 to 1024, not ''"),
        (["--thread", "2", "x.py"], "unknown option '--thread'; evrun --help lists the options"),
        (["--no-patch=1", "x.py"], "unknown option '--no-patch=1'; evrun --help lists the options"),
        (["-uZ", "x.py"], "unknown option '-Z'; evrun --help lists the options"),
        (["-c"], "option -c needs an argument"),
        (["-uW"], "option -W needs an argument"),
    ],
)
def test_usage_errors_are_one_line(arguments, line, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["evrun", *arguments])
    with pytest.raises(SystemExit) as ending:
        evrun.main()
    assert ending.value.code == 2
    assert capsys.readouterr() == ("", f"evrun: {line}\n")


@pytest.mark.parametrize("letter", "EIS")
def test_options_that_would_lock_the_runtime_out_are_refused_with_a_way_out(letter):
    with pytest.raises(evrun.Usage, match=f"^option -{letter} cannot be used: .*; u"):
        evrun.parse([f"-u{letter}", "x.py"])


def test_a_script_in_a_removed_directory_is_one_line_and_exit_2(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    shell = f'cd "{gone}" && rmdir "{gone}" && exec "$@"'
    command = ["sh", "-c", shell, "sh", *EVRUN, "x.py"]
    got = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (got.returncode, got.stdout) == (2, "")
    assert got.stderr == "evrun: can't open file 'x.py': [Errno 2] No such file or directory\n"


def test_a_missing_script_is_one_line_and_exit_2(tmp_path):
    got = run("missing.py", "--help", cwd=tmp_path)
    assert got.returncode == 2
    assert got.stdout == ""
    assert got.stderr == f"evrun: can't open file '{tmp_path}/missing.py': [Errno 2] No such file or directory\n"


def test_a_script_below_a_file_is_named(script):
    path = script("")
    with pytest.raises(evrun.Usage, match="Not a directory"):
        evrun.check_script(path + "/x.py")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_script_is_named(script):
    path = script("")
    os.chmod(path, 0)
    with pytest.raises(evrun.Usage, match=r"\[Errno 13\] Permission denied"):
        evrun.check_script(path)


def test_help_and_version(monkeypatch, capsys):
    for option in ("-h", "--help", "-uh"):
        monkeypatch.setattr(sys, "argv", ["evrun", option, "nonsense"])
        with pytest.raises(SystemExit) as ending:
            evrun.main()
        assert ending.value.code == 0
        assert capsys.readouterr().out == evrun.HELP
    monkeypatch.setattr(sys, "argv", ["evrun", "-V"])
    with pytest.raises(SystemExit) as ending:
        evrun.main()
    assert ending.value.code == 0
    assert capsys.readouterr().out.startswith("evrun ")


def test_help_fits_a_screen():
    lines = evrun.HELP.splitlines()
    assert len(lines) <= 40
    assert max(map(len, lines)) <= 100


@pytest.mark.parametrize(
    ("arguments", "python", "patch", "threads"),
    [
        (["x.py", "--threads", "3"], ["x.py", "--threads", "3"], True, 0),
        (["--threads", "3", "x.py"], ["x.py"], True, 3),
        (
            ["-u", "--threads=3", "--no-patch", "-W", "error", "x.py", "-u"],
            ["-u", "-W", "error", "x.py", "-u"],
            False,
            3,
        ),
        (["-X", "--threads", "x.py"], ["-X", "--threads", "x.py"], True, 0),
        (["-c", "--threads", "--threads"], ["-c", "--threads", "--threads"], True, 0),
        (["-um", "mod", "-c"], ["-um", "mod", "-c"], True, 0),
        (["--", "-odd.py"], ["-odd.py"], True, 0),
    ],
)
def test_options_end_at_the_script(arguments, python, patch, threads):
    command = evrun.parse(arguments)
    assert (command.python, command.patch, command.threads) == (python, patch, threads)


# ---------------------------------------------------------------- what blocks, switches

TICKER = """
import evpy.runtime.tasks as evpy
ticks = 0
def ticker(release=None):
    global ticks
    while True:
        ticks += 1
        if ticks == 3 and release is not None:
            release()
        evpy.sleep(0)
"""

# Each lets the ticker make three steps and then unblock what the main program waits in: without a switch, it hangs.
SWITCHING = {
    "socket": """
        import socket
        here, there = socket.socketpair()
        evpy.spawn(ticker, lambda: there.sendall(b'x'))
        assert here.recv(1) == b'x'
        """,
    "accept and connect": """
        import socket
        listener = socket.create_server(('127.0.0.1', 0))
        evpy.spawn(ticker, lambda: socket.create_connection(listener.getsockname()))
        listener.accept()
        """,
    "select": """
        import select, socket
        here, there = socket.socketpair()
        evpy.spawn(ticker, lambda: there.sendall(b'x'))
        assert select.select([here], [], [])[0] == [here]
        """,
    "subprocess": """
        import os, subprocess
        reader, writer = os.pipe()
        evpy.spawn(ticker, lambda: os.close(writer))
        assert subprocess.run(['cat'], stdin=reader).returncode == 0
        """,
    "subprocess output": """
        import os, subprocess
        reader, writer = os.pipe()
        evpy.spawn(ticker, lambda: (os.write(writer, b'text'), os.close(writer)))
        assert subprocess.check_output(['cat'], stdin=reader) == b'text'
        """,
    "lock": """
        import threading
        lock = threading.Lock()
        lock.acquire()
        evpy.spawn(ticker, lock.release)
        lock.acquire()
        """,
    "condition": """
        import threading
        condition = threading.Condition()
        def notify():
            with condition:
                condition.notify()
        with condition:
            evpy.spawn(ticker, notify)
            condition.wait()
        """,
    "queue": """
        import queue
        box = queue.Queue()
        evpy.spawn(ticker, lambda: box.put('x'))
        assert box.get() == 'x'
        """,
    "thread": """
        import threading
        event = threading.Event()
        evpy.spawn(ticker, event.set)
        thread = threading.Thread(target=event.wait)
        thread.start()
        thread.join()
        """,
    "asyncio": """
        import asyncio
        async def main():
            event = asyncio.Event()
            loop = asyncio.get_running_loop()
            evpy.spawn(ticker, lambda: loop.call_soon_threadsafe(event.set))
            await event.wait()
        asyncio.run(main())
        """,
}

# These end by themselves: that the ticker ran at all shows that they switched.
PASSING = {
    "sleep": "import time; evpy.spawn(ticker); time.sleep(0.01)",
    "dns": "import socket; evpy.spawn(ticker); socket.getaddrinfo('localhost', 80)",
    "gethostbyname": "import socket; evpy.spawn(ticker); socket.gethostbyname('localhost')",
}


@pytest.mark.parametrize("name", SWITCHING)
def test_what_blocks_lets_other_greenlets_run_until_it_can_go_on(script, name):
    got = run(script(TICKER + textwrap.dedent(SWITCHING[name]) + "assert ticks >= 3, ticks\n"))
    assert (got.returncode, got.stderr) == (0, "")


@pytest.mark.parametrize("name", PASSING)
def test_what_takes_time_lets_other_greenlets_run(script, name):
    got = run(script(TICKER + PASSING[name] + "\nassert ticks > 0\n"))
    assert (got.returncode, got.stderr) == (0, "")


@pytest.mark.parametrize("name", PASSING)
def test_without_patching_the_standard_library_blocks(script, name):
    got = run("--no-patch", script(TICKER + PASSING[name] + "\nassert ticks == 0\nevpy.sleep(0)\nassert ticks\n"))
    assert (got.returncode, got.stderr) == (0, "")


# ---------------------------------------------------------------- threads, stacks


def test_threads_are_offered_to_run_on_any(script):
    path = script("""
        import os, time
        import evpy.runtime.threads as evpy
        from gevent.monkey import get_original
        ident = get_original('_thread', 'get_ident')
        # Two calls that wait for each other without switching can only end on two threads.
        one, two = get_original('_thread', 'allocate_lock')(), get_original('_thread', 'allocate_lock')()
        one.acquire(); two.acquire()
        def first(): one.release(); two.acquire(); return ident()
        def second(): one.acquire(); two.release(); return ident()
        handles = [evpy.run_on_any(first), evpy.run_on_any(second)]
        idents = {handle.result() for handle in handles} | {ident()}
        assert len(idents) == 3, idents
        """)
    got = run("--threads", "2", path)
    assert (got.returncode, got.stderr) == (0, "")


def test_a_script_ends_though_its_scheduler_threads_and_background_tasks_are_busy(script):
    path = script("""
        import os, time
        from evpy.runtime.threads import run_on_any
        from evpy.runtime.handles import Latch
        from evpy.runtime.background import background
        started = [Latch(), Latch(), Latch()]
        def work(number):
            try:
                started[number].set()
                time.sleep(1000)
            finally:
                os.write(1, b'%d cleaned up\\n' % number)
        def on_the_thread():
            background(work, 0)
            work(1)
        handle = run_on_any(on_the_thread)
        background(work, 2)
        for latch in started:
            latch.wait()
        """)
    got = run("--threads", "1", path)
    assert (got.returncode, got.stderr) == (0, "")
    assert sorted(got.stdout.splitlines()) == ["0 cleaned up", "1 cleaned up", "2 cleaned up"]


def test_sigusr1_prints_the_stacks_of_a_waiting_and_of_a_busy_program(script):
    path = script("""
        import evpy.runtime.tasks as evpy
        def lurk():
            evpy.sleep(1000)
        for _ in range(3):
            evpy.spawn(lurk)
        def busy():
            print('ready', flush=True)
            while True:
                pass
        evpy.spawn(busy)
        evpy.sleep(1000)
        """)
    with subprocess.Popen([*EVRUN, path], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGUSR1)
        head = process.stderr.readline()
        lines = []
        while "in <module>" not in (line := process.stderr.readline()):
            lines.append(line)
        process.kill()
    text = "".join(lines)
    assert head.startswith(f"== process {process.pid}: 1 thread(s)")
    assert (
        text.index("running:")
        < text.index("in busy")
        < text.index("3 times greenlet, suspended:")
        < text.index("in lurk")
    )
    assert text.count("in lurk") == 1
    assert "main greenlet, suspended:" in text


SIGNALLED = {
    "an event": "event = threading.Event(); signal.signal(signal.SIGALRM, lambda *_: event.set()); "
    "alarm(); event.wait()",
    "a lock": "lock = threading.Lock(); signal.signal(signal.SIGALRM, lambda *_: lock.release()); lock.acquire(); "
    "alarm(); lock.acquire()",
}


@pytest.mark.parametrize("what", SIGNALLED)
def test_a_signal_handler_ends_the_only_wait(what: str) -> None:
    """Nothing else can ever happen in the process; gevent alone would say that this blocks for ever."""
    prelude = "import signal, threading\ndef alarm(): signal.setitimer(signal.ITIMER_REAL, 0.05)\n"
    code = f"{prelude}{SIGNALLED[what]}\nprint('over')"
    evrun = Path(sys.executable).with_name("evrun")
    got = subprocess.run([evrun, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (got.stdout, got.stderr, got.returncode) == ("over\n", "", 0)

"""Child processes of a patched process, started on any of its threads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 60  # seconds
PRELUDE = """
import os, signal, subprocess, sys
import evpy, gevent, gevent.os

def anywhere(function):
    return function(), evpy.run_on_any(function).result()
"""
CASES = {
    "the status": (
        "print(anywhere(lambda: subprocess.run(['sh', '-c', 'exit 3']).returncode))",
        "(3, 3)",
    ),
    "the output": (
        "print(anywhere(lambda: subprocess.check_output(['echo', 'hello'])))",
        "(b'hello\\n', b'hello\\n')",
    ),
    "a signal": (
        """def killed():
            child = subprocess.Popen(['sleep', '60'])
            child.kill()
            return child.wait()
print(anywhere(killed))""",
        "(-9, -9)",
    ),
    "a timeout": (
        """def late():
            child = subprocess.Popen(['sleep', '60'])
            try:
                child.wait(0.01)
            except subprocess.TimeoutExpired:
                child.terminate()
                return child.wait(), child.poll()
print(anywhere(late))""",
        "((-15, -15), (-15, -15))",
    ),
    "fork and wait": (
        """def forked():
            pid = os.fork()
            if pid == 0:
                os._exit(7)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
print(anywhere(forked))""",
        "(7, 7)",
    ),
    "fork, and wait for whichever ends": (
        """def forked():
    pids = {}
    for status in (7, 8):
        pid = os.fork()
        if pid == 0:
            os._exit(status)
        pids[pid] = status
    ended = [os.wait(), os.waitpid(-1, 0)]
    return sorted(pids.items()) == sorted((pid, os.waitstatus_to_exitcode(status)) for pid, status in ended)
print(anywhere(forked))""",
        "(True, True)",
    ),
    "nobody to wait for": (
        """def alone():
    try:
        os.wait()
    except ChildProcessError as error:
        return error.strerror
print(anywhere(alone))""",
        "('No child processes', 'No child processes')",
    ),
    "a child of whose start nobody knows": (
        """def spawned():
    pid = os.posix_spawn('/bin/sh', ['sh', '-c', 'exit 5'], {})
    return os.wait() == (pid, 5 << 8)
print(anywhere(spawned))""",
        "(True, True)",
    ),
    "one that was waited for is not told of again": (
        """def told_once():
    again = []
    def ended(watcher):  # gevent has it among the ended ones until this is done
        try:
            again.append(os.waitpid(-1, os.WNOHANG))
        except ChildProcessError as error:
            again.append(error.strerror)
    pid = gevent.os.fork_and_watch(ended)
    if pid == 0:
        os._exit(5)
    first = os.wait()
    while not again:
        gevent.sleep(0.001)
    return first == (pid, 5 << 8), again
print(anywhere(told_once))""",
        "((True, ['No child processes']), (True, ['No child processes']))",
    ),
    "waited for on another thread than it was started on": (
        """def start():
    pid = os.fork()
    if pid == 0:
        os.execlp('sh', 'sh', '-c', 'sleep 0.1; exit 6')
    return pid
print(os.waitstatus_to_exitcode(os.waitpid(evpy.run_on_any(start).result(), 0)[1]))""",
        "6",
    ),
    "waited for on one thread while it is reaped on another": (
        """def start(n):
    pid = os.fork()
    if pid == 0:
        os._exit(1 + n % 100)
    return pid
def wait(n, pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1 + n % 100
right = [wait(n, evpy.run_on_any(start, n).result()) for n in range(400)]
print(all(right))""",
        "True",
    ),
    "many at once": (
        """def many():
            children = [gevent.spawn(subprocess.call, ['sh', '-c', f'exit {n}']) for n in range(20)]
            return [child.get() for child in children] == list(range(20))
print(anywhere(many))""",
        "(True, True)",
    ),
    "no descriptor stays": (
        """def count():
            return len(os.listdir('/proc/self/fd'))
def grown():
    subprocess.call(['true'])
    before = count()
    for _ in range(20):
        subprocess.call(['true'])
    return count() - before
print(anywhere(grown))""",
        "(0, 0)",
    ),
    "a child that somebody else has reaped": (
        """from gevent.monkey import get_original
def reaped():
    child = subprocess.Popen(['cat'], stdin=subprocess.PIPE)
    child.stdin.close()  # now it ends, and nothing here switches before it is reaped
    get_original('os', 'waitpid')(child.pid, 0)
    return child.wait()
print(anywhere(reaped))""",
        "(0, 0)",
    ),
    "others go on meanwhile": (
        """def ticks():
    ticked = []
    reader, writer = os.pipe()
    def clock():
        for _ in range(5):
            ticked.append(1)
            gevent.sleep(0.001)
        os.close(writer)  # now the child ends
    gevent.spawn(clock)
    subprocess.call(['cat'], stdin=reader)
    os.close(reader)
    return len(ticked)
print(anywhere(ticks))""",
        "(5, 5)",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_children_on_any_thread(case: str) -> None:
    code, expected = CASES[case]
    evrun = Path(sys.executable).with_name("evrun")
    got = subprocess.run(
        [evrun, "--threads", "1", "-c", PRELUDE + code], capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert (got.stdout, got.stderr) == (expected + "\n", "")

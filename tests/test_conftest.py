"""The proof that tests leave nothing behind can itself fail: an inner pytest runs tests that leave things."""

from pathlib import Path

import pytest

INNER = """
import os, subprocess, sys, threading
import gevent
import pytest
from gevent._hub_local import get_hub_if_exists

ENDLESS = [sys.executable, "-c", "import signal; signal.pause()"]
released = threading.Event()
number = os.open(os.devnull, os.O_RDONLY)
kept = []

@pytest.fixture(scope="module", autouse=True)
def untidy_fixture():
    kept.append(os.open("/usr", os.O_RDONLY))

def test_descriptor():
    kept.append(os.open("/", os.O_RDONLY))

def test_same_number_other_file():
    os.dup2(kept[-1], number)

def test_thread():
    threading.Thread(target=released.wait, name="forgotten").start()

def test_child():
    kept.append(subprocess.Popen(ENDLESS))

def test_orphan():
    code = f"import subprocess; subprocess.Popen({ENDLESS!r}, stdout=subprocess.DEVNULL)"
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)

@pytest.mark.leaves_behind("to see that it may")
def test_excused():
    kept.append(os.open("/dev", os.O_RDONLY))

@pytest.mark.leaves_behind
def test_excuse_without_reason():
    pass

def test_tidy(tmp_path):
    with open(tmp_path / "file", "w") as file, subprocess.Popen([sys.executable, "-c", ""]):
        thread = threading.Thread(target=file.write, args=("x",))
        thread.start()

def test_hub():
    gevent.get_hub().threadpool.apply(int)

def test_without_hub():
    assert get_hub_if_exists() is None
    released.set()
"""


def test_what_is_left_behind_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(Path(__file__).with_name("conftest.py").read_text().replace("GRACE = 20.0", "GRACE = 1.0"))
    pytester.makeini("[pytest]\nmarkers = leaves_behind")
    pytester.makepyfile(INNER)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=9, errors=7)
    result.stdout.fnmatch_lines_random(
        [
            "*ERROR at teardown of test_descriptor *",
            "descriptor *: /",
            "*ERROR at teardown of test_same_number_other_file *",
            "*ERROR at teardown of test_thread *",
            "thread *: forgotten",
            "*ERROR at teardown of test_child *",
            "process *: *signal.pause()",
            "*ERROR at teardown of test_orphan *",
            "*ERROR at setup of test_excuse_without_reason *",
            "@pytest.mark.leaves_behind takes one reason: *",
            "*ERROR at teardown of test_without_hub *",
            "the module's fixtures left behind:",
            "descriptor *: /usr",
        ]
    )

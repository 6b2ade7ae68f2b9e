"""The same tests on the twins in Python: what is true of the compiled code is true of them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SUITES = [
    "test_parking.py",
    "test_locks.py",
    "test_sync.py",
    "test_queues.py",
    "test_files.py",
    "test_asyncfiles.py",
    "test_offload.py",
    "test_streams.py",
    "test_behind.py",
    "test_original_defects.py",
    "test_os.py",
    "test_futures.py",
    "test_pool.py",
    "test_shared_queue.py",
    "test_shared_values.py",
    "codecs",
]  # what tests both, by EFIO_IMPL


@pytest.mark.skipif(os.environ.get("EFIO_IMPL") == "python", reason="this is that run")
@pytest.mark.parametrize("suite", SUITES)
def test_twins(suite: str) -> None:
    command = [Path(sys.executable).with_name("pytest"), "-q", "-p", "no:cacheprovider", HERE / suite]
    done = subprocess.run(
        command, env={**os.environ, "EFIO_IMPL": "python"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-1000:]
    assert " passed" in done.stdout


def test_unknown_implementation() -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", "import efio.parking"],
        env={**os.environ, "EFIO_IMPL": "fast"}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1] == "ImportError: EFIO_IMPL=fast: there are 'native' (the default) and 'python'"

"""os.close of a patched program: at once, as in Python, unless a greenlet waits for the descriptor."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys

import gevent
import gevent.select
import pytest

from evpy.runtime import patch

LIMIT = 60  # seconds


@pytest.fixture
def pipe():
    gevent.sleep(0)  # without a hub, nothing could be deferred
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with contextlib.suppress(OSError):  # closed by the test
            os.close(descriptor)


def test_a_closed_pipe_has_ended(pipe):
    reader, writer = pipe
    os.set_blocking(reader, False)  # were it still open, reading would fail with EAGAIN
    patch.close(writer)
    assert os.read(reader, 1) == b""


def test_a_descriptor_is_free_for_the_next_one(pipe):
    reader, writer = pipe
    patch.close(reader)
    assert os.dup(writer) == reader


def test_closing_twice_fails(pipe):
    patch.close(pipe[0])
    with pytest.raises(OSError, match="Bad file descriptor"):
        patch.close(pipe[0])


def test_a_descriptor_that_a_greenlet_waits_for_is_closed_when_the_hub_has_let_go_of_it(pipe):
    reader, _writer = pipe
    waiting = gevent.spawn(gevent.select.select, [reader], [], [])
    gevent.sleep(0)
    patch.close(reader)
    os.fstat(reader)  # the loop may still look at it
    gevent.sleep(0.001)
    waiting.kill()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(reader)


def test_it_is_what_a_patched_program_has():
    code = """if True:
        import os, threading
        from evpy.runtime.patch import patch_all
        patch_all()
        print(os.close.__module__, threading.Lock)"""
    got = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert got.stdout == "evpy.runtime.patch <class 'efio._locks.Lock'>\n"


def plugin(directory, metadata="some-1.0.dist-info"):
    """Install a package with a plug-in for gevent's patching, which prints what it is told."""
    (directory / metadata).mkdir(parents=True)
    (directory / metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: some\nVersion: 1.0\n")
    (directory / metadata / "entry_points.txt").write_text("[gevent.plugins.monkey.did_patch_all]\nsome = some:tell\n")
    (directory / "some.py").write_text("def tell(event):\n    print('told of', type(event).__name__)\n")


def test_plugins_of_gevent_are_called_if_there_are_any(tmp_path):
    code = "from evpy.runtime.patch import patch_all; patch_all()"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    for expected in ("", "told of GeventDidPatchAllEvent\n"):
        got = subprocess.run(
            [sys.executable, "-P", "-c", code],
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=True,
            env=os.environ | {"PYTHONPATH": path},
        )
        assert got.stdout == expected
        if not expected:
            plugin(tmp_path)


@pytest.mark.parametrize("metadata", ["some-1.0.dist-info", "some.egg-info", "some-1.0.egg/EGG-INFO"])
def test_plugins_are_found_wherever_packages_have_their_metadata(tmp_path, metadata):
    other = tmp_path / "a" / "other-1.0.dist-info"
    other.mkdir(parents=True)
    (other / "entry_points.txt").write_text("[console_scripts]\ngevent = other:main\n")
    (tmp_path / "a" / "nothing.dist-info").mkdir()
    plugin(tmp_path / "a", "gevent-26.9.0.dist-info")
    path = ["", str(tmp_path / "missing"), str(tmp_path / "a"), str(tmp_path / "b")]
    assert not patch.has_plugins(path)
    plugin(tmp_path / "b", metadata)
    assert patch.has_plugins(path)


def test_gevents_own_way_is_back_after_the_patching():
    code = """if True:
        import sys, gevent.events
        before = gevent.events.notify_and_call_entry_points
        from evpy.runtime.patch import patch_all
        patch_all()
        print(gevent.events.notify_and_call_entry_points is before, 'importlib.metadata' in sys.modules)"""
    got = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert got.stdout == "True False\n"

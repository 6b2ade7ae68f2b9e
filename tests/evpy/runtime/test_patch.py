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
    got = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True)
    assert got.stdout == "evpy.runtime.patch <class 'gevent.thread.LockType'>\n"

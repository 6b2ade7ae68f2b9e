"""The stacks of a process as text."""

from __future__ import annotations

import gc
import os
import re
import signal
import threading

import gevent
import gevent.event
import greenlet
import pytest

from evpy.runtime import dump
from evpy.runtime.background import background, stop_all
from evpy.runtime.dump import format_stacks
from evpy.runtime.threads import offer_threads, run_on_any, stop_threads

LIMIT = 60  # seconds


def section(text: str, title: str) -> str:
    """The part of a dump that describes one thread."""
    parts = re.split(r"^-- ", text, flags=re.MULTILINE)
    (found,) = [part for part in parts[1:] if title in part.splitlines()[0]]
    return found


def running(text: str) -> list[str]:
    """What the main thread is executing, line by line."""
    lines = section(text, "MainThread").splitlines()
    assert lines[1] == "   running:"
    return [line.strip() for line in lines[2:] if line.startswith("      ")][: _next_entry(lines[2:])]


def _next_entry(lines: list[str]) -> int:
    return next((number for number, line in enumerate(lines) if not line.startswith("      ")), len(lines))


def counts(text: str) -> tuple[int, int]:
    """Suspended and new greenlets."""
    found = re.match(r"== process \d+: \d+ thread\(s\), (\d+) suspended and (\d+) new greenlet", text)
    assert found is not None
    return int(found[1]), int(found[2])


def lurk(event):
    event.wait(3600)


def test_it_shows_who_called():
    text = format_stacks()
    assert text.startswith(f"== process {os.getpid()}: ")
    assert running(text)[-2].endswith("in test_it_shows_who_called")
    assert running(text)[-1] == "text = format_stacks()"


def test_greenlets_with_equal_stacks_share_an_entry():
    def wait_here():
        event.wait(3600)

    event = gevent.event.Event()
    gevent.sleep(0)  # let the hub be among the suspended in both dumps
    gc.collect()  # what other tests have left
    before = counts(format_stacks())
    greenlets = [gevent.spawn(wait_here) for _ in range(7)]
    gevent.sleep(0)
    unstarted = [gevent.spawn(wait_here) for _ in range(2)]
    text = format_stacks()
    assert counts(text) == (before[0] + 7, before[1] + 2)
    main = section(text, "MainThread")
    assert "   7 times greenlet, suspended:\n" in main
    assert main.count(".wait_here\n        event.wait(3600)\n") == 1
    gevent.killall(greenlets + unstarted)
    assert ".wait_here\n" not in format_stacks()


def test_greenlets_are_listed_with_the_thread_they_belong_to_and_its_name():
    ready = threading.Event()

    def lurk_there():
        gevent.event.Event().wait(3600)

    def there():
        gevent.spawn(lurk_there)
        gevent.sleep(0)
        ready.set()
        gevent.sleep(3600)

    offer_threads(1)
    try:
        run_on_any(there)
        assert ready.wait(LIMIT)
        text = format_stacks()
        other = section(text, "scheduler-1")
        assert ".lurk_there" in other
        assert "greenlet test_greenlets_are_listed_with_the_thread_they_belong_to_and_its_name.<locals>.there" in other
        assert ".lurk_there" not in section(text, "MainThread")
    finally:
        stop_threads(LIMIT)


def test_a_thread_stuck_in_python_code_is_shown():
    ready, release = threading.Event(), []

    def stuck():
        ready.set()
        while not release:
            pass

    thread = threading.Thread(target=stuck, name="burner")
    thread.start()
    try:
        assert ready.wait(LIMIT)
        assert "in test_a_thread_stuck_in_python_code_is_shown.<locals>.stuck" in section(format_stacks(), "burner")
    finally:
        release.append(1)
        thread.join()


def test_names_of_background_tasks_are_shown():
    background(lurk, gevent.event.Event(), name="housekeeping")
    gevent.sleep(0)
    assert "   greenlet housekeeping, suspended:" in format_stacks()
    stop_all(LIMIT)


def test_greenlets_that_have_no_hub_are_shown():
    def plain():
        greenlet.getcurrent().parent.switch()

    def in_thread(found):
        lonely = greenlet.greenlet(plain)
        lonely.switch()
        found.append(format_stacks())

    found = []
    thread = threading.Thread(target=in_thread, args=(found,))
    thread.start()
    thread.join()
    assert "<locals>.plain" in section(found[0], "greenlets without a hub")


def test_destroyed_hubs_are_not_shown():
    gevent.sleep(0)
    gc.collect()  # what other tests have left
    before = counts(format_stacks())
    gone = gevent.get_hub()
    gone.destroy(destroy_loop=True)
    gevent.sleep(0)
    assert gevent.get_hub() is not gone
    assert counts(format_stacks()) == before


def test_no_user_code_is_called():
    class Proxy:
        @property
        def __class__(self):
            pytest.fail("asked a proxy")

    def pause():
        greenlet.getcurrent().parent.switch()

    class Loud(greenlet.greenlet):
        def __repr__(self):
            pytest.fail("asked for a repr")

    proxy, loud = Proxy(), Loud(pause)
    loud.switch()
    assert "suspended" in format_stacks()
    del proxy
    loud.switch()


@pytest.fixture
def restored():
    before = signal.getsignal(signal.SIGUSR1)
    yield
    signal.signal(signal.SIGUSR1, before)


def test_a_signal_writes_the_stacks_where_the_program_was(restored):
    texts = []
    dump.install(signal.SIGUSR1, texts.append)
    signal.raise_signal(signal.SIGUSR1)
    (text,) = texts
    assert running(text)[-1] == "signal.raise_signal(signal.SIGUSR1)"


def test_without_a_writer_it_goes_to_standard_error(restored, capfd):
    dump.install()
    signal.raise_signal(signal.SIGUSR1)
    assert capfd.readouterr().err.startswith(f"== process {os.getpid()}: ")


def test_nobody_reading_is_no_error(restored, monkeypatch):
    def write(_fd, _data):
        raise BrokenPipeError

    dump.install()
    monkeypatch.setattr(os, "write", write)
    signal.raise_signal(signal.SIGUSR1)


def test_partial_writes_are_completed(restored, monkeypatch):
    written = bytearray()

    def write(fd, data):
        assert fd == 2
        written.extend(data[:10])
        return min(len(data), 10)

    dump.install()
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write)
        signal.raise_signal(signal.SIGUSR1)
    assert written.startswith(b"== process ")
    assert written.endswith(b"\n")

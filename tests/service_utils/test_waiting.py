"""Waiting for descriptors: in greenlets of several hubs and in threads, one after the other."""

from __future__ import annotations

import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import gevent
import pytest
from flows import PATIENCE, in_thread

from service_utils.waiting import READ, WRITE, Waits, in_greenlet, poll


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield ours, theirs


def test_one_descriptor_from_several_hubs_and_threads(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())

    def wait() -> int:
        return waits.wait(READ, PATIENCE)

    for hub in (True, False, True):
        waiting = in_thread(wait, hub=hub)
        theirs.send(b"x")
        assert waiting.result(PATIENCE) == READ
        assert ours.recv(1) == b"x"
    here = gevent.spawn(wait)
    gevent.sleep(0)
    theirs.send(b"x")
    assert here.get() == READ
    assert waits.wait(READ | WRITE, PATIENCE) == READ | WRITE
    ours.recv(1)
    assert gevent.spawn(waits.wait, READ | WRITE, PATIENCE).get() == WRITE
    waits.close()
    waits.close()


@pytest.mark.parametrize("hub", [False, True])
def test_the_time_is_limited(pair: tuple[socket.socket, socket.socket], hub: bool) -> None:
    waits = Waits(pair[0].fileno())
    assert in_thread(lambda: waits.wait(READ, 0.005), hub=hub).result(PATIENCE) == 0
    assert in_thread(lambda: waits.wait(READ, 0), hub=hub).result(PATIENCE) == 0
    assert in_thread(lambda: waits.wait(WRITE, 0.005), hub=hub).result(PATIENCE) == WRITE


def test_a_killed_greenlet_leaves_nothing_that_wakes_it(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())
    for timeout in (None, PATIENCE):
        waiting = gevent.spawn(waits.wait, READ, timeout)
        gevent.sleep(0)
        waiting.kill()
        assert waiting.dead
    theirs.send(b"x")
    gevent.sleep(0.001)
    assert gevent.spawn(waits.wait, READ, PATIENCE).get() == READ
    waits.close()


def test_a_short_wait_after_a_long_one_ends_in_time_and_the_other_way_round(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())

    def waiting() -> list[int]:
        theirs.send(b"x")
        found = [waits.wait(READ, PATIENCE)]  # its timer is left running ...
        ours.recv(1)
        found.append(waits.wait(READ, 0.005))  # ... and is too late for this one
        theirs.send(b"x")
        found.append(waits.wait(READ, 0.02))  # that of this one goes off ...
        ours.recv(1)
        gevent.get_hub().loop.run_callback(gevent.spawn_later, 0.04, theirs.send, b"y")
        found.append(waits.wait(READ, PATIENCE))  # ... in the middle of this one, which goes on
        return found

    assert gevent.spawn(waiting).get() == [READ, 0, READ, READ]
    assert ours.recv(1) == b"y"
    waits.close()


def test_nothing_that_was_left_behind_keeps_a_hub_from_ending(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())
    theirs.send(b"x")

    def in_a_hub_of_its_own() -> tuple[int, bool, int]:
        try:
            found = gevent.spawn(waits.wait, READ, PATIENCE).get()
            ended = gevent.get_hub().join(PATIENCE / 4)  # there is nothing left that it would have to wait for
            ours.recv(1)
            return found, ended, gevent.spawn(waits.wait, READ, 0.005).get()  # and it still serves
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    assert in_thread(in_a_hub_of_its_own).result(PATIENCE) == (READ, True, 0)
    waits.close()


def test_who_waits_when_it_is_closed_is_woken_by_the_timeout(pair: tuple[socket.socket, socket.socket]) -> None:
    waits = Waits(pair[0].fileno())
    waiting = gevent.spawn(waits.wait, READ, 0.01)
    gevent.sleep(0)
    waits.close()
    assert waiting.get() == 0


def test_two_may_wait_for_one_descriptor(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())
    reading = gevent.spawn(waits.wait, READ, PATIENCE)
    gevent.sleep(0)
    assert gevent.spawn(waits.wait, WRITE, PATIENCE).get() == WRITE
    assert not reading.dead
    theirs.send(b"x")
    assert reading.get() == READ
    waits.close()


def test_a_switch_that_was_not_meant_is_ignored(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    waits = Waits(ours.fileno())
    waiting = gevent.spawn(waits.wait, READ, PATIENCE)
    gevent.sleep(0)
    gevent.get_hub().loop.run_callback(waiting.switch)
    gevent.sleep(0.001)
    assert not waiting.dead
    theirs.send(b"x")
    assert waiting.get() == READ
    waits.close()


def test_the_other_end_counts_as_something_to_read(pair: tuple[socket.socket, socket.socket]) -> None:
    ours, theirs = pair
    assert poll(ours.fileno(), READ, 0) == 0
    theirs.close()
    assert poll(ours.fileno(), READ, 0) == READ


def test_who_can_be_switched_out() -> None:
    assert in_thread(in_greenlet).result(PATIENCE) is False
    assert gevent.spawn(in_greenlet).get() is True
    seen: list[bool] = []
    gevent.get_hub().loop.run_callback(lambda: seen.append(in_greenlet()))
    gevent.sleep(0.001)
    assert seen == [False], "not the hub itself"


def test_native_threads_get_no_hub_of_a_patched_program() -> None:
    program = textwrap.dedent("""
        import gevent.monkey
        gevent.monkey.patch_all()
        import _socket, gevent._hub_local, gevent.monkey
        from service_utils.dialing import dial
        from service_utils.waiting import WRITE, poll, sleep
        from time import monotonic

        server = _socket.socket()
        server.bind(("127.0.0.1", 0))
        server.listen()
        done = gevent.monkey.get_original("_thread", "allocate_lock")()
        done.acquire()

        def work():
            try:
                connection = dial([(_socket.AF_INET, server.getsockname())], monotonic() + 30)
                assert poll(connection.fileno(), WRITE, 30) == WRITE
                sleep(0.001)
                connection.close()
                print(gevent._hub_local.get_hub_if_exists())
            finally:
                done.release()

        gevent.monkey.get_original("_thread", "start_new_thread")(work, ())
        done.acquire()
        """)
    run = subprocess.run([sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stdout, run.stderr) == ("None\n", "")

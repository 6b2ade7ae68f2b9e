"""Which requests count as costly: those of a kind that has burnt CPU before. What follows from it: test_costly.c."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import Server

from evpy.server import status

APP = """
import gevent.monkey, time
from evpy import Router

handle = Router()
block = gevent.monkey.get_original("time", "sleep")

@handle.get("/burn/{number}")
def burn(request, number):
    until = time.thread_time() + 0.02
    while time.thread_time() < until:
        pass
    return number

@handle.get("/block")
def blocked(request):
    block(0.02)
    return "blocked"

@handle.get("/fast")
def fast(request):
    return "fast"
"""


def costly(server: Server) -> int:
    count: int = status.of_process(server.pid)["counters"]["costly"]
    return count


def test_a_kind_that_burns_cpu_is_costly_and_no_other_one() -> None:
    with Server(APP, "-w", "2", "-t", "2", "--costly", "0.005") as server:
        for _ in range(10):
            assert server.get("/block").body == b"blocked"
            assert server.get("/fast").body == b"fast"
        assert costly(server) == 0
        for number in range(10):
            assert server.get(f"/burn/{number}?x={number}").body == b"%d" % number
        assert costly(server) >= 5  # the first one is noticed, the second one measured
        before = costly(server)
        for _ in range(10):
            assert server.get("/fast").body == b"fast"
        assert costly(server) == before


@pytest.mark.parametrize("workers", ["0", "1", "2"])
def test_many_at_once_are_all_answered(workers: str) -> None:
    paths = [f"/burn/{n}" if n % 3 else "/fast" for n in range(60)]
    with Server(APP, "-w", workers, "--costly", "0.005") as server, ThreadPoolExecutor(12) as pool:
        assert [answer.status for answer in pool.map(server.get, paths)] == [200] * len(paths)


def test_none_is_when_that_is_switched_off() -> None:
    with Server(APP, "-w", "1", "--costly", "0") as server:
        for number in range(6):
            server.get(f"/burn/{number}")
        assert costly(server) == 0

"""Two services asked at the same time, proved without a clock: each of them answers only once both have been asked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Server, free_port

MAIN = Path(__file__).parents[2] / "examples/orchestrator/main.py"

# Both services in one worker: whoever comes first waits at the barrier for the other one.
MEETING = """
import threading

meeting = threading.Barrier(2, timeout=10)

def handle(request):
    meeting.wait()
    _, what, number = request.path.split("/")
    return {what: f"{what} of {number}"}
"""


@contextmanager
def orchestrator(prices: str, stock: str) -> Iterator[Server]:
    with Server(MAIN, "-w", "2", env={"PRICES": prices, "STOCK": stock}) as server:
        yield server


def url(server: Server) -> str:
    return f"http://127.0.0.1:{server.port}"


def test_it_plays_its_own_services() -> None:
    server = Server(MAIN, "-w", "2")
    server.env = {"PRICES": url(server), "STOCK": url(server)}
    with server:
        assert server.get("/order/7").json() == {"order": 7, "price": 70, "stock": 2}
        assert server.get("/order/seven").status == 404


def test_both_services_are_asked_at_the_same_time() -> None:
    with Server(MEETING, "-w", "1") as services, orchestrator(url(services), url(services)) as server:
        for number in range(3):
            answer = server.get(f"/order/{number}")
            assert answer.json() == {"order": number, "price": f"price of {number}", "stock": f"stock of {number}"}


BROKEN = """
def handle(request):
    path = request.path
    if path.startswith("/price"):
        return {"price": 1}
    return {"/stock/1": "no JSON", "/stock/2": {"wrong": 1}, "/stock/3": ("{}", 503), "/stock/4": b"",
            "/stock/5": {"stock": 1}}[path]
"""


def test_a_service_that_gives_no_answer_is_a_bad_gateway() -> None:
    with Server(BROKEN, "-w", "1") as services, orchestrator(url(services), url(services)) as server:
        for number in range(1, 5):
            answer = server.get(f"/order/{number}")
            assert answer.status == 502, number
            assert b"a service gave no answer that can be used" in answer.body
            assert b"Traceback" not in answer.body
        for reason in ("JSONDecodeError", "KeyError: 'stock'", "HTTP Error 503"):
            server.wait_log(re.escape(reason))


@pytest.mark.parametrize("absent", ["PRICES", "STOCK"])
def test_a_service_that_is_not_there_is_a_bad_gateway(absent: str) -> None:
    with Server(BROKEN, "-w", "1") as services:
        env = {"PRICES": url(services), "STOCK": url(services), absent: f"http://127.0.0.1:{free_port()}"}
        with Server(MAIN, "-w", "1", env=env) as server:
            assert server.get("/order/5").status == 502  # 5: the other one answers well
            server.wait_log("Connection refused")


def test_a_service_that_takes_for_ever_is_given_up() -> None:
    """However quick the other one was; here after 0.2 instead of 5 seconds."""
    impatient = MAIN.read_text().replace("evpy.timeout(5)", "evpy.timeout(0.2)")
    assert "0.2" in impatient
    silent = """
import evpy
def handle(request):
    if request.path.startswith("/price"):
        return {"price": 1}
    evpy.sleep(60)
"""
    with Server(silent, "-w", "1", "--grace", "0.1") as services:
        env = {"PRICES": url(services), "STOCK": url(services)}
        with Server(impatient, "-w", "1", env=env) as server:
            answer = server.get("/order/1")
            assert answer.status == 504
            assert b"a service took too long" in answer.body


def test_the_client_does_not_choose_the_services() -> None:
    with Server(BROKEN, "-w", "1") as services:
        env = {"PRICES": "http://127.0.0.1:1", "STOCK": url(services)}
        with Server(MAIN, "-w", "1", env=env) as server, server.client() as client:
            client.send(f"GET /order/5 HTTP/1.1\r\nHost: 127.0.0.1:{services.port}\r\n\r\n".encode())
            assert client.answer().status == 502

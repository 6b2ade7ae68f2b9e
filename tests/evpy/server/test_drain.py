"""What clients see of a stop: new connections are refused at once, and what cannot be answered in time gets 503."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from serving import Client, Server, free_port

APP = """
import gevent

arrived = []

def handle(request):
    if request.path == "/arrived":
        return str(len(arrived))
    arrived.append(request.path)
    if request.path == "/stream":
        return stream()
    gevent.sleep(60)

def stream():
    yield "begun"
    gevent.sleep(60)
"""


@contextmanager
def draining(workers: str, path: str, *, grace: str) -> Iterator[tuple[Server, Client]]:
    """A server that has been told to stop while a request is in its handler."""
    with Server(APP, "-w", workers, "--grace", grace) as server:
        with server.client() as client:
            client.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            if path == "/stream":
                assert client.head().status == 200
                client.buffer = client._until(b"begun\r\n") + b"begun\r\n" + client.buffer
            else:
                server.wait_until(lambda: server.get("/arrived").body == b"1", "the handler has it")
            server.signal(signal.SIGTERM)
            server.wait_log("draining")
            yield server, client
        server.wait()


@pytest.mark.parametrize("workers", ["1", "0"])
def test_new_connections_are_refused(workers: str) -> None:
    with draining(workers, "/slow", grace="60") as (server, _client):

        def refused() -> bool:
            try:
                server.client().close()
            except ConnectionRefusedError:
                return True
            return False

        server.wait_until(refused, "nobody listens")
        server.signal(signal.SIGINT)  # now


@pytest.mark.parametrize("workers", ["1", "0"])
def test_what_is_not_answered_in_time_gets_503(workers: str) -> None:
    with draining(workers, "/slow", grace="0.5") as (server, client):
        answer = client.answer()
        assert answer.status == 503
        assert answer.header("connection") == "close"
        assert answer.body == b"503 Service Unavailable: the server is stopping\n"
        assert client.is_closed()
        server.wait_log("the grace time is over")


@pytest.mark.parametrize("workers", ["1", "0"])
def test_what_has_begun_breaks_off(workers: str) -> None:
    with draining(workers, "/stream", grace="0.5") as (_server, client):
        assert re.fullmatch(rb"5\r\nbegun\r\n", client.rest()), "no end of the body"


def test_sockets_from_outside_stay_open(tmp_path: Path) -> None:
    """systemd goes on listening: what connects meanwhile is for the next server."""
    import socket

    script = tmp_path / "main.py"
    script.write_text("def handle(request):\n    return 'hello'\n")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        evserver = Path(sys.executable).with_name("evserver")
        for _ in range(2):
            command = [evserver, script, "-w", "1", "-b", f"fd:{listener.fileno()}", "-c", ""]
            with subprocess.Popen(command, pass_fds=[listener.fileno()], stderr=subprocess.DEVNULL) as server:
                with Client(listener.getsockname()) as client:
                    assert client.get("/").body == b"hello"
                server.terminate()
                assert server.wait(30) == 0


def test_a_signal_to_the_whole_group_replaces_nobody(tmp_path: Path) -> None:
    script = tmp_path / "main.py"
    script.write_text("def handle(request):\n    return 'hello'\n")
    evserver = Path(sys.executable).with_name("evserver")
    command = [evserver, script, "-w", "2", "-b", f"127.0.0.1:{free_port()}", "-c", ""]
    for _ in range(3):
        with subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True, text=True) as server:
            assert server.stderr is not None
            log = ""
            until = time.monotonic() + 30
            while " ready " not in log and time.monotonic() < until:
                log += server.stderr.readline()
            os.killpg(server.pid, signal.SIGTERM)
            log += server.stderr.read()
            assert server.wait(30) == 0
        assert "stopped" in log
        assert not re.search("crashed|replaced| ERROR ", log), log
        assert len(re.findall("worker started", log)) == 2, log


def test_a_gateway_that_is_told_to_end_is_replaced() -> None:
    with Server("def handle(request):\n    return 'hello'\n", "-w", "1") as server:
        gateway = server.gateway()
        os.kill(gateway, signal.SIGTERM)
        server.wait_log("gateway ended")
        server.wait_until(lambda: [pid for pid, name in server.children().items() if "gateway" in name], "the next one")
        assert server.get("/").body == b"hello"
        server.signal(signal.SIGTERM)
        server.wait()

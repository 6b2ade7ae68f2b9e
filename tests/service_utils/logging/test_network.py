"""Log shipping: collectors that are not there yet, go away, do not read; TLS; syslog."""

from __future__ import annotations

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import self_signed
from serving import free_port

from service_utils.logging import SyslogSink, TcpSink, network


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "PAUSES", (0.01, 0.05))
    monkeypatch.setattr(network, "TICK", 0.05)
    monkeypatch.setattr(network, "GRACE", 0.1)


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        yield server


def accepted(listener: socket.socket) -> socket.socket:
    connection = listener.accept()[0]
    connection.settimeout(20)
    return connection


def messages(file: Any, number: int) -> list[str]:
    return [json.loads(file.readline())["message"] for _ in range(number)]


def test_collector_goes_and_comes(listener: socket.socket, logged: Any) -> None:
    port = listener.getsockname()[1]
    sink = TcpSink("127.0.0.1", port)
    log = logged(sink)
    log.info("one")
    with accepted(listener) as connection, connection.makefile("rb") as file:
        assert messages(file, 1) == ["one"]
    log.info("two")  # to a collector that has hung up: noticed before it is sent
    with accepted(listener) as connection, connection.makefile("rb") as file:
        assert messages(file, 1) == ["two"]
        for n in range(2000):
            log.info("line %d", n)
        assert messages(file, 2000) == [f"line {n}" for n in range(2000)]
        assert sink.close(20)
        assert file.read() == b""
    assert (sink.dropped, sink.statistics().written) == (0, 2002)


def test_collector_is_not_there(logged: Any) -> None:
    port = free_port()
    sink = TcpSink("127.0.0.1", port, capacity=20_000)
    log = logged(sink)
    for n in range(1000):
        log.info("line %d", n)
    assert sink.dropped > 500
    with socket.create_server(("127.0.0.1", port)) as server:
        server.settimeout(20)
        with accepted(server) as connection, connection.makefile("rb") as file:
            found: list[dict[str, Any]] = []
            while {"line 999", "log lines were dropped"} - {line["message"] for line in found}:
                found.append(json.loads(file.readline()))
    reported = sum(line["lines"] for line in found if line["message"] == "log lines were dropped")
    assert len([line for line in found if line["message"].startswith("line")]) + sink.dropped == 1000
    assert reported == sink.dropped


def test_closing_without_a_collector(logged: Any) -> None:
    port = free_port()
    sink = TcpSink("127.0.0.1", port)
    logged(sink).info("nobody reads it")
    assert sink.close(20)
    assert sink.dropped == 1
    assert "Refused" in sink.statistics().error


def test_tls(listener: socket.socket, logged: Any, tmp_path: Path) -> None:
    path = self_signed(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(path)
    port = listener.getsockname()[1]
    got: list[str] = []
    refused: list[int] = []

    def collect() -> None:
        while not got:
            try:
                connection = server_side.wrap_socket(accepted(listener), server_side=True)
            except (ssl.SSLError, ConnectionError):  # the client does not trust it
                refused.append(1)
                continue
            with connection, connection.makefile("rb") as file:
                got.extend(messages(file, 501))

    thread = threading.Thread(target=collect)
    thread.start()
    distrusting = TcpSink("127.0.0.1", port, tls=True)
    logged(distrusting).info("not to a stranger")
    while not refused:
        time.sleep(0.01)
    assert distrusting.close(20)
    assert distrusting.dropped == 1
    assert "CERTIFICATE_VERIFY_FAILED" in distrusting.statistics().error
    sink = TcpSink("127.0.0.1", port, tls=ssl.create_default_context(cafile=str(path)))
    log = logged(sink)
    for n in range(501):
        log.info("line %d", n)
    thread.join(20)
    assert got == [f"line {n}" for n in range(501)]
    assert sink.close(20)


def test_tls_of_somebody_else(listener: socket.socket, logged: Any, tmp_path: Path) -> None:
    """The certificate is one that is trusted, but for another name."""
    path = self_signed(tmp_path)
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(path)
    sink = TcpSink("localhost", listener.getsockname()[1], tls=ssl.create_default_context(cafile=str(path)))
    logged(sink).info("not to a stranger")
    with accepted(listener) as plain, pytest.raises((ssl.SSLError, ConnectionError)):
        server_side.wrap_socket(plain, server_side=True).recv(1)
    listener.close()
    assert sink.close(20)
    assert sink.dropped == 1


def test_syslog_of_this_machine(tmp_path: Path, logged: Any) -> None:
    path = str(tmp_path / "log")
    sink = SyslogSink(path, program="shop", facility="local0")
    log = logged(sink)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.settimeout(20)
        server.bind(path)
        log.error("bad")
        log.info("x" * 10_000)
        first, second = server.recv(70_000), server.recv(70_000)
    assert re.fullmatch(rb"<131>\w{3} [ \d]\d [\d:]{8} shop\[\d+\]: \S+Z ERROR .*: bad", first)
    assert second.startswith(b"<134>")
    assert len(second) == 8192
    log.info("lost")
    assert sink.close(20)
    assert sink.dropped == 1


def test_syslog_elsewhere(logged: Any) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.settimeout(20)
        server.bind(("127.0.0.1", 0))
        sink = SyslogSink(f"127.0.0.1:{server.getsockname()[1]}", "json", program="my shöp\n<0>1")
        logged(sink).warning("hm")
        head, _, body = server.recv(70_000).partition(b" - - ")
    assert re.fullmatch(rb"<12>1 [\dT:.-]+Z \S+ my_sh_p_<0>1 \d+", head)
    assert json.loads(body)["message"] == "hm"
    assert sink.close(20)
    for bad in ({"address": "somewhere"}, {"address": "host:x"}, {"facility": "kitchen"}):
        with pytest.raises(ValueError, match="="):
            SyslogSink(**bad)

"""Where a server listens: Unix sockets, IPv6, several addresses at once, and what handlers and the access log see."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import pytest
from serving import Client, Server, exchange, free_port

APP = """
import evpy

def wait(request):
    yield "begun"
    while not request.disconnected:
        evpy.sleep(0.01)

def handle(request):
    if request.path == "/404":
        raise evpy.HTTPError(404)
    if request.path == "/boom":
        raise ValueError("x")
    if request.path == "/sleep":
        evpy.sleep(60)
    if request.path == "/stream":
        return iter(["abc", "defg"])
    if request.path == "/endless":
        return iter(lambda: "x" * 65536, None)
    if request.path == "/wait":
        return wait(request)
    return {"client": request.client, "server": request.server, "host": request.host, "body": len(request.body)}
"""


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


def test_a_unix_socket_beside_a_port(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "evpy.sock"
    with Server(APP, "-w", mode, "-b", f"unix:{path}", "--unix-mode", "600") as server:
        assert path.is_socket()
        assert path.stat().st_mode & 0o777 == 0o600
        with Client(str(path)) as client:
            for _ in range(3):
                found = client.get("/").json()
                assert found == {"client": None, "server": f"unix:{path}", "host": "test", "body": 0}
            assert client.post("/", b"x" * 300_000).json()["body"] == 300_000
        assert server.get("/").json()["client"][0] == "127.0.0.1"
    assert not path.exists()


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_ipv6(mode: str) -> None:
    port = free_port()
    with Server(APP, "-w", mode, "-b", f"[::1]:{port}") as server, Client(("::1", port)) as client:
        here = client.socket.getsockname()[1]
        found = client.get("/").json()
        assert found["client"] == ["::1", here]
        assert found["server"] == f"[::1]:{port}"
        assert server.get("/").json()["server"] == f"127.0.0.1:{server.port}"


def test_several_ports(mode: str) -> None:
    ports = [free_port() for _ in range(3)]
    binds = [option for port in ports for option in ("-b", f"127.0.0.1:{port}")]
    with Server(APP, "-w", mode, *binds):
        for port in ports:
            with Client(("127.0.0.1", port)) as client:
                assert client.get("/").json()["server"] == f"127.0.0.1:{port}"


def test_port_0_is_told_in_the_log(mode: str) -> None:
    with Server(APP, "-w", mode, "-b", "127.0.0.1:0") as server:
        (line,) = server.wait_log(r"ready listening=\S+ \S+")
        ports = {int(port) for port in re.findall(r":(\d+)", line)} - {server.port}
        (port,) = ports
        with Client(("127.0.0.1", port)) as client:
            assert client.get("/").status == 200


def traffic(server: Server, path: Path) -> None:
    """One request of each kind, in order."""
    assert server.get("/a?b=c", "User-Agent: test/1.0", "Referer: http://x/").status == 200
    with server.client() as client:
        assert client.get("/404").status == 404
        client.post("/", b"x" * 100)
        client.send(b"HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n")
        client.answer("HEAD")
        assert client.get("/stream").body == b"abcdefg"
    assert server.get('/"quoted"\\', 'User-Agent: "\xe9\\').status == 200
    assert server.get("/boom").status == 500
    assert server.get("/sleep").status == 504
    with server.client() as client:
        client.send(b"GET /bad HTTP/1.1\r\nHost : a\r\n\r\n")
        assert client.answer().status == 400
    with Client(str(path)) as client:
        client.send(b"GET /unix HTTP/1.0\r\n\r\n")
        client.rest()


LIMIT = "1.5"  # seconds: for all of these requests, one of which is to take longer
STATUSES = [200, 404, 200, 200, 200, 200, 500, 504, 400, 200]


def test_access_log_combined(mode: str, tmp_path: Path) -> None:
    log, sock = tmp_path / "access.log", tmp_path / "s"
    with Server(APP, "-w", mode, "-b", f"unix:{sock}", "--timeout", LIMIT, "--access-log", str(log)) as server:
        traffic(server, sock)
    lines = log.read_text().splitlines()
    pattern = re.compile(
        r'(\S+) - - \[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\] "([^"]*)" (\d{3}) (\d+) "([^"]*)" "([^"]*)"'
    )
    found = [pattern.fullmatch(line) for line in lines]
    assert None not in found, lines
    client, request, status, size, referer, agent = zip(*(match.groups() for match in found if match), strict=True)
    assert list(map(int, status)) == STATUSES
    assert client == ("127.0.0.1",) * 9 + ("unix:",)
    assert request == (
        "GET /a?b=c HTTP/1.1",
        "GET /404 HTTP/1.1",
        "POST / HTTP/1.1",
        "HEAD /stream HTTP/1.1",
        "GET /stream HTTP/1.1",
        r"GET /\x22quoted\x22\x5c HTTP/1.1",
        "GET /boom HTTP/1.1",
        "GET /sleep HTTP/1.1",
        "-",
        "GET /unix HTTP/1.0",
    )
    assert (size[3], size[4]) == ("0", "7"), "bytes of the body, framing excluded"
    assert referer == ("http://x/", *"-" * 9)
    assert (agent[0], agent[5]) == ("test/1.0", r"\x22\xe9\x5c")


def test_access_log_json(mode: str, tmp_path: Path) -> None:
    log, sock = tmp_path / "access.log", tmp_path / "s"
    options = ("--timeout", LIMIT, "--access-log", str(log), "--access-log-format", "json")
    with Server(APP, "-w", mode, "-b", f"unix:{sock}", *options) as server:
        traffic(server, sock)
        failed = server.wait_log(r"request [0-9a-f]{16} GET /boom")[0].split()[1]
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["status"] for line in lines] == STATUSES
    first = lines[0]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first.pop("time"))
    assert first.pop("ms") >= 0
    assert re.fullmatch("[0-9a-f]{16}", first.pop("id"))
    assert first.pop("bytes") > 50
    assert first == {
        "client": "127.0.0.1",
        "method": "GET",
        "target": "/a?b=c",
        "version": "1.1",
        "status": 200,
        "referer": "http://x/",
        "user_agent": "test/1.0",
        "host": "test",
    }
    assert lines[6]["id"] == failed, "the id leads from the one log to the other"
    assert lines[7]["ms"] >= 1000 * float(LIMIT)
    assert (lines[8]["method"], lines[8]["target"]) == (None, None)
    assert lines[5]["target"] == '/"quoted"\\'


def test_access_log_of_clients_who_leave(mode: str, tmp_path: Path) -> None:
    """499 for a request that nobody had begun, "aborted" for one whose answer did not get through."""
    log = tmp_path / "access.log"
    options = ("--concurrency", "1", "--access-log", str(log), "--access-log-format", "json")
    with Server(APP, "-w", mode, *options) as server:
        with server.client() as running, server.client() as waiting:
            running.send(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            assert running.head().status == 200  # it has the one place that there is
            waiting.send(b"GET /second HTTP/1.1\r\nHost: a\r\n\r\n")
            # What the gateway refuses by itself is answered at once: by then it has read what came before.
            assert exchange(server.address, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
            waiting.close()
            server.wait_until(lambda: "/second" in log.read_text(), "the second one is logged")
        with server.client() as reader:
            reader.send(b"GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
            assert reader.head().status == 200
        server.wait_until(lambda: "/endless" in log.read_text(), "the broken one is logged")
    lines = {line["target"]: line for line in map(json.loads, log.read_text().splitlines())}
    assert (lines["/second"]["status"], lines["/second"]["aborted"]) == (499, True)
    assert (lines["/endless"]["status"], lines["/endless"]["aborted"]) == (200, True)


def test_access_log_of_what_the_gateway_refuses(mode: str, tmp_path: Path) -> None:
    """Its lines name the request as well, once the head has been understood."""
    log = tmp_path / "access.log"
    with Server(APP, "-w", mode, "--max-body", "10", "--access-log", str(log)) as server:
        head = b"POST /big?a=b HTTP/1.1\r\nHost: a\r\nReferer: http://x/\r\nContent-Length: 11\r\n\r\n"
        assert exchange(server.address, head + b"x" * 11).startswith(b"HTTP/1.1 413 ")
        assert exchange(server.address, b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400 ")
    found = [re.search(r'"([^"]*)" (\d+) \d+ "([^"]*)"', line) for line in log.read_text().splitlines()]
    assert [match and match.groups() for match in found] == [
        ("POST /big?a=b HTTP/1.1", "413", "http://x/"),
        ("-", "400", "-"),
    ]


def test_access_log_is_opened_anew_on_hangup(mode: str, tmp_path: Path) -> None:
    """As a rotation wants it: no line is lost, and in the end the new file gets them."""
    log, old = tmp_path / "access.log", tmp_path / "access.log.1"
    asked = 0

    def ask() -> None:
        nonlocal asked
        asked += 1
        assert server.get(f"/?n={asked}").status == 200

    def arrives() -> bool:
        ask()
        return log.exists() and log.stat().st_size > 0

    with Server(APP, "-w", mode, "--io-threads", "2", "--access-log", str(log)) as server:
        ask()
        server.wait_until(lambda: log.stat().st_size, "the first line")
        log.rename(old)
        ask()
        server.signal(signal.SIGHUP)
        server.wait_until(arrives, "lines in the new file")
        server.wait_log("reload done" if mode != "0" else "ready listening", count=1 if mode != "0" else 2)
        ask()
    lines = old.read_text().splitlines() + log.read_text().splitlines()
    # sorted: each I/O thread writes its own lines
    assert sorted(int(line.partition("?n=")[2].split()[0]) for line in lines) == list(range(1, asked + 1))
    assert f"?n={asked} " in log.read_text()


def test_access_log_that_cannot_be_opened_anew_stays(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    with Server(APP, "-w", "1", "--access-log", str(folder / "access.log")) as server:
        folder.rename(tmp_path / "away")
        server.signal(signal.SIGHUP)
        server.wait_log(r"the access log stays in its old file reason=.*cannot write the access log")
        server.wait_log("reload done")
        assert server.get("/?still").status == 200
    assert "/?still" in (tmp_path / "away" / "access.log").read_text()

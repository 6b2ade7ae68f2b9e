"""Random bytes, damaged requests, requests that break off, requests in pieces: no crash, no hang, nothing left behind.

What the answers must be is tested row by row in tests/evpy/gateway/test_wire.py; here only that there is an answer or
an end, that the processes are the same afterwards, and that everything has come to rest.
"""

from __future__ import annotations

import contextlib
import random
import re
import socket
import struct
from collections.abc import Iterator

import pytest
from hammer import LONG
from serving import Client, Server
from serving.inside import Inside, connections, descriptors

ROUNDS = 100_000 if LONG else 3000
APP = """
def handle(request):
    if request.raw_path == "/stream":
        return (piece for piece in request.stream)
    return request.body
"""


def post(target: str, *fields: str, body: bytes) -> bytes:
    return "\r\n".join([f"POST {target} HTTP/1.1", "Host: a", *fields, "", ""]).encode() + body


def chunked(*pieces: bytes) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


VALID = {
    "get": b"GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: x=y\r\n\r\n",
    "absolute": b"GET http://a/b HTTP/1.1\r\nHost: a\r\n\r\n",
    "old": b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    "length": post("/", "Content-Length: 11", body=b"hello world"),
    "chunks": post("/", "Transfer-Encoding: chunked", body=chunked(b"hello", b" ", b"world")),
    "extension": post("/", "Transfer-Encoding: chunked", body=b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"),
    "stream": post("/stream", "Transfer-Encoding: chunked", body=chunked(b"hello", b" ", b"world")),
    "expect": post("/", "Expect: 100-continue", "Content-Length: 5", body=b"hello"),
    "pipelined": b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n" + post("/2", "Content-Length: 3", body=b"two"),
}
LARGE = post("/stream", "Content-Length: 70000", body=b"x" * 70000)


@pytest.fixture(scope="module", params=["2", "0"], ids=["gateway", "inline"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    # A client of these tests never waits for a time limit: it says that it is done.
    with Server(APP, "-w", request.param, "--max-body", "1M") as server:
        assert server.get("/").status == 200
        yield server


@pytest.fixture(autouse=True)
def _unharmed(server: Server) -> Iterator[None]:
    processes = server.children()
    owner = server.gateway() if processes else server.pid
    server.wait_until(lambda: not connections(owner), "every connection is closed")
    before = descriptors(owner)
    yield
    assert server.get("/").status == 200  # what was waiting to be accepted has been: this one came after it
    server.wait_until(lambda: not connections(owner), "every connection is closed")
    server.wait_until(lambda: descriptors(owner) == before, f"there are {before} descriptors again")
    if processes:
        with Inside(server.pid) as inside:
            inside.wait_at_rest()
    assert server.children() == processes
    assert not re.search(r"Traceback| (ERROR|CRITICAL) ", server.log), server.log


def finish(client: Client) -> bytes:
    with contextlib.suppress(OSError):  # it may have closed already
        client.half_close()
    return client.rest()


def reset(client: Client) -> None:
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_random_bytes(server: Server) -> None:
    chance = random.Random(1)
    for _ in range(ROUNDS):
        data = chance.randbytes(chance.choice((1, 10, 100, 1000, 40000)))
        if chance.random() < 0.5:  # further than the first byte
            data = chance.choice((b"GET / HTTP/1.1\r\n", VALID["chunks"].partition(b"5\r\n")[0])) + data
        with server.client() as client:
            client.send_leniently(data)
            answer = finish(client)
            assert answer == b"" or re.match(rb"HTTP/1\.1 [45]\d\d ", answer), (data, answer)


def damaged(data: bytes, chance: random.Random) -> bytes:
    wrong = bytearray(data)
    for _ in range(chance.randint(1, 3)):
        at = chance.randrange(len(wrong))
        match chance.randrange(4):
            case 0:
                wrong[at] = chance.randrange(256)
            case 1:
                wrong[at:at] = chance.choice((b"\r\n", b"\n", b"\0", b" ", b":", b"0", b"\xff", bytes(wrong[:at])))
            case 2:
                del wrong[at : at + chance.randint(1, 5)]
            case _:
                other = chance.choice(list(VALID.values()))
                wrong[at:] = other[chance.randrange(len(other)) :]
        wrong = wrong or bytearray(b"x")
    return bytes(wrong)


def test_damaged_requests(server: Server) -> None:
    chance = random.Random(2)
    requests = list(VALID.values())
    for _ in range(ROUNDS):
        data = damaged(chance.choice(requests), chance)
        with server.client() as client:
            client.send_leniently(data)
            answer = finish(client)
            assert answer == b"" or answer.startswith(b"HTTP/1.1 "), (data, answer)


@pytest.mark.parametrize("end", [finish, reset, Client.close], ids=["half-close", "reset", "close"])
def test_requests_that_break_off(server: Server, end: object) -> None:
    assert callable(end)
    for data in [*VALID.values(), LARGE[:200], LARGE[:60000], LARGE[:69999]]:
        cuts = range(1, len(data)) if len(data) < 300 else (len(data),)
        for cut in cuts:
            with server.client() as client:
                client.send(data[:cut])
                end(client)


@pytest.mark.parametrize("name", VALID)
def test_requests_byte_by_byte(server: Server, name: str) -> None:
    answers = []
    for step in (1, len(VALID[name])):
        with server.client() as client:
            for at in range(0, len(VALID[name]), step):
                client.send(VALID[name][at : at + step])
            answers.append(re.sub(rb"Date: .*\r\n", b"", finish(client)))
    whole = answers[1].removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")  # who sends head and body at once gets none
    assert answers[0].removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n") == whole
    assert whole.startswith(b"HTTP/1.1 200 OK\r\n")


def test_random_pieces_of_pipelined_requests(server: Server) -> None:
    chance = random.Random(3)
    for _ in range(ROUNDS // 20):
        names = [*chance.choices([name for name in VALID if name not in ("expect", "old")], k=8), "stream"]
        data = b"".join(VALID[name] for name in names)
        cuts = sorted(chance.sample(range(1, len(data)), chance.randint(1, 30)))
        with server.client() as client:
            for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True):
                client.send(data[start:stop])
            for name in names:
                for _ in range(2 if name == "pipelined" else 1):
                    assert client.answer().status == 200, name
            client.close()

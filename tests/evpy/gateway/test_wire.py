"""Every row of docs/wire.md over a real socket: the gateway's answer, and what it does with the connection."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest
from serving import Answer, Client, Server, exchange

APP = """
import json

def handle(request):
    path = request.raw_path
    if path == "/stream":
        def parts():
            yield b"one"
            yield b""
            yield "two"
        return parts()
    if path == "/none":
        return None
    if path == "/boom":
        raise ValueError("secret inside")
    if path == "/early":  # answers without reading the body
        return "early"
    if path.startswith("/count"):
        return str(sum(len(part) for part in request.stream))
    return {
        "method": request.method, "path": path, "query": request.raw_query, "version": request.http_version,
        "host": request.host, "headers": request.raw_headers(), "body": request.body.decode("latin-1"),
    }
"""


@pytest.fixture(scope="module", params=["inline", "gateway"])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    workers = "0" if request.param == "inline" else "2"
    with Server(
        APP,
        "-w",
        workers,
        "--max-body",
        "1M",
        "--max-body-at",
        "/count/large=3M",
        "--max-body-at",
        "/count/small=1000",
    ) as server:
        yield server


def request(*lines: str, body: bytes = b"", end: str = "\r\n\r\n") -> bytes:
    return "\r\n".join(lines).encode("latin-1") + end.encode() + body


REFUSED = {
    "length and chunked": (
        request("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        400,
    ),
    "chunked on 1.0": (request("POST / HTTP/1.0", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "last coding not chunked": (request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: chunked, gzip"), 400),
    "unknown coding": (request("POST / HTTP/1.1", "Host: a", "Transfer-Encoding: bzip3, chunked"), 501),
    "two lengths": (request("POST / HTTP/1.1", "Host: a", "Content-Length: 3", "Content-Length: 3", body=b"abc"), 400),
    "list of lengths": (request("POST / HTTP/1.1", "Host: a", "Content-Length: 3, 3", body=b"abc"), 400),
    "signed length": (request("POST / HTTP/1.1", "Host: a", "Content-Length: +3", body=b"abc"), 400),
    "hexadecimal length": (request("POST / HTTP/1.1", "Host: a", "Content-Length: 0x3", body=b"abc"), 400),
    "empty length": (request("POST / HTTP/1.1", "Host: a", "Content-Length: "), 400),
    "length over 2^63-1": (request("POST / HTTP/1.1", "Host: a", "Content-Length: 9223372036854775808"), 400),
    "obs-fold": (request("GET / HTTP/1.1", "Host: a", "X: 1", " 2"), 400),
    "bare LF": (b"GET / HTTP/1.1\nHost: a\n\n", 400),
    "bare CR": (b"GET / HTTP/1.1\rHost: a\r\n\r\n", 400),
    "space before the colon": (request("GET / HTTP/1.1", "Host : a"), 400),
    "empty field name": (request("GET / HTTP/1.1", "Host: a", ": x"), 400),
    "NUL in a value": (request("GET / HTTP/1.1", "Host: a", "X: a\0b"), 400),
    "control in a value": (request("GET / HTTP/1.1", "Host: a", "X: a\x0bb"), 400),
    "non-token name": (request("GET / HTTP/1.1", "Host: a", "X(1): a"), 400),
    "non-token method": (request("G@T / HTTP/1.1", "Host: a"), 400),
    "no Host": (request("GET / HTTP/1.1"), 400),
    "two Hosts": (request("GET / HTTP/1.1", "Host: a", "Host: a"), 400),
    "invalid Host": (request("GET / HTTP/1.1", "Host: a b"), 400),
    "contradicting Host": (request("GET http://b/ HTTP/1.1", "Host: a"), 400),
    "two spaces": (request("GET  / HTTP/1.1", "Host: a"), 400),
    "fragment": (request("GET /#x HTTP/1.1", "Host: a"), 400),
    "control in the target": (request("GET /\x01 HTTP/1.1", "Host: a"), 400),
    "long request line": (request("GET /" + "x" * 9000 + " HTTP/1.1", "Host: a"), 414),
    "long field line": (request("GET / HTTP/1.1", "Host: a", "X: " + "x" * 9000), 431),
    "many fields": (request("GET / HTTP/1.1", "Host: a", *(f"X{i}: 1" for i in range(101))), 431),
    "long head": (request("GET / HTTP/1.1", "Host: a", *(f"X{i}: " + "y" * 8000 for i in range(5))), 431),
    "length over the limit": (request("POST / HTTP/1.1", "Host: a", "Content-Length: 1048577"), 413),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (request("GET / HTTP/1.2", "Host: a"), 505),
    "HTTP/0.9": (b"GET /\r\n\r\n", 400),
    "unknown expectation": (request("POST / HTTP/1.1", "Host: a", "Expect: coffee", "Content-Length: 3"), 417),
    "CONNECT": (request("CONNECT a:1 HTTP/1.1", "Host: a:1"), 501),
}
CHUNKED = ("POST /count HTTP/1.1", "Host: a", "Transfer-Encoding: chunked")
REFUSED |= {
    f"chunked body: {name}": (request(*CHUNKED, body=body), status)
    for name, (body, status) in {
        "17 digits": (b"00000000000000001\r\na\r\n0\r\n\r\n", 400),
        "sign": (b"+1\r\na\r\n0\r\n\r\n", 400),
        "space": (b"1 \r\na\r\n0\r\n\r\n", 400),
        "0x": (b"0x1\r\na\r\n0\r\n\r\n", 400),
        "data not followed by CRLF": (b"1\r\nab\r\n0\r\n\r\n", 400),
        "extensions over 1 KB": (b"1;" + b"x" * 1100 + b"\r\na\r\n0\r\n\r\n", 400),
        "extensions over 16 KB": (b"".join(b"1;" + b"x" * 1000 + b"\r\na\r\n" for _ in range(17)) + b"0\r\n\r\n", 400),
        "forbidden trailer": (b"0\r\nContent-Length: 3\r\n\r\n", 400),
        "trailer with a bare LF": (b"0\r\nX: 1\n\r\n", 400),
        "over the limit": (b"".join(b"10000\r\n" + b"x" * 65536 + b"\r\n" for _ in range(17)) + b"0\r\n\r\n", 413),
    }.items()
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(server: Server, name: str) -> None:
    data, status = REFUSED[name]
    answer = exchange(server.address, data + request("GET /smuggled HTTP/1.1", "Host: a"))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode()), answer[:200]
    assert b"Connection: close" in head
    assert len(re.findall(rb"HTTP/1\.1 \d\d\d ", answer)) == 1, "after a framing error nothing else is served"
    assert b"smuggled" not in body


@pytest.mark.parametrize("name", [n for n in REFUSED if len(REFUSED[n][0]) < 300])
def test_refused_byte_by_byte(server: Server, name: str) -> None:
    data, status = REFUSED[name]
    with Client(server.address) as client:
        for i in range(len(data)):
            client.send_leniently(data[i : i + 1])
        assert client.rest().startswith(f"HTTP/1.1 {status} ".encode())


ACCEPTED = {
    "plain": (request("GET /a?b=c HTTP/1.1", "Host: x"), {"path": "/a", "query": "b=c", "host": "x", "body": ""}),
    "absolute form": (request("GET http://X:80/p HTTP/1.1", "Host: x"), {"path": "/p", "host": "X:80"}),
    "asterisk": (request("OPTIONS * HTTP/1.1", "Host: x"), {"path": "*", "method": "OPTIONS"}),
    "unknown method": (request("BREW / HTTP/1.1", "Host: x"), {"method": "BREW"}),
    "1.0 without Host": (request("GET / HTTP/1.0"), {"version": "1.0"}),
    "body": (request("POST / HTTP/1.1", "Host: x", "Content-Length: 3", body=b"a\0\xff"), {"body": "a\0\xff"}),
    "chunks": (
        request(
            "POST / HTTP/1.1",
            "Host: x",
            "Transfer-Encoding: chunked",
            body=b"3;e=1\r\nabc\r\n2\r\nde\r\n0\r\nT: 1\r\n\r\n",
        ),
        {"body": "abcde"},
    ),
    "underscores dropped": (
        request("GET / HTTP/1.1", "Host: x", "X_Y: 1", "Z: 2"),
        {"headers": [["Host", "x"], ["Z", "2"]]},
    ),
    "empty line first": (b"\r\n" + request("GET / HTTP/1.1", "Host: x"), {"path": "/"}),
    "unknown upgrade": (
        request("GET /u HTTP/1.1", "Host: x", "Connection: upgrade", "Upgrade: mystery"),
        {"path": "/u"},
    ),
    "obs-text": (request("GET / HTTP/1.1", "Host: x", "N: \xe9"), {"headers": [["Host", "x"], ["N", "\xe9"]]}),
}


def seen(client: Client) -> tuple[Answer, dict[str, object]]:
    answer = client.answer()
    return answer, json.loads(answer.body)


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted(server: Server, name: str) -> None:
    data, expected = ACCEPTED[name]
    with Client(server.address) as client:
        client.send(data)
        answer, got = seen(client)
        assert answer.status == 200
        assert {key: got[key] for key in expected} == expected


@pytest.mark.parametrize("name", ACCEPTED)
def test_every_split_of_every_valid_request(server: Server, name: str) -> None:
    data, expected = ACCEPTED[name]
    keeps = b"HTTP/1.0" not in data
    client = Client(server.address)
    for cut in range(1, len(data)):
        client.send(data[:cut])
        client.send(data[cut:])
        got = seen(client)[1]
        assert {key: got[key] for key in expected} == expected, cut
        if not keeps:
            client.close()
            client = Client(server.address)
    client.close()


def test_keep_alive_and_pipelining_in_order(server: Server) -> None:
    with Client(server.address) as client:
        client.send(b"".join(request(f"GET /{i} HTTP/1.1", "Host: a") for i in range(50)))
        assert [seen(client)[1]["path"] for _ in range(50)] == [f"/{i}" for i in range(50)]


def test_pipelined_bodies(server: Server) -> None:
    with Client(server.address) as client:
        parts = []
        for i in range(20):
            body = bytes([65 + i]) * i * 997
            parts.append(request("POST / HTTP/1.1", "Host: a", f"Content-Length: {len(body)}", body=body))
            parts.append(
                request(
                    "POST / HTTP/1.1",
                    "Host: a",
                    "Transfer-Encoding: chunked",
                    body=b"%x\r\n%b\r\n0\r\n\r\n" % (i + 1, b"z" * (i + 1)),
                )
            )
        client.send(b"".join(parts))
        for i in range(20):
            assert len(str(seen(client)[1]["body"])) == i * 997
            assert seen(client)[1]["body"] == "z" * (i + 1)


def test_bytes_after_connection_close_are_dropped(server: Server) -> None:
    answer = exchange(
        server.address,
        request("GET /1 HTTP/1.1", "Host: a", "Connection: close") + request("GET /2 HTTP/1.1", "Host: a"),
    )
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b'"/2"' not in answer
    assert b"Connection: close" in answer


def test_http_1_0_closes_unless_asked(server: Server) -> None:
    assert exchange(server.address, request("GET / HTTP/1.0")).startswith(b"HTTP/1.1 200")
    with Client(server.address) as client:
        for _ in range(2):
            client.send(request("GET / HTTP/1.0", "Connection: keep-alive"))
            answer = client.answer()
            assert answer.status == 200
            assert answer.header("connection") == "keep-alive"


def test_streams_to_1_1_chunked_and_to_1_0_until_close(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("GET /stream HTTP/1.1", "Host: a"))
        answer = client.answer()
        assert answer.header("transfer-encoding") == "chunked"
        assert answer.body == b"onetwo"
        assert client.get("/").status == 200
    raw = exchange(server.address, request("GET /stream HTTP/1.0", "Connection: keep-alive"))
    head, _, body = raw.partition(b"\r\n\r\n")
    assert body == b"onetwo"
    assert b"Transfer-Encoding" not in head


@pytest.mark.parametrize("path", ["/", "/stream", "/none", "/boom"])
def test_head_has_no_body(server: Server, path: str) -> None:
    with Client(server.address) as client:
        client.send(request(f"HEAD {path} HTTP/1.1", "Host: a"))
        head = client.answer("HEAD")
        assert client.get("/").status == 200, "what follows is the next response, not a body"
        whole = client.get(path)
    assert head.status == whole.status
    if path == "/none":
        assert head.status == 204
        assert head.header("content-length") is None
    if path == "/":
        assert int(head.header("content-length") or 0) > 50


def test_a_refused_head_request_has_no_body(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("HEAD / HTTP/1.1", "Host: a", "Content-Length: 2000000"))
        assert client.answer("HEAD").status == 413
        assert client.is_closed()


def chunked(total: int) -> bytes:
    return b"%x\r\n" % total + b"x" * total + b"\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "most"),
    [("/count", 1 << 20), ("/count/large", 3 << 20), ("/count/large/x", 3 << 20), ("/count/small", 1000)],
)
def test_each_path_has_its_body_limit(server: Server, path: str, most: int) -> None:
    with Client(server.address) as client:
        client.send(request(f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {most}", body=b"x" * most))
        assert client.answer().status == 200
        client.send(request(f"POST {path} HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=chunked(most)))
        assert client.answer().status == 200
        client.send(request(f"POST {path} HTTP/1.1", "Host: a", f"Content-Length: {most + 1}"))
        assert client.answer().status == 413
        assert client.is_closed()
    with Client(server.address) as client:
        client.send(request(f"POST {path} HTTP/1.1", "Host: a", "Transfer-Encoding: chunked", body=chunked(most + 1)))
        assert client.answer().status == 413


def test_expect_continue(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("POST / HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 3"))
        assert client.head().status == 100
        client.send(b"abc")
        assert seen(client)[1]["body"] == "abc"
        client.send(request("POST /count HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 100000"))
        assert client.head().status == 100
        client.send(b"x" * 100000)
        assert client.answer().body == b"100000"


def test_expect_continue_is_not_sent_when_the_body_is_not_wanted(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("POST /early HTTP/1.1", "Host: a", "Expect: 100-continue", "Content-Length: 100000"))
        answer = client.answer()
        assert answer.status == 200
        assert answer.header("connection") == "close", "the body may or may not follow"


def test_an_unread_body_does_not_break_the_connection(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("POST /early HTTP/1.1", "Host: a", "Content-Length: 100000", body=b"x" * 50000))
        assert client.answer().body == b"early"
        client.send(b"x" * 50000)
        assert client.get("/after").json()["path"] == "/after"


def test_a_large_body_streams(server: Server) -> None:
    with Client(server.address) as client:
        assert client.post("/count", b"x" * 1000000).body == b"1000000"
        client.send(request(*CHUNKED))
        for _ in range(100):
            client.send(b"2710\r\n" + b"y" * 10000 + b"\r\n")
        client.send(b"0\r\n\r\n")
        assert client.answer().body == b"1000000"


def test_a_half_closing_client_gets_its_answer(server: Server) -> None:
    with Client(server.address) as client:
        client.send(request("GET /1 HTTP/1.1", "Host: a") + request("GET /2 HTTP/1.1", "Host: a"))
        client.half_close()
        assert seen(client)[1]["path"] == "/1"
        assert seen(client)[1]["path"] == "/2"
        assert client.is_closed()


@pytest.mark.parametrize("workers", ["0", "2"])
def test_slow_heads_and_bodies_get_408(workers: str) -> None:
    with (
        Server(APP, "-w", workers, "--header-timeout", "1", "--body-timeout", "1") as server,
        Client(server.address) as head,
        Client(server.address) as body,
        Client(server.address) as streamed,
    ):
        head.send(b"GET / HTTP/1.1\r\nHo")
        body.send(request("POST / HTTP/1.1", "Host: a", "Content-Length: 3", body=b"a"))
        streamed.send(request("POST /count HTTP/1.1", "Host: a", "Content-Length: 100000", body=b"a"))
        for client in (head, body, streamed):
            answer = client.answer()
            assert answer.status == 408
            assert answer.header("connection") == "close"
            assert client.is_closed()


def test_errors_show_nothing_of_the_inside(server: Server) -> None:
    answer = server.get("/boom")
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert b"Traceback" not in answer.body
    server.wait_log("secret inside")


def test_date_and_server(server: Server) -> None:
    answer = server.get("/")
    assert answer.header("server")
    assert answer.header(
        "date",
    ).endswith(" GMT")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (request("GET / HTTP/1.1", "Host: a", "X: " + "x" * 9000), b"8192 bytes in a line"),
        (request("GET /" + "x" * 9000 + " HTTP/1.1"), b"request line is over 8192 bytes"),
        (b"GET / HTTP/1.1\nHost: a\n\n", b"line end that is not CRLF"),
        (request("GET / HTTP/1.1"), b"HTTP/1.1 without Host"),
        (request("POST / HTTP/1.1", "Host: a", "Content-Length: 1048577"), b"request body over the limit"),
    ],
)
def test_a_refusal_names_the_rule(server: Server, data: bytes, says: bytes) -> None:
    assert says in exchange(server.address, data)

"""Uploads: what arrives is what was sent, memory does not grow with it, and no temporary file outlives its request.

EVPY_LONG=1 makes the large ones 3 GB.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from footprint import memory, open_files
from serving import Client, Server

MAIN = Path(__file__).parents[2] / "examples/upload/main.py"
LARGE = (3 << 30) if os.environ.get("EVPY_LONG") == "1" else 300_000_000  # bytes
GROWTH = 16 << 20  # bytes that all processes together may need more than when idle (some 4 MB is usual)
BOUNDARY = "----a-boundary"
PIECE = os.urandom(1 << 20)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(MAIN, "-w", "2", "--max-body", "0", env={"TMPDIR": str(tmp_path)}) as server:
        yield server
        server.wait_until(lambda: not open_files(server.workers(), tmp_path), "no temporary file is open any more")
        assert list(tmp_path.iterdir()) == []


def part(field: str, filename: str | None, content: bytes = b"") -> bytes:
    name = "" if filename is None else f'; filename="{filename}"'
    return f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{field}"{name}\r\n\r\n'.encode() + content


def form(*parts: bytes) -> bytes:
    return b"".join(each + b"\r\n" for each in parts) + f"--{BOUNDARY}--\r\n".encode()


def head(line: str, length: int, *fields: str) -> bytes:
    return "\r\n".join([f"{line} HTTP/1.1", "Host: a", f"Content-Length: {length}", *fields, "", ""]).encode()


MULTIPART = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"


def sent(data: bytes) -> dict[str, object]:
    return {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}


def send_pieces(server: Server, client: Client, size: int) -> tuple[str, int]:
    """Sends ``size`` bytes; their SHA-256, and the most memory that the server had meanwhile."""
    digest, most, left = hashlib.sha256(), 0, size
    while left:
        piece = PIECE[: min(left, len(PIECE))]
        client.send(piece)
        digest.update(piece)
        left -= len(piece)
        if left // len(PIECE) % 16 == 0:
            most = max(most, memory(server))
    return digest.hexdigest(), most


def test_several_files_of_one_form(server: Server) -> None:
    small, large, name = b"small\r\n\0", os.urandom(200_000), "Übung 1.pdf"
    body = form(
        part("note", None, b"no file"),
        part("file", "a.txt", small),
        part("file", name, large),
        part("other", "../../etc/passwd", b""),
        part("none", ""),
    )
    with server.client() as client:
        answer = client.post("/form", body, MULTIPART)
        assert answer.status == 200
        assert answer.json() == [
            {"field": "file", "filename": "a.txt"} | sent(small),
            {"field": "file", "filename": name} | sent(large),
            {"field": "other", "filename": "passwd"} | sent(b""),
        ]


def test_a_large_form_does_not_grow_the_memory(server: Server, tmp_path: Path) -> None:
    begin, end = part("file", "big.iso"), b"\r\n" + form()
    with server.client() as client:
        client.post("/form", form(part("file", "warm-up", PIECE)), MULTIPART)
        idle = memory(server)
        client.send(head("POST /form", len(begin) + LARGE + len(end), MULTIPART) + begin)
        digest, most = send_pieces(server, client, LARGE)
        assert len(open_files(server.workers(), tmp_path)) == 1, "it is spooled to a file there ..."
        assert list(tmp_path.iterdir()) == [], "... that has no name"
        client.send(end)
        assert client.answer().json() == [{"field": "file", "filename": "big.iso", "size": LARGE, "sha256": digest}]
    assert most - idle < GROWTH, f"{most - idle} bytes more than {idle}"


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_large_body_is_hashed_while_it_arrives(server: Server, method: str, tmp_path: Path) -> None:
    with server.client() as client:
        client.post("/hash", PIECE)
        idle = memory(server)
        client.send(head(f"{method} /hash", LARGE))
        digest, most = send_pieces(server, client, LARGE)
        assert open_files(server.workers(), tmp_path) == []
        assert client.answer().json() == {"sha256": digest}
    assert most - idle < GROWTH, f"{most - idle} bytes more than {idle}"


def test_a_chunked_body_is_hashed_too(server: Server) -> None:
    with server.client() as client:
        client.send(b"PUT /hash HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(10):
            client.send(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        client.send(b"0\r\n\r\n")
        assert client.answer().json() == {"sha256": hashlib.sha256(PIECE * 10).hexdigest()}


def test_an_upload_that_breaks_off_leaves_nothing(server: Server, tmp_path: Path) -> None:
    with server.client() as client:
        client.send(head("POST /form", 100_000_000, MULTIPART) + part("file", "big.iso") + PIECE)
        server.wait_until(lambda: open_files(server.workers(), tmp_path), "a temporary file is open")
    server.wait_until(lambda: not open_files(server.workers(), tmp_path), "the temporary file is gone")
    assert server.get("/").status == 200


def test_the_limit_holds_unless_it_is_lifted(tmp_path: Path) -> None:
    with Server(MAIN, "-w", "1", env={"TMPDIR": str(tmp_path)}) as server, server.client() as client:
        client.send(head("PUT /hash", 17 << 20))
        assert client.answer().status == 413


def test_a_malformed_form_is_refused(server: Server) -> None:
    with server.client() as client:
        answer = client.post("/form", b"--other\r\n\r\nx\r\n--other--\r\n", MULTIPART)
        assert answer.status == 400
        assert b"malformed multipart form" in answer.body
        assert client.post("/form", b"x", "Content-Type: text/plain").status == 415
        page = client.get("/")
        assert b'enctype="multipart/form-data"' in page.body

"""Range requests on a file that is too large for anybody's memory, as browsers and download managers make them."""

from __future__ import annotations

import email
import os
import re
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from footprint import memory, open_files
from serving import Answer, Server

MAIN = Path(__file__).parents[2] / "examples/video/main.py"
SMALL = bytes(range(256)) * 4000  # 1,024,000 bytes
SIZE = 5 << 30  # of the large file, which is sparse
MARK, MARK_AT = b"here it is, beyond 32 bits", (9 << 29) + 1
HOUR_AGO = os.stat(__file__).st_mtime_ns // 1_000_000_000 - 3600


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("videos")
    (folder / "small.mp4").write_bytes(SMALL)
    os.utime(folder / "small.mp4", (HOUR_AGO, HOUR_AGO))
    with open(folder / "large.mkv", "wb") as large:
        large.truncate(SIZE)
        os.pwrite(large.fileno(), MARK, MARK_AT)
    (folder / "a & b <c>.mp4").write_bytes(b"")
    (folder / ".secret").write_bytes(b"secret")
    (folder / "link.mp4").symlink_to("/etc/passwd")
    (folder.parent / "outside.mp4").write_bytes(b"outside")
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with Server(MAIN, "-w", "2", env={"VIDEO_DIR": str(folder)}) as server:
        yield server


def get(server: Server, *fields: str, name: str = "small.mp4") -> Answer:
    return server.get(f"/media/{name}", *fields)


def test_the_index_links_to_every_file(server: Server) -> None:
    page = server.get("/").body.decode()
    links = re.findall(r'<a href="([^"]+)">([^<]+)</a>', page)
    assert links == [
        ("/media/a%20%26%20b%20%3Cc%3E.mp4", "a &amp; b &lt;c&gt;.mp4"),
        ("/media/large.mkv", "large.mkv"),
        ("/media/link.mp4", "link.mp4"),
        ("/media/small.mp4", "small.mp4"),
    ]
    assert server.get(links[0][0]).status == 200


def test_a_whole_file(server: Server) -> None:
    answer = get(server)
    assert (answer.status, answer.body) == (200, SMALL)
    assert answer.header("content-type") == "video/mp4"
    assert answer.header("content-length") == str(len(SMALL))
    assert answer.header("accept-ranges") == "bytes"
    assert answer.header("last-modified") == formatdate(HOUR_AGO, usegmt=True)
    assert re.fullmatch('"[^"]+"', answer.header("etag") or "")


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("0-0", 0, 1),
        ("0-499999", 0, 500_000),
        ("500000-", 500_000, len(SMALL)),
        ("-100", len(SMALL) - 100, len(SMALL)),
        ("-99999999", 0, len(SMALL)),
        ("1023999-2000000", 1_023_999, len(SMALL)),
    ],
)
def test_one_range(server: Server, asked: str, start: int, end: int) -> None:
    answer = get(server, f"Range: bytes={asked}")
    assert answer.status == 206
    assert answer.header("content-range") == f"bytes {start}-{end - 1}/{len(SMALL)}"
    assert answer.header("content-type") == "video/mp4"
    assert answer.body == SMALL[start:end]


@pytest.mark.parametrize("asked", ["bytes=5-1", "bytes=x-", "bits=0-1", "bytes="])
def test_what_is_no_range_is_ignored(server: Server, asked: str) -> None:
    answer = get(server, f"Range: {asked}")
    assert (answer.status, answer.body) == (200, SMALL)


def parts_of(answer: Answer) -> list[tuple[str | None, bytes]]:
    """Content-Range and bytes of each part, as the standard library's MIME parser reads them."""
    head = f"Content-Type: {answer.header('content-type')}\r\n\r\n".encode()
    message: Any = email.message_from_bytes(head + answer.body)
    return [(part["content-range"], part.get_payload(decode=True)) for part in message.get_payload()]


def test_several_ranges_are_one_multipart_answer(server: Server) -> None:
    with server.client() as client:
        answer = client.get("/media/large.mkv", f"Range: bytes=0-9, {MARK_AT}-{MARK_AT + len(MARK) - 1},-5")
        assert answer.status == 206
        assert (answer.header("content-type") or "").startswith("multipart/byteranges; boundary=")
        assert parts_of(answer) == [
            (f"bytes 0-9/{SIZE}", bytes(10)),
            (f"bytes {MARK_AT}-{MARK_AT + len(MARK) - 1}/{SIZE}", MARK),
            (f"bytes {SIZE - 5}-{SIZE - 1}/{SIZE}", bytes(5)),
        ]
        assert client.get("/").status == 200, "its length was right"


def test_beyond_the_end(server: Server) -> None:
    answer = get(server, "Range: bytes=1024000-")
    assert answer.status == 416
    assert answer.header("content-range") == f"bytes */{len(SMALL)}"


def test_what_the_client_has_already_is_not_sent_again(server: Server) -> None:
    first = get(server)
    etag, modified = first.header("etag"), first.header("last-modified")
    with server.client() as client:
        for field in (f"If-None-Match: {etag}", f'If-None-Match: "x", W/{etag}', f"If-Modified-Since: {modified}"):
            answer = client.get("/media/small.mp4", field)
            assert (answer.status, answer.body) == (304, b"")
            assert answer.header("etag") == etag
        answer = client.get("/media/small.mp4", 'If-None-Match: "other"', f"If-Modified-Since: {modified}")
        assert (answer.status, answer.body) == (200, SMALL), "If-None-Match counts, If-Modified-Since does not then"
        assert client.get("/media/small.mp4", 'If-Match: "other"').status == 412


def test_if_range_tells_whether_the_rest_still_fits(server: Server) -> None:
    etag, modified = get(server).header("etag"), get(server).header("last-modified")
    for same in (etag, modified):
        answer = get(server, "Range: bytes=1000000-", f"If-Range: {same}")
        assert (answer.status, answer.body) == (206, SMALL[1_000_000:])
    for other in ('"other"', f"W/{etag}", formatdate(HOUR_AGO - 1, usegmt=True)):
        answer = get(server, "Range: bytes=1000000-", f"If-Range: {other}")
        assert (answer.status, answer.body) == (200, SMALL)


def test_a_changed_file_has_another_tag(server: Server, folder: Path) -> None:
    before = get(server)
    os.utime(folder / "small.mp4", (HOUR_AGO + 10, HOUR_AGO + 10))
    try:
        answer = get(server, f"If-None-Match: {before.header('etag')}")
        assert answer.status == 200
        assert answer.header("etag") != before.header("etag")
    finally:
        os.utime(folder / "small.mp4", (HOUR_AGO, HOUR_AGO))


def test_head_says_the_same_without_the_bytes(server: Server) -> None:
    whole = get(server)
    with server.client() as client:
        client.send(b"HEAD /media/small.mp4 HTTP/1.1\r\nHost: a\r\nRange: bytes=0-9\r\n\r\n")
        head = client.answer("HEAD")
        client.send(b"HEAD /media/large.mkv HTTP/1.1\r\nHost: a\r\n\r\n")
        large = client.answer("HEAD")
        assert client.get("/").status == 200
    assert head.status == 200, "Range is for GET (RFC 9110 section 14.2)"
    same = [[field for field in answer.headers if field[0] != "date"] for answer in (head, whole)]
    assert same[0] == same[1]
    assert large.header("content-length") == str(SIZE)


def test_beyond_four_gigabytes(server: Server) -> None:
    answer = get(server, f"Range: bytes={MARK_AT}-{MARK_AT + len(MARK) - 1}", name="large.mkv")
    assert (answer.status, answer.body) == (206, MARK)
    assert answer.header("content-range") == f"bytes {MARK_AT}-{MARK_AT + len(MARK) - 1}/{SIZE}"
    tail = get(server, "Range: bytes=-1000000", name="large.mkv")
    assert (tail.status, tail.body) == (206, bytes(1_000_000))


def test_a_player_that_seeks_and_leaves(server: Server, folder: Path) -> None:
    """It asks for everything from some point on, reads a little, hangs up and asks for another point."""
    idle = memory(server)
    for n in range(20):
        with server.client() as client:
            client.send(f"GET /media/large.mkv HTTP/1.1\r\nHost: a\r\nRange: bytes={n << 27}-\r\n\r\n".encode())
            head = client.head()
            assert (head.status, head.header("content-length")) == (206, str(SIZE - (n << 27)))
            got = len(client.buffer)
            while got < 1 << 20:
                data = client.socket.recv(65536)
                assert data
                got += len(data)
    assert get(server, "Range: bytes=0-0").status == 206
    assert memory(server) - idle < 16 << 20
    server.wait_until(lambda: not open_files([server.gateway(), *server.workers()], folder), "all files are closed")


@pytest.mark.parametrize(
    "name",
    [
        "none.mp4",
        ".secret",
        "../outside.mp4",
        "%2e%2e/outside.mp4",
        "..%2foutside.mp4",
        "link.mp4",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "small.mp4%00",
        "x" * 300,
        "small.mp4/x",
    ],
)
def test_nothing_else_is_served(server: Server, name: str) -> None:
    answer = get(server, name=name)
    assert answer.status == 404
    assert b"root:" not in answer.body


def test_a_folder_that_is_not_there_is_said_at_the_start() -> None:
    with Server(MAIN, "-w", "1", env={"VIDEO_DIR": "/none"}, ready=False, exit_code=3) as server:
        server.wait_log("VIDEO_DIR=/none")
        server.wait()

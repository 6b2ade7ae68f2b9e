"""A copy is what was streamed, whole, or it is not there."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Server

MAIN = Path(__file__).parents[2] / "examples/mediacopy/main.py"
SIZE = 20_000_003  # bytes: more than all buffers on the way to a client that does not read


@pytest.fixture
def media(tmp_path: Path) -> Path:
    (tmp_path / "media").mkdir()
    (tmp_path / "media/film.mkv").write_bytes(os.urandom(SIZE))
    (tmp_path / "media/empty").touch()
    (tmp_path / "outside").write_text("outside")
    return tmp_path / "media"


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    return tmp_path / "copies"


@pytest.fixture
def server(media: Path, copies: Path) -> Iterator[Server]:
    with Server(MAIN, "-w", "2", env={"MEDIA_DIR": str(media), "COPY_DIR": str(copies)}) as server:
        yield server


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_client_and_copy_get_the_same_bytes(server: Server, media: Path, copies: Path) -> None:
    original = (media / "film.mkv").read_bytes()
    answer = server.get("/film.mkv")
    assert answer.status == 200
    assert answer.header("content-length") == str(SIZE)
    assert answer.body == original
    server.wait_until(lambda: names(copies) == ["film.mkv"], "the copy has its name")
    assert (copies / "film.mkv").read_bytes() == original


def test_an_empty_file_is_copied_too(server: Server, copies: Path) -> None:
    answer = server.get("/empty")
    assert (answer.status, answer.body) == (200, b"")
    server.wait_until(lambda: names(copies) == ["empty"], "the copy has its name")


def test_a_client_that_leaves_leaves_no_copy(server: Server, copies: Path) -> None:
    with server.client() as client:
        client.send(b"GET /film.mkv HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.head().status == 200
        client.socket.recv(1)
        (partial,) = names(copies)
        assert partial.startswith("."), "it has begun, and does not have the name yet"
        assert 0 < (copies / partial).stat().st_size < SIZE, "a client that does not read stops the copying"
    server.wait_until(lambda: names(copies) == [], "the partial copy is gone")


def test_a_client_that_leaves_does_not_harm_the_copy_that_is_there(server: Server, media: Path, copies: Path) -> None:
    server.get("/film.mkv")
    server.wait_until(lambda: names(copies) == ["film.mkv"], "the copy has its name")
    with server.client() as client:
        client.send(b"GET /film.mkv HTTP/1.1\r\nHost: a\r\n\r\n")
        client.head()
        assert len(names(copies)) == 2
    server.wait_until(lambda: names(copies) == ["film.mkv"], "the partial copy is gone")
    assert (copies / "film.mkv").read_bytes() == (media / "film.mkv").read_bytes()


def test_clients_of_one_file_do_not_mix(server: Server, media: Path, copies: Path) -> None:
    original = (media / "film.mkv").read_bytes()
    bodies: list[bytes] = []
    clients = [threading.Thread(target=lambda: bodies.append(server.get("/film.mkv").body)) for _ in range(6)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    assert [body == original for body in bodies] == [True] * 6
    server.wait_until(lambda: names(copies) == ["film.mkv"], "one copy is left")
    assert (copies / "film.mkv").read_bytes() == original


def test_head_copies_nothing(server: Server, copies: Path) -> None:
    with server.client() as client:
        client.send(b"HEAD /film.mkv HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer("HEAD").header("content-length") == str(SIZE)
        assert client.post("/film.mkv", b"").status == 405
    assert names(copies) == []


@pytest.mark.parametrize("path", ["/none", "/", "/..%2Foutside", "/%2E%2E", "/film.mkv%00", "/" + "x" * 300, "/a/b"])
def test_nothing_else_is_served(server: Server, copies: Path, path: str) -> None:
    assert server.get(path).status == 404
    assert names(copies) == []

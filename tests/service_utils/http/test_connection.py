"""Answers as bytes: however they are cut, the same is understood; whatever comes, nothing but the tree of errors."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from service_utils.http.connection import Connection
from service_utils.http.errors import ConnectionLost, HttpClientError

FOREVER = float("inf")
ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=1\r\nllo\r\n0\r\nT: u\r\n\r\n",
    "until the end": b"HTTP/1.0 200 OK\r\nX: y\r\n\r\nhello",
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "close": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
}
KEPT = {"length", "chunks", "interim"}


class Pieces:
    """A stream that gives these."""

    deadline = 0.0

    def __init__(self, pieces: list[bytes]) -> None:
        self.pieces = [piece for piece in pieces if piece]

    def receive(self, begun: bool = False) -> bytes:
        return self.pieces.pop(0) if self.pieces else b""

    def close(self) -> None:
        pass


def cut(data: bytes, places: list[int]) -> list[bytes]:
    places = sorted({min(place, len(data)) for place in places})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]


def understood(pieces: list[bytes], method: str = "GET") -> tuple[Any, ...]:
    stream: Any = Pieces(pieces)
    connection = Connection(stream)
    connection.begin(method, FOREVER)
    connection.read_head(FOREVER, FOREVER, FOREVER)
    body = b""
    while piece := connection.read_chunk(FOREVER, FOREVER):
        body += piece
    result = connection.status, connection.reason, connection.fields, body, connection.ready
    connection.close()
    return result


@pytest.mark.parametrize("name", ANSWERS)
def test_byte_by_byte(name: str) -> None:
    data = ANSWERS[name]
    whole = understood([data])
    assert (whole[0], whole[1], whole[3], whole[4]) == (200, b"OK", b"hello", name in KEPT)
    assert understood([bytes([byte]) for byte in data]) == whole


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 120), max_size=6))
def test_cut_anywhere(name: str, places: list[int]) -> None:
    assert understood(cut(ANSWERS[name], places)) == understood([ANSWERS[name]])


# Line breaks between two answers are passed over by the parser; they are no part of either.
EXTRA = st.binary(min_size=1, max_size=40).filter(lambda more: more.strip(b"\r\n"))


@given(st.sampled_from(sorted(ANSWERS)), st.lists(st.integers(0, 120), max_size=3), EXTRA)
@example("length", [], b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")
def test_whatever_follows_ends_the_connection(name: str, places: list[int], more: bytes) -> None:
    if name == "until the end":
        return
    stream: Any = Pieces(cut(ANSWERS[name] + more, places))
    connection = Connection(stream)
    connection.begin("GET", FOREVER)
    connection.read_head(FOREVER, FOREVER, FOREVER)
    body = b""
    while piece := connection.read_chunk(FOREVER, FOREVER):
        body += piece
    assert body == b"hello"
    assert not connection.ready or stream.pieces, "what was not read yet is seen before it is used again"
    connection.close()


@pytest.mark.parametrize("name", sorted(set(ANSWERS) - {"until the end"}))
def test_cut_off_anywhere(name: str) -> None:
    for length in range(len(ANSWERS[name])):
        with pytest.raises(ConnectionLost):
            understood([ANSWERS[name][:length]])


@given(st.lists(st.binary(max_size=60), max_size=4), st.sampled_from(["GET", "HEAD"]))
def test_noise(pieces: list[bytes], method: str) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        with contextlib.suppress(HttpClientError):
            understood([start, *pieces], method)

"""What hammer.c hammers: every answer is made of the number of its request. kinds.h holds the other side of it."""

import os
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import gevent

from evpy import Request, Response

FILE_LINES = 8192
PIECE = 64  # lines that a stream yields at a time


def lines(number: int, first: int, end: int) -> bytes:
    return b"".join([b"%08x%08x\n" % (number, k) for k in range(first, end)])


def pieces(number: int, n: int) -> Iterator[bytes]:
    for first in range(0, n, PIECE):
        yield lines(number, first, min(first + PIECE, n))


def file() -> Path:
    """The file is made once, by whichever worker comes first."""
    path = Path(__file__).with_name(f"lines-{FILE_LINES}")
    if not path.exists():
        with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as new:
            new.write(lines(0, 0, FILE_LINES))
        os.replace(new.name, path)
    return path


FILE = file()


def handle(request: Request) -> object:
    kind, _, number = request.raw_path[1:].partition("/")
    if kind == "hello":
        return f"hello {number}"
    if kind == "json":
        got = request.json
        return {"id": got["id"], "n": got["n"], "sum": got["id"] + got["n"]}
    if kind in ("echo", "put"):
        return request.body
    if kind == "upload":
        crc = size = 0
        for piece in request.stream:
            crc = zlib.crc32(piece, crc)
            size += len(piece)
        return f"{number} {size} {crc:08x}"
    n = int(request.raw_query[2:])
    if kind == "stream":
        return pieces(int(number, 16), n)
    if kind == "big":
        return lines(int(number, 16), 0, n)
    if kind == "disk":
        return Response.file(FILE)
    if kind == "sleep":
        gevent.sleep(n / 1000)
        return f"slept {number}"
    if kind == "burn":
        until = time.thread_time() + n / 1000
        while time.thread_time() < until:
            pass
        return f"burnt {number}"
    return "no such kind", 404

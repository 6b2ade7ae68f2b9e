"""Files: many copies at once, by greenlets, each byte as it was; and a stream from a file to a file."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import gevent

import efio
import efio.os
from efio import BufferedStream, ChunkedStream
from stresslib import Scenario, Violation

SIZE = 5_352_871  # bytes of each file
AT_ONCE = 50


def _copy_by_hand(source: Path, target: Path, size: int) -> None:
    with efio.open(source, "rb", buffering=0) as reader, efio.open(target, "wb", write_behind=1 << 20) as writer:
        while data := reader.read(size):
            writer.write(data)


def _copy_by_stream(source: Path, target: Path, size: int) -> None:
    stream = ChunkedStream(limit=1 << 20)

    def produce() -> None:
        with efio.open(source, "rb") as reader, BufferedStream(stream, "w") as writer:
            while data := reader.read(size):
                writer.write(data)

    producer = gevent.spawn(produce)
    with efio.open(target, "wb") as writer:
        for chunk in stream:
            writer.write(chunk)
    producer.get()


def copies(amount: int) -> str:
    """`amount` copies, AT_ONCE at a time, in three ways; then their contents are hashed."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = folder / "source"
        data = os.urandom(SIZE)
        source.write_bytes(data)
        wanted = hashlib.sha256(data).digest()
        made = 0

        def copy(number: int) -> None:
            target = folder / f"copy{number}"
            if number % 3 == 0:
                efio.os.copy(source, target)
            elif number % 3 == 1:
                _copy_by_hand(source, target, 9_999)
            else:
                _copy_by_stream(source, target, 65_536)

        while made < amount:
            numbers = range(made, min(made + AT_ONCE, amount))
            gevent.joinall([gevent.spawn(copy, number) for number in numbers], raise_error=True)
            for number in numbers:
                target = folder / f"copy{number}"
                if hashlib.sha256(target.read_bytes()).digest() != wanted:
                    raise Violation(f"copy {number} is not what it was copied from")
                target.unlink()
            made += len(numbers)
    return f"{made} copies of {SIZE} bytes"


SCENARIOS = [Scenario("copies", "files of 5,352,871 bytes, 50 copies at a time, in three ways", 500, copies)]

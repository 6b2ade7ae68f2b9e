"""Measures one kind of stream of bytes: efio_streams.py NAME SCALE. Prints a line of JSON: MB/s by situation.

Producer and consumer agree on 1 MiB that may wait between them. The consumer looks at the length of what it gets.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

NAME, SCALE = sys.argv[1], float(sys.argv[2])
LIMIT = 1 << 20  # bytes


class Efio:
    def __init__(self) -> None:
        import efio

        self.stream = efio.ChunkedStream(limit=LIMIT)
        self.push, self.end = self.stream.push, self.stream.end

    def __iter__(self) -> Iterator[Any]:
        return iter(self.stream)


class Mutex:
    """The twin with a mutex: a deque under a condition variable."""

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.Lock())
        self.chunks: deque[bytes] = deque()
        self.size = 0
        self.ended = False

    def push(self, chunk: bytes) -> None:
        with self.changed:
            while self.size >= LIMIT:
                self.changed.wait()
            self.chunks.append(chunk)
            self.size += len(chunk)
            self.changed.notify()

    def end(self) -> None:
        with self.changed:
            self.ended = True
            self.changed.notify()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self.changed:
                while not self.chunks and not self.ended:
                    self.changed.wait()
                if not self.chunks:
                    return
                chunk = self.chunks.popleft()
                self.size -= len(chunk)
                self.changed.notify()
            yield chunk


class Queue:
    """queue.Queue, or gevent's, of chunks; its bound is a number of chunks."""

    def __init__(self, kind: Any, size: int) -> None:
        self.queue = kind(max(1, LIMIT // size))
        self.push = self.queue.put

    def end(self) -> None:
        self.queue.put(None)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.queue.get, None)


class Pipe:
    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()

    def push(self, chunk: bytes) -> None:
        view = memoryview(chunk)
        while view:
            view = view[os.write(self.writing, view) :]

    def end(self) -> None:
        os.close(self.writing)

    def __iter__(self) -> Iterator[bytes]:
        yield from iter(lambda: os.read(self.reading, 65536), b"")
        os.close(self.reading)


def make(size: int) -> Any:
    if NAME.startswith("efio"):
        return Efio()
    if NAME == "mutex":
        return Mutex()
    if NAME == "os.pipe":
        return Pipe()
    if NAME == "queue.Queue":
        import queue

        return Queue(queue.Queue, size)
    from gevent.queue import Queue as GeventQueue

    return Queue(GeventQueue, size)


def produce(stream: Any, size: int, n: int) -> None:
    chunk = bytes(size)
    for _ in range(n):
        stream.push(chunk)
    stream.end()


def consume(stream: Any, total: int) -> None:
    got = 0
    for chunk in stream:
        got += len(chunk)
    if got != total:
        raise SystemExit(f"{got} of {total} bytes came")


def threads(size: int, total: int) -> float:
    """MB/s between two threads."""
    stream = make(size)
    n = total // size
    producer = threading.Thread(target=produce, args=(stream, size, n))
    begin = time.perf_counter()
    producer.start()
    consume(stream, n * size)
    producer.join()
    return n * size / (time.perf_counter() - begin) / 1e6


def greenlets(size: int, total: int) -> float:
    import gevent

    stream = make(size)
    n = total // size
    begin = time.perf_counter()
    gevent.joinall([gevent.spawn(produce, stream, size, n), gevent.spawn(consume, stream, n * size)], raise_error=True)
    return n * size / (time.perf_counter() - begin) / 1e6


async def tasks(size: int, total: int) -> float:
    n = total // size
    chunk = bytes(size)
    if NAME.startswith("efio"):
        import efio

        stream = efio.ChunkedStream(limit=LIMIT)

        async def produce() -> None:
            for _ in range(n):
                await stream.apush(chunk)
            stream.end()

        async def consume() -> None:
            while await stream.await_():
                while stream.read_nowait(65536):
                    pass
    else:
        reader = asyncio.StreamReader(limit=LIMIT)

        async def produce() -> None:
            for _ in range(n):
                reader.feed_data(chunk)
                await asyncio.sleep(0)  # feeding knows no limit
            reader.feed_eof()

        async def consume() -> None:
            while await reader.read(65536):
                pass

    begin = time.perf_counter()
    await asyncio.gather(produce(), consume())
    return n * size / (time.perf_counter() - begin) / 1e6


def measure() -> dict[str, float]:
    total = int((64 << 20) * SCALE)
    if NAME == "asyncio.StreamReader":
        return {"tasks": asyncio.run(tasks(65536, total))}
    metrics = {}
    if not NAME.startswith("gevent"):
        metrics = {"large": threads(65536, total), "small": threads(1024, total // 8)}
    if NAME.startswith(("efio", "gevent")):
        metrics["greenlets"] = greenlets(65536, total)
    if NAME.startswith("efio"):
        metrics["tasks"] = asyncio.run(tasks(65536, total))
    return metrics


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure()) + "\n")

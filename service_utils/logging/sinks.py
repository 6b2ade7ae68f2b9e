"""Where lines go. Whoever logs puts a line into a queue and goes on; a thread of the operating system writes.

A hub never waits for a disk, a terminal or a network then, nor for a lock. Memory is bounded: when a queue holds
``capacity`` bytes, its oldest lines are dropped and counted. So are lines that cannot be written (full disk). When
writing works again, a line says how many are missing.

Invariant: lines put = ``written`` + ``dropped`` + those in the queue and in the writer's hands.

A line may be put from anywhere: greenlets of any hub, threads, destructors, signal handlers. At exit, ``logging``
closes its handlers, and a sink has ``CLOSE_TIMEOUT`` seconds to write what is left. What a killed process had in its
queue is lost.
"""

from __future__ import annotations

import logging
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty

from efio import AtomicInt, Queue, run_blocking
from service_utils.pool.native import native_lock, start_thread

__all__ = ["Sink", "SinkStatistics"]

CAPACITY = 8 * 1024 * 1024  # bytes
BATCH = 1000  # lines
CLOSE_TIMEOUT = 2.0  # seconds


@dataclass(frozen=True)
class SinkStatistics:
    """How a sink is doing. Numbers of lines, since the beginning."""

    name: str
    written: int
    dropped: int
    queued: int  #: bytes
    error: str  #: why writing failed last, or what else is wrong; "" when all is well


class Sink(ABC):
    """Takes lines, each ending with a newline. A subclass says how they are written, always in the same thread.

    ``form``: "text" or "json". ``capacity``: bytes that may wait.
    """

    def __init__(self, name: str, form: str = "text", *, capacity: int = CAPACITY) -> None:
        if form not in ("text", "json"):
            raise ValueError(f"form={form!r}: it is text or json")
        if capacity < 1024:
            raise ValueError(f"capacity={capacity}: give bytes, at least 1024")
        self.name = name
        self.form = form
        self.capacity = capacity
        self.render: Callable[[int], bytes] | None = None  #: makes the line about those that were dropped
        self._dropped = AtomicInt()
        self._written = 0
        self._reported = 0
        self._error = ""
        self._trouble = ""  # what does not keep lines from being written
        self._closing = False
        self._closed = False
        self._begin()
        _sinks.add(self)

    def _begin(self) -> None:
        self._queue: Queue[bytes | None] = Queue()
        self._size = AtomicInt()
        self._started = AtomicInt()
        self._ended = native_lock()
        self._ended.acquire()

    # --- for whoever logs

    def wrap(self, line: bytes, record: logging.LogRecord) -> bytes:
        """What is put around a line."""
        return line

    def put(self, line: bytes) -> None:
        """Takes a line. Never waits, never raises."""
        if self._closing:
            self._dropped.add()
            return
        if self._size.add(len(line)) > self.capacity:
            self._make_room()
        self._queue.put_nowait(line)
        if not self._started.load() and self._started.compare_exchange(0, 1):
            start_thread(self._run)

    def _make_room(self) -> None:
        while self._size.load() > self.capacity:
            try:
                oldest = self._queue.get_nowait()
            except Empty:
                return
            if oldest is None:  # the end; put() has been told since
                self._queue.put_nowait(None)
                return
            self._size.add(-len(oldest))
            self._dropped.add()

    @property
    def dropped(self) -> int:
        """Lines that are lost."""
        return self._dropped.load()

    def statistics(self) -> SinkStatistics:
        """How it is doing."""
        return SinkStatistics(self.name, self._written, self.dropped, self._size.load(), self._error)

    def close(self, timeout: float = CLOSE_TIMEOUT) -> bool:
        """Takes nothing any more; whether everything was written within ``timeout`` seconds. The rest is dropped."""
        if self._closed:
            return True
        self._closing = True
        done = True
        if self._started.compare_exchange(0, 1):  # nothing was ever written
            self._shut()
        else:
            self._queue.put_nowait(None)
            done = run_blocking(self._ended.acquire, True, timeout)  # other greenlets go on
        self._closed = True
        return done

    # --- in the thread

    def _run(self) -> None:
        queue, size = self._queue, self._size
        try:
            ended = False
            while not ended:
                batch = queue.get_many(BATCH)
                ended = None in batch
                lines = [line for line in batch if line is not None]
                size.add(-sum(map(len, lines)))
                written = self._try(lines) if lines else 0
                self._written += written
                if written < len(lines):
                    self._dropped.add(len(lines) - written)
                elif lines:
                    self._report()
        finally:
            self._shut()
            self._ended.release()

    def _try(self, lines: list[bytes]) -> int:
        try:
            written = self._write(lines)
        except Exception as error:  # noqa: BLE001 - the thread must not end, whatever a sink comes upon
            self._error = f"{type(error).__name__}: {error}"
            return 0
        if written == len(lines):
            self._error = self._trouble
        return written

    def _report(self) -> None:
        """Says how many lines are missing, once writing works again."""
        dropped = self._dropped.load()
        if dropped > self._reported and self.render is not None and self._try([self.render(dropped - self._reported)]):
            self._reported = dropped

    @abstractmethod
    def _write(self, lines: list[bytes]) -> int:
        """Writes the lines; how many were written whole. What it leaves is dropped. OSError: none was."""

    def _shut(self) -> None:  # noqa: B027 - not all have something to end
        """Ends what is open."""

    def _after_fork(self) -> None:
        """In the child: what is queued is the parent's to write, and there is no thread."""
        self._dropped.store(0)
        self._written = self._reported = 0
        self._begin()


_sinks: weakref.WeakSet[Sink] = weakref.WeakSet()


def _after_fork() -> None:
    for sink in list(_sinks):
        sink._after_fork()


os.register_at_fork(after_in_child=_after_fork)

"""A ChunkedStream as a binary file, for code that wants one."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from efio.streams import ChunkedStream

__all__ = ["BufferedStream"]


class BufferedStream(io.BufferedIOBase):
    """A ChunkedStream as a binary file: for reading (mode "r") or for writing ("w").

    Written bytes are gathered to chunks of `buffer_size`; `flush` pushes what there is, `close` also ends the stream.
    `frame` gets every chunk and returns what is pushed instead, in order: HTTP's chunked coding is
    ``lambda b: (b"%x\\r\\n" % len(b), b, b"\\r\\n")``. A `with` block that raises ends the stream with `fail`. Closing
    the reading end closes the stream for the producer.
    """

    def __init__(
        self,
        stream: ChunkedStream,
        mode: str = "r",
        buffer_size: int = 65536,
        frame: Callable[[bytes], Iterable[Any]] | None = None,
    ) -> None:
        if mode not in ("r", "w"):
            raise ValueError(f"BufferedStream(mode={mode!r}): 'r' or 'w'")
        if buffer_size < 1:
            raise ValueError(f"BufferedStream(buffer_size={buffer_size}): at least 1 byte")
        self._stream = stream
        self._mode = mode
        self._buffer_size = buffer_size
        self._frame = frame
        self._pending = bytearray()

    @property
    def stream(self) -> ChunkedStream:
        """What it reads from or writes to."""
        return self._stream

    def _check(self, mode: str) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._mode != mode:
            raise io.UnsupportedOperation("not readable" if mode == "r" else "not writable")

    def readable(self) -> bool:
        self._check(self._mode)
        return self._mode == "r"

    def writable(self) -> bool:
        self._check(self._mode)
        return self._mode == "w"

    def read(self, size: int | None = -1, /) -> bytes:
        self._check("r")
        return self._stream.read(-1 if size is None else size)

    def read1(self, size: int = -1, /) -> bytes:
        self._check("r")
        return bytes(self._stream.view(size))

    def readinto(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read)

    def readinto1(self, buffer: Any, /) -> int:
        return self._into(buffer, self.read1)

    def _into(self, buffer: Any, read: Callable[[int], bytes]) -> int:
        with memoryview(buffer) as view, view.cast("B") as octets:
            data = read(len(octets))
            octets[: len(data)] = data
            return len(data)

    def peek(self, _size: int = 0, /) -> bytes:
        """The chunk that comes next, which stays; waits for it. b"" at the end."""
        self._check("r")
        return bytes(self._stream.peek()) if self._stream.wait() else b""

    def write(self, data: Any, /) -> int:
        self._check("w")
        with memoryview(data) as view, view.cast("B") as octets:
            n = len(octets)
            if not self._pending and n >= self._buffer_size:
                self._push(bytes(octets))
                return n
            self._pending += octets
        if len(self._pending) >= self._buffer_size:
            self.flush()
        return n

    def flush(self) -> None:
        if self.closed:
            raise ValueError("I/O operation on closed file.")
        if self._pending:
            chunk, self._pending = bytes(self._pending), bytearray()
            self._push(chunk)

    def _push(self, chunk: bytes) -> None:
        for part in (chunk,) if self._frame is None else self._frame(chunk):
            self._stream.push(part)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._mode == "w":
                self.flush()
                self._stream.end()
            else:
                self._stream.close()
        finally:
            super().close()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and self._mode == "w" and not self.closed:
            self._pending.clear()
            self._stream.fail(error)
        self.close()

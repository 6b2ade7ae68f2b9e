"""Types of the compiled module; the explanations are in _files.pyx."""

from typing_extensions import Buffer

def read_nowait(fd: int, n: int) -> bytes | None:
    """At most n bytes at the file's offset, fewer where the page cache ends; None: nothing is cached there."""

def readinto_nowait(fd: int, target: Buffer) -> int | None:
    """The same into a writable buffer; the number of bytes, or None."""

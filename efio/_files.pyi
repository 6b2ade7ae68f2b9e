"""Types of the compiled module; the explanations are in _files.pyx."""

from typing_extensions import Buffer

class CachedReads:
    """The reads of one file that the page cache can answer. Not for use after the descriptor is closed: ``stop()``."""

    count: int  # so many were answered
    def __init__(self, fd: int, possible: bool) -> None: ...
    def stop(self) -> None:
        """From now on every answer is None."""

    def read(self, size: object) -> bytes | None:
        """At most ``size`` bytes at the file's offset, fewer where the page cache ends; None: not from here."""

    def readinto(self, target: Buffer) -> int | None:
        """The same into a writable buffer; the number of bytes, or None."""

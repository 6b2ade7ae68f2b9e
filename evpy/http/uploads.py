"""One uploaded file of a multipart form.

The first 64 KiB stay in memory, more goes into an unnamed temporary file (directory: $TMPDIR, see ``tempfile``).
Writing goes to the page cache in small pieces, and every MiB the other greenlets of the thread get their turn.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import IO

SPOOL = 65536  # bytes of a file that may stay in memory
TURN = 1 << 20  # bytes between two turns of the hub


class UploadedFile:
    """A file that the client sent.

    ``name`` of the form field; ``filename`` as the client calls it, without directories and controls (never use it as a
    path all the same: it may be anybody's name); ``content_type`` as the client claims it; ``size`` in bytes; ``file``,
    a readable binary file at position 0. It is closed, and gone, when the request is over: ``save`` it to keep it.
    """

    __slots__ = ("_since_turn", "content_type", "file", "filename", "name", "size")

    def __init__(self, name: str, filename: str, content_type: str) -> None:
        import tempfile

        self.name = name
        self.filename = safe_filename(filename)
        self.content_type = content_type
        self.size = 0
        self.file: IO[bytes] = tempfile.SpooledTemporaryFile(max_size=SPOOL)  # noqa: SIM115 - closed with the request
        self._since_turn = 0

    def __repr__(self) -> str:
        return f"UploadedFile({self.name!r}, {self.filename!r}, {self.content_type!r}, {self.size} bytes)"

    def read(self, n: int = -1) -> bytes:
        """The next ``n`` bytes, everything that is left by default."""
        return self.file.read(n)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Copies the whole file to ``path``, which must not exist yet (FileExistsError); OSError as writing raises it.

        What was written of a copy that fails is removed.
        """
        self.file.seek(0)
        with open(path, "xb") as target:
            try:
                while chunk := self.file.read(TURN):
                    target.write(chunk)
                    give_turn()
                target.flush()
            except BaseException:
                os.unlink(path)
                raise
        self.file.seek(0)

    def close(self) -> None:
        """Removes the temporary file."""
        with suppress(OSError):  # what a full disk left unwritten; nobody will read it
            self.file.close()

    def _write(self, data: bytes | bytearray) -> None:
        self.file.write(data)
        self.size += len(data)
        self._since_turn += len(data)
        if self._since_turn >= TURN:
            self._since_turn = 0
            give_turn()

    def _finish(self) -> None:
        self.file.seek(0)  # flushes: a full disk must show now


def safe_filename(filename: str) -> str:
    """The last component of a client's file name, without controls; "unnamed" when nothing is left.

    >>> safe_filename("C:\\\\temp\\\\a.txt"), safe_filename("../../etc/passwd"), safe_filename("..")
    ('a.txt', 'passwd', 'unnamed')
    """
    name = "".join(c for c in filename if c.isprintable()).replace("\\", "/").rpartition("/")[2].strip()
    return "unnamed" if name in ("", ".", "..") else name


def give_turn() -> None:
    """Lets the other greenlets of this thread run, and the hub look at its sockets and timers.

    ``gevent.sleep(0)`` would do only the first: its callback runs again before the loop looks round, for tens of
    milliseconds. A timer that has expired already takes one whole turn of the loop.
    """
    import gevent

    hub = gevent.get_hub()
    hub.wait(hub.loop.timer(0.0))

"""Reads that never wait for the disk, in Python: the twin of _files.pyx."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Buffer

__all__ = ["read_nowait", "readinto_nowait"]


def readinto_nowait(fd: int, target: Buffer) -> int | None:
    with memoryview(target) as view, view.cast("B") as octets:
        try:
            return os.preadv(fd, [octets], -1, os.RWF_NOWAIT)
        except BlockingIOError:
            return None


def read_nowait(fd: int, n: int) -> bytes | None:
    target = bytearray(n)
    got = readinto_nowait(fd, target)
    return None if got is None else bytes(target[:got])

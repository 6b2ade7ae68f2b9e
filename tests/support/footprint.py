"""What a server holds while it runs: memory, open files. Read from /proc, so nobody has to answer."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from serving import Server
from serving.inside import pss


def memory(server: Server) -> int:
    """PSS of all processes of a server, in bytes: each page counts once, however many of them share it."""
    return pss((server.pid, *server.children()))


def open_files(pids: list[int], below: Path) -> list[str]:
    """What these processes have open below a folder, files that have been unlinked included."""
    found = []
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(fd))
    return [path for path in found if path.startswith(f"{below}/")]

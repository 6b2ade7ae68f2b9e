"""What a server holds while it runs: memory, open files. Read from /proc, so nobody has to answer."""

from __future__ import annotations

import contextlib
import os
import re
from pathlib import Path

from serving import Server


def memory(server: Server) -> int:
    """PSS of all processes of a server, in bytes: each page counts once, however many of them share it."""
    return sum(pss(pid) for pid in (server.pid, *server.children()))


def pss(pid: int) -> int:
    try:
        found = re.search(r"^Pss:\s+(\d+) kB", Path(f"/proc/{pid}/smaps_rollup").read_text(), re.MULTILINE)
    except OSError:  # it has ended meanwhile
        return 0
    return int(found[1]) * 1024 if found else 0


def open_files(pids: list[int], below: Path) -> list[str]:
    """What these processes have open below a folder, files that have been unlinked included."""
    found = []
    for pid in pids:
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.append(os.readlink(fd))
    return [path for path in found if path.startswith(f"{below}/")]

"""Looking at what a process watches."""

from __future__ import annotations

import contextlib
from pathlib import Path


def watches(pid: int, folder: Path) -> bool:
    """Whether a process has an inotify watch on this folder (proc_pid_fdinfo(5))."""
    inode = f"ino:{folder.stat().st_ino:x} "
    with contextlib.suppress(OSError):  # the process, or one of its descriptors, has gone meanwhile
        for info in Path(f"/proc/{pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                if inode in info.read_text():
                    return True
    return False

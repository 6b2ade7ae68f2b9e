"""``--reload``: a process of its own that watches source files and says which ones have changed.

watchfiles waits for inotify in a native thread, and the supervisor has none; besides, what is only needed while
developing shall not weigh on production. The child prints one JSON list of paths a line; whoever asked for it reads
them through `Watcher`. The configuration file is looked at once a second, because editors replace files, and a watch
on a replaced file sees nothing more.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

from evpy.errors import UsageError
from evpy.server import processes
from evpy.server.settings import Settings

__all__ = ["Watcher", "changes", "main", "readable", "watched_folders"]

MOST_NAMED = 5  # files in a log line
CONFIG_LOOK = 1000  # milliseconds
BLOCKED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def watched_folders(settings: Settings) -> list[str]:
    """Absolute paths of what is watched: the folders of ``--reload-dir``, else the one of the target.

    UsageError when one of them is not there.
    """
    if settings.reload_dir:
        for folder in settings.reload_dir:
            if not os.path.isdir(folder):
                raise UsageError(f"reload-dir: {folder!r} is not a directory")
        return [os.path.abspath(folder) for folder in settings.reload_dir]
    target = settings.target or "."
    if os.path.isdir(target):
        return [os.path.abspath(target)]
    path = target.rpartition(":")[0] if ".py:" in target else target
    return [os.path.dirname(os.path.abspath(path)) if path.endswith(".py") else os.getcwd()]


class Watcher:
    """The watching process, seen from its parent."""

    def __init__(self, settings: Settings) -> None:
        reader, writer = os.pipe()
        try:
            command = processes.python_command(
                "evpy.server.reload", os.getpid(), settings.config or "", *watched_folders(settings)
            )
            self.child = processes.spawn(command, blocked=BLOCKED, stdin=subprocess.DEVNULL, stdout=writer)
        except OSError:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        os.set_blocking(reader, False)
        self._reader = reader
        self._rest = b""

    def fileno(self) -> int:
        """Readable when something has changed."""
        return self._reader

    def take(self) -> list[str] | None:
        """The files that have changed since the last call; None when the watching has ended."""
        found: dict[str, None] = {}
        while True:
            try:
                data = os.read(self._reader, 65536)
            except BlockingIOError:
                break
            if not data:
                return None
            *lines, self._rest = (self._rest + data).split(b"\n")
            for line in lines:
                found.update(dict.fromkeys(json.loads(line)))
        return list(found)

    def close(self) -> None:
        self.child.send(signal.SIGKILL)
        self.child.wait()
        self.child.close()
        os.close(self._reader)


def readable(files: list[str]) -> str:
    """Paths for a log line: relative, and not too many."""
    names = [os.path.relpath(file) for file in files[:MOST_NAMED]]
    return ", ".join(names) + (f" and {len(files) - MOST_NAMED} more" if len(files) > MOST_NAMED else "")


def changes(folders: list[str], config: str) -> Iterator[list[str]]:
    """Lists of changed Python files below the folders, and the configuration file when it has changed."""
    from watchfiles import PythonFilter, watch

    before = _stamp(config)
    for changed in watch(*folders, watch_filter=PythonFilter(), rust_timeout=CONFIG_LOOK, yield_on_timeout=True):
        files = sorted({path for _, path in changed})
        now = _stamp(config)
        if now != before:
            before = now
            files.append(config)
        if files:
            yield files


def _stamp(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_ino


def main(arguments: list[str]) -> int:
    """The child: parent's process id, configuration file ("" for none), folders."""
    parent, config, *folders = arguments
    processes.die_with(int(parent))
    for files in changes(folders, config):
        sys.stdout.write(json.dumps(files) + "\n")
        sys.stdout.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

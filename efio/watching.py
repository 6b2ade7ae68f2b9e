"""Watching files and directories, from greenlets, threads and tasks of asyncio. By watchfiles (inotify)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from efio import _offload

__all__ = ["awatch", "watch"]

LOOK = 100  # ms between two looks at `stop`

Change = tuple[str, str]


class _Watch:
    """One watch: what is asked in a thread, and what is to be told of the answer."""

    def __init__(
        self,
        paths: tuple[str | os.PathLike[str], ...],
        filter: Callable[[str, str], bool] | None,
        debounce: float,
        stop: Any,
        timeout: float | None,
        recursive: bool,
    ) -> None:
        self._paths = [os.fspath(path) for path in paths]
        self._filter, self._stop, self._timeout = filter, stop, timeout
        self._debounce, self._recursive = debounce, recursive
        self._changes: Any = None
        self._quiet = 0.0  # seconds

    def going_on(self) -> bool:
        return self._stop is None or not self._stop.is_set()

    def ask(self) -> Any:
        """In a thread, for at most some 0.1 s, so that `stop` is seen and no thread is held for long."""
        if self._changes is None:
            self._changes = self._begin()
        return next(self._changes, set())

    def _begin(self) -> Any:
        import watchfiles

        for path in self._paths:
            os.stat(path)  # the errors of the system, which names the path
        return watchfiles.watch(
            *self._paths,
            watch_filter=None,
            debounce=max(int(self._debounce * 1000), 2),
            step=max(int(self._debounce * 500), 1),
            rust_timeout=LOOK,
            yield_on_timeout=True,
            raise_interrupt=True,
            recursive=self._recursive,
        )

    def answer(self, raw: Any) -> set[Change] | None:
        """The changes to tell; an empty set after `timeout` without any; None: nothing to tell."""
        wanted = self._filter
        found = {(kind.name, path) for kind, path in raw if wanted is None or wanted(kind.name, path)}
        if found:
            self._quiet = 0.0
            return found
        self._quiet += LOOK / 1000
        if self._timeout is None or self._quiet < self._timeout:
            return None
        self._quiet = 0.0
        return found

    def close(self) -> None:
        if self._changes is not None:
            self._changes.close()


def watch(
    *paths: str | os.PathLike[str],
    filter: Callable[[str, str], bool] | None = None,
    debounce: float = 0.05,
    stop: Any = None,
    timeout: float | None = None,
    recursive: bool = True,
) -> Iterator[set[Change]]:
    """What changes in files and directories, as sets of ("added", "modified" or "deleted", path), as it happens.

    Changes within `debounce` seconds come together. It ends when `stop.is_set()` (any event), and after `timeout`
    seconds without a change it yields an empty set. `filter(kind, path)`: whether to tell. A greenlet is switched out
    while it waits. FileNotFoundError for a path that does not exist.
    """
    watched = _Watch(paths, filter, debounce, stop, timeout, recursive)
    try:
        while watched.going_on():
            found = watched.answer(_offload.call(watched.ask))
            if found is not None:
                yield found
    finally:
        watched.close()


async def awatch(
    *paths: str | os.PathLike[str],
    filter: Callable[[str, str], bool] | None = None,
    debounce: float = 0.05,
    stop: Any = None,
    timeout: float | None = None,
    recursive: bool = True,
) -> AsyncIterator[set[Change]]:
    """`watch` for a task of asyncio: ``async for changes in awatch(path)``."""
    watched = _Watch(paths, filter, debounce, stop, timeout, recursive)
    try:
        while watched.going_on():
            found = watched.answer(await _offload.call_async(watched.ask))
            if found is not None:
                yield found
    finally:
        watched.close()

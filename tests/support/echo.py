"""What a spawned process runs: it imports its target by name, so that lies where it can be found."""

from typing import Any

from efio import SharedQueue

__all__ = ["echo"]


def echo(source: SharedQueue[Any], target: SharedQueue[Any]) -> None:
    """Doubles what it gets until that is None."""
    while (item := source.get(timeout=20.0)) is not None:
        target.put(item * 2)

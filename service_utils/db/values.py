"""Values as a driver takes them, for drivers that know few types."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["adapter"]


def adapter(native: frozenset[type], adapt: Callable[[Any], Any]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """A function that has each value adapted whose very type is not among the native ones."""

    def adapted(values: Sequence[Any]) -> Sequence[Any]:
        for value in values:
            if type(value) not in native:
                return [value if type(value) in native else adapt(value) for value in values]
        return values

    return adapted

"""What is much work is done by a thread of efio's pool, what is little where it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from efio import run_blocking

__all__ = ["LITTLE", "sized"]

LITTLE = 64 * 1024  # bytes: some 0.1 ms of work
T = TypeVar("T")


def sized(size: int, function: Callable[..., T], *arguments: Any) -> T:
    """function(*arguments), in a thread of the pool if ``size`` bytes are much."""
    return function(*arguments) if size <= LITTLE else run_blocking(function, *arguments)

"""Dataclasses that msgspec takes for one value."""

from __future__ import annotations

from typing import TypeVar

__all__ = ["opaque"]

C = TypeVar("C", bound=type)


def opaque(cls: C) -> C:
    """Hides that a class is a dataclass: msgspec would make JSON objects of its fields, not ask for its text."""
    del cls.__dataclass_fields__  # type: ignore[attr-defined]
    return cls

"""Dataclasses that msgspec takes for one value."""

from __future__ import annotations

from typing import Any, TypeVar

__all__ = ["opaque"]

C = TypeVar("C", bound=type)


def opaque(cls: C) -> C:
    """Hides that a class is a dataclass: msgspec would make JSON objects of its fields, not ask for its text."""
    names = tuple(cls.__dataclass_fields__)  # type: ignore[attr-defined]

    def reduce(self: Any) -> Any:
        return type(self), tuple(getattr(self, name) for name in names)

    cls.__reduce__ = reduce  # type: ignore[method-assign, assignment] # dataclass's own way asks for what is hidden
    del cls.__dataclass_fields__  # type: ignore[attr-defined]
    return cls

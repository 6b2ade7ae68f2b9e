"""Packages whose names are loaded when they are first used (PEP 562): what they are made of need not be installed, nor
cost anything, for those who use another part."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazily"]


def lazily(package: str, home: Mapping[str, Sequence[str]]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """``__getattr__`` and ``__dir__`` of a package. ``home``: names by the module that they are in."""
    modules = {name: f"{package}.{module}" for module, names in home.items() for name in names}
    this = sys.modules[package]

    def get(name: str) -> Any:
        if name not in modules:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(modules[name]), name)
        setattr(this, name, value)
        return value

    def names() -> list[str]:
        return sorted({*vars(this), *modules})

    return get, names

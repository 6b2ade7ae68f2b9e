"""What runs in C, if anything: readers, and what is done with whole trees.

The compiled modules were built for one series of libxml2 and one lxml; with others, or where they were not built,
everything is done by Python, with the same result. So it is with EVSCHEMA_PURE=1 in the environment.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from typing import Any

from lxml import etree

__all__ = ["accelerate", "available", "free_below", "path_costs", "validate_apart"]


def _load(name: str) -> Any:
    if os.environ.get("EVSCHEMA_PURE"):
        return None
    try:
        module = importlib.import_module(f"schema.runtime.{name}")
    except (ImportError, ValueError):  # not built, or lxml's objects are laid out in another way
        return None
    major, minor, _ = etree.LIBXML_VERSION
    return module if major * 100 + minor == module.BUILT_FOR // 100 else None


_tree, _walker = _load("_tree"), _load("_walker")


def available() -> bool:
    """Whether readers run in C where they can."""
    return _walker is not None


def accelerate(scope: dict[str, Any], paced: bool, rows: Mapping[int, tuple[Any, ...]]) -> None:
    """Puts readers in C in the place of generated ones. ``scope``: the globals of a unit; ``rows``: see
    ``schema.codegen.native``; ``paced``: whether they make way for other work.
    """
    if _walker is None:
        return
    for number, row in rows.items():
        if _walker.fits(row[0]):
            name = f"r{number}"
            scope[name] = _walker.Reader(row, scope, scope[name], paced)


def validate_apart(root: etree._Element, validate: Callable[[etree._Element], bool]) -> bool | None:
    """``validate(root)`` in a way in which libxml2 counts no siblings, whatever it finds; None where there is no C."""
    if _tree is None:
        return None
    found: bool = _tree.validate_apart(root, validate)
    return found


def path_costs(root: etree._Element) -> tuple[float, float]:
    """How many siblings libxml2 counts to tell the path of each element and attribute: all together, and for the
    longest one.
    """
    if _tree is not None:
        found: tuple[float, float] = _tree.path_costs(root)
        return found
    total = longest = 0
    open_elements = [(root, 0)]
    while open_elements:
        element, above = open_elements.pop()
        for number, child in enumerate(element, above + 1):
            total += number * (1 + len(child.attrib))
            longest = max(longest, number)
            if len(child):
                open_elements.append((child, number))
    return total, longest


def free_below(root: etree._Element) -> bool:
    """Frees what a root contains, without the interpreter lock, if nobody has any other element of its tree; whether
    that has been done. Nobody may use the root any more.
    """
    return _tree is not None and bool(_tree.free_below(root))

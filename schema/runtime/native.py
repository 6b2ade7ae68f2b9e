"""Which readers run in C, if any.

The compiled module was built for one series of libxml2 and one lxml; with others, or where it was not built, everything
is read by Python, with the same result. So it is with EVSCHEMA_PURE=1 in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from lxml import etree

__all__ = ["accelerate", "available", "path_costs", "validate_apart"]


def _load() -> Any:
    if os.environ.get("EVSCHEMA_PURE"):
        return None
    try:
        from schema.runtime import _walker
    except (ImportError, ValueError):  # not built, or lxml's objects are laid out in another way
        return None
    major, minor, _ = etree.LIBXML_VERSION
    return _walker if major * 100 + minor == _walker.BUILT_FOR // 100 else None


_walker = _load()


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
    if _walker is None:
        return None
    found: bool = _walker.validate_apart(root, validate)
    return found


def path_costs(root: etree._Element) -> tuple[float, float]:
    """How many siblings libxml2 counts to tell the path of each element and attribute: all together, and for the
    longest one.
    """
    if _walker is not None:
        found: tuple[float, float] = _walker.path_costs(root)
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

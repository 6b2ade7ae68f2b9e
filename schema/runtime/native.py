"""Which readers run in C, if any.

The compiled module was built for one series of libxml2 and one lxml; with others, or where it was not built, everything
is read by Python, with the same result. So it is with EVSCHEMA_PURE=1 in the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from lxml import etree

__all__ = ["accelerate", "available"]


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

"""Readers in C; see _walker.pyx."""

from collections.abc import Callable
from typing import Any

from lxml import etree

BUILT_FOR: int

class Reader:
    """Reads elements of one class; a row is as ``schema.codegen.native`` says."""

    def __init__(
        self, row: tuple[Any, ...], scope: dict[str, Any], python: Callable[[etree._Element], Any], paced: bool
    ) -> None: ...
    def __call__(self, element: etree._Element) -> Any: ...

def fits(cls: type) -> bool:
    """Whether the objects of a class are laid out as a Reader must have it."""

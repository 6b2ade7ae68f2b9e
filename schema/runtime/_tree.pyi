"""Whole trees of libxml2 in C; see _tree.pyx."""

from collections.abc import Callable

from lxml import etree

BUILT_FOR: int

def path_costs(root: etree._Element) -> tuple[float, float]:
    """Siblings that libxml2 counts for a path to each element and attribute: all together, and for the longest."""

def validate_apart(root: etree._Element, validate: Callable[[etree._Element], bool]) -> bool:
    """``validate(root)``, while no element below knows the siblings before it, so that none are counted."""

def free_below(root: etree._Element) -> bool:
    """Frees all that the root of a tree contains, if nobody has any other element of it; whether that is so."""

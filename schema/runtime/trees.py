"""The end of a large tree, without a blocked event loop.

libxml2 takes some milliseconds to free the tree of a document of 2 MB, and lxml lets it do so with the interpreter lock
held. Where an event loop would have to wait, that is left to another thread, which holds the lock no longer than it
takes to find out that nobody has another element of the tree.
"""

from __future__ import annotations

from lxml import etree

from schema.runtime.native import free_below
from schema.runtime.offload import INLINE_LIMIT, current

__all__ = ["end", "end_here"]


def end(trees: list[etree._Element], size: int) -> None:
    """Takes the trees out of the list and frees them. Nobody else may have them: of a caller's own name for one, the
    root alone would be left. ``size``: of the documents in bytes.
    """
    loop = current() if size > INLINE_LIMIT else None
    if loop is not None:
        loop.elsewhere(end_here, trees)
    else:
        trees.clear()


def end_here(trees: list[etree._Element]) -> None:
    """The same in this thread, with the interpreter lock released."""
    while trees:
        free_below(trees[-1])
        del trees[-1]

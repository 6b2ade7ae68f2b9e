"""Documents with very many faults, which would keep libxml2 busy for minutes.

With each fault it tells the path of the element, and counts the siblings before it: with 200,000 faulty ones in a row
(2 MB) that are 20 thousand million steps, with the interpreter lock held. So where faults could cost that much

* the verdict is asked for while elements do not know the siblings before them (in C; the paths are wrong then);
* if it is no, the document is validated while it is parsed again, when libxml2 tells no paths, piece by piece, up to as
  many faults as may be had; if there are more, those of what has been read until then are told.

Where there is no C, the second goes first.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from lxml import etree

from schema.errors import LimitExceeded, Problem
from schema.runtime.native import available, path_costs
from schema.runtime.offload import INLINE_LIMIT

__all__ = ["beginning", "dear", "only_space", "too_many"]

AFFORDABLE = 5e7  # siblings counted: half a second
_PIECE = 4096  # bytes
_VALUE = re.compile(r"'(.*)' is not a valid value of the atomic type", re.DOTALL)
_WHITE = " \t\n\r"


def dear(root: etree._Element, data: bytes) -> float:
    """How many faults of a document may be had, if not as many as there can be; else 0."""
    # With few elements it cannot cost more. To count those of a large document takes as long as what it would save, and
    # keeps the interpreter lock.
    if (len(data) <= INLINE_LIMIT or not available()) and data.count(b"<") < 5000:
        return 0
    total, longest = path_costs(root)
    return AFFORDABLE / longest if total > AFFORDABLE else 0


def beginning(
    tag: str, data: bytes, compiled: etree.XMLSchema, most: float
) -> tuple[etree._Element, Sequence[etree._LogEntry]] | bool:
    """False if a document has at most as many faults as may be had, True if it has none. Else the root of the beginning
    that has more, and these. The document is well-formed, its root has this name, and there is no DOCTYPE.
    """
    parser = etree.XMLPullParser(
        events=("start",),
        tag=tag,
        schema=compiled,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )
    pieces = range(0, len(data), _PIECE)
    try:
        for at in pieces:
            parser.feed(data[at : at + _PIECE])
            if len(parser.feed_error_log) > most:
                _, read = next(iter(parser.read_events()))
                return read, list(parser.feed_error_log)
        parser.close()
    except etree.XMLSyntaxError:  # at the end: there were faults
        return False
    return not parser.feed_error_log


def only_space(entries: Sequence[etree._LogEntry]) -> bool:
    """Whether nothing is wrong but white space around values, which is no fault by the standard."""
    values = (_VALUE.search(entry.message) for entry in entries)
    return all(value is not None and value[1] != value[1].strip(_WHITE) for value in values)


def too_many(number: int) -> LimitExceeded:
    """About values with white space around them."""
    message = f"more than {number} values that have white space around them, in too long a row of elements"
    return LimitExceeded([Problem("limit", message)])

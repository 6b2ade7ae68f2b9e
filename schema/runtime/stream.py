"""Documents larger than memory: one element after the other, each validated as it is read.

libxml2 validates while it parses. So an element comes out *before* the verdict on the whole document: a fault further
on raises ValidationError at that point, after what came before has been given away. What has been given away is taken
out of the tree, with everything before it.

With a schema in the parser, an entity reference can crash libxml2 before 2.15.3 (CVE-2026-6732). Hence the beginning of
the document goes through expat first, which sees a DOCTYPE in any encoding; then nothing of it reaches libxml2.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import IO, Any
from xml.parsers import expat

from lxml import etree

from schema.errors import Problem, ValidationError
from schema.runtime.messages import describe

__all__ = ["iter_elements"]

_PIECE = 1 << 16
_LONGEST_PROLOG = 1 << 20  # bytes before the root element


class _RootSeenError(Exception):
    pass


class _DoctypeSeenError(Exception):
    pass


def _prolog(file: IO[bytes]) -> bytes:
    """Reads up to the root element, and refuses a DOCTYPE. Returns what was read."""

    def root(*_: object) -> None:
        raise _RootSeenError

    def doctype(*_: object) -> None:
        raise _DoctypeSeenError

    parser = expat.ParserCreate()
    parser.StartElementHandler = root
    parser.StartDoctypeDeclHandler = doctype
    read = b""
    try:
        while len(read) < _LONGEST_PROLOG:
            piece = file.read(_PIECE)
            if not piece:
                break
            read += piece
            parser.Parse(piece, False)
    except _RootSeenError:
        return read
    except _DoctypeSeenError:
        problem = Problem("doctype-refused", "a document with a DOCTYPE is refused", line=parser.CurrentLineNumber)
        raise ValidationError([problem]) from None
    except expat.ExpatError as error:
        text = expat.errors.messages[error.code]
        raise ValidationError([Problem("xml-not-well-formed", text, line=error.lineno)]) from None
    raise ValidationError([Problem("xml-not-well-formed", f"no root element in the first {len(read)} bytes")])


class _Rest(io.RawIOBase):
    """What was read already, then the rest of the file."""

    def __init__(self, head: bytes, file: IO[bytes]) -> None:
        self._head = head
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """At least the head, once."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._file.read(size)


def _forget(element: etree._Element) -> None:
    """Takes an element, and whatever lies before it and before its ancestors, out of the tree."""
    element.clear(keep_tail=False)
    node: etree._Element | None = element
    while node is not None and (parent := node.getparent()) is not None:
        while (before := node.getprevious()) is not None:
            parent.remove(before)
        node = parent


def iter_elements(
    file: IO[bytes], tag: str, schema: etree.XMLSchema, read: Callable[[etree._Element], Any], limit: int
) -> Iterator[Any]:
    """The objects of all elements with this name (Clark) that lie in no other one of it."""
    source = _Rest(_prolog(file), file)
    events = etree.iterparse(
        source,
        events=("start", "end"),
        tag=tag,
        schema=schema,
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )
    depth = 0
    try:
        for event, element in events:
            if event == "start":
                depth += 1
                continue
            depth -= 1
            if depth == 0:
                if events.error_log:  # parsing runs ahead of us, and says so only when its piece is done
                    break
                yield read(element)
                _forget(element)
    except etree.XMLSyntaxError as error:
        raise _failure(events, limit, str(error.msg)) from None
    if events.error_log:
        raise _failure(events, limit, "")


def _failure(events: etree.iterparse[Any], limit: int, message: str) -> ValidationError:
    entries = [entry for entry in events.error_log if entry.level >= etree.ErrorLevels.ERROR]
    problems, more = describe(entries, None, limit)
    return ValidationError(problems or [Problem("xml-not-well-formed", message)], more=more)

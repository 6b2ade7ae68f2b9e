"""Documents larger than memory: one element after the other, each validated as it is read.

libxml2 validates while it parses. So an element comes out *before* the verdict on the whole document: a fault further
on raises ValidationError at that point, after what came before has been given away. What has been given away is taken
out of the tree.

With a schema in the parser, an entity reference can crash libxml2 before 2.15.3 (CVE-2026-6732). Hence the beginning of
the document goes through expat first, which sees a DOCTYPE in any encoding; then nothing of it reaches libxml2, and
there are no entities that could be resolved.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any
from xml.parsers import expat

from lxml import etree

from schema.errors import Problem, ValidationError
from schema.model.components import local
from schema.runtime.judge import Judge, not_well_formed
from schema.runtime.messages import Finder, describe, readable_path

__all__ = ["iter_elements"]

_PIECE = 1 << 16
_LONGEST_PROLOG = 1 << 20  # bytes before the root element


class _RootSeenError(Exception):
    pass


class _DoctypeSeenError(Exception):
    pass


def _prolog(file: IO[bytes]) -> tuple[bytes, str]:
    """Reads up to the root element, and refuses a DOCTYPE. Returns what was read, and the local name of the root."""

    def root(name: str, _: object) -> None:
        raise _RootSeenError(name.rpartition(":")[2])

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
            if type(piece) is not bytes:
                raise TypeError("iter_xml reads bytes: open the file in binary mode")
            read += piece
            parser.Parse(piece, False)
    except _RootSeenError as seen:
        return read, str(seen)
    except _DoctypeSeenError:
        raise ValidationError([_doctype(parser.CurrentLineNumber)]) from None
    except expat.ExpatError as error:
        text = expat.errors.messages[error.code]
        raise ValidationError([Problem("xml-not-well-formed", text, line=error.lineno)]) from None
    except (LookupError, ValueError) as error:  # an encoding that Python does not know, or not as one of single bytes
        raise ValidationError([Problem("xml-not-well-formed", str(error), line=1)]) from None
    raise ValidationError([Problem("xml-not-well-formed", f"no root element in the first {len(read)} bytes")])


def _doctype(line: int) -> Problem:
    return Problem("doctype-refused", "a document with a DOCTYPE is refused", line=line)


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


@dataclass(slots=True)
class _State:
    """How far a stream has come: its root, how many elements it has given away, and the last one of them."""

    tag: str
    root: etree._Element | None = None
    given: int = 0
    last: etree._Element | None = None
    firsts: dict[etree._Element, etree._Element] = field(default_factory=dict)

    def forget(self, element: etree._Element) -> None:
        """Takes what has been given away out of the tree, with what lies between, also beside its ancestors.

        What comes first stays, with all before it: so that the rest of the tree can still be valid, and faults be found
        in it. Memory does not grow by that.
        """
        firsts: dict[etree._Element, etree._Element] = {}
        node: etree._Element = element
        while (parent := node.getparent()) is not None:
            first = firsts[parent] = self.firsts.get(parent, node)
            if first is not node:
                while (before := node.getprevious()) is not None and before is not first:
                    parent.remove(before)
                if node is element:
                    node.clear(keep_tail=False)
            node = parent
        self.firsts = firsts
        self.given, self.last = self.given + 1, element


def iter_elements(
    file: IO[bytes], tag: str, judge: Judge, read: Callable[[etree._Element], Any], limit: int
) -> Iterator[Any]:
    """The objects of all elements with this name (Clark) that lie in no other one of it."""
    head, name = _prolog(file)
    events = etree.iterparse(  # type: ignore[call-overload]
        _Rest(head, file),
        events=("start", "end"),
        tag=(tag, f"{{*}}{name}"),
        schema=judge.compiled,
        resolve_entities="internal",  # with False, lxml lets every syntax error pass when there is a schema
        load_dtd=False,
        no_network=True,
        remove_comments=True,
        remove_pis=True,
        huge_tree=False,
    )
    state = _State(tag)
    depth = 0
    try:
        for event, element in events:
            if state.root is None:
                state.root = element
                if element.getroottree().docinfo.internalDTD is not None:  # expat has not seen what libxml2 sees
                    raise ValidationError([_doctype(1)])
            if element.tag != tag:
                continue
            if event == "start":
                depth += 1
                continue
            depth -= 1
            if depth == 0:
                if events.error_log:  # parsing runs ahead of us, and says so only when its piece is done
                    break
                yield read(element)
                state.forget(element)
    except etree.XMLSyntaxError as error:
        raise _failure(events, judge, limit, error, state) from None
    if events.error_log:
        raise _failure(events, judge, limit, None, state)


def _failure(
    events: etree.iterparse[Any], judge: Judge, limit: int, error: etree.XMLSyntaxError | None, state: _State
) -> ValidationError:
    entries = [entry for entry in events.error_log if entry.level >= etree.ErrorLevels.ERROR]
    problems, more = describe(entries, None, limit)
    if state.root is not None and any(problem.line is None for problem in problems):
        problems = _placed(problems, entries, judge, state.root, state)
    return ValidationError(problems, more=more) if problems or error is None else not_well_formed(error)


def _placed(
    problems: list[Problem], entries: list[etree._LogEntry], judge: Judge, root: etree._Element, state: _State
) -> list[Problem]:
    """The problems with lines and paths, which libxml2 does not tell while it parses.

    What is left of the tree is judged once more. It lacks what was given away, so there may be other faults; those that
    say the same are the ones.
    """
    finder = Finder(root)
    places: dict[str, list[tuple[int, str]]] = {}
    for entry in judge.entries(root):
        element = finder.find(entry.path) if entry.path else None
        if element is not None:
            places.setdefault(entry.message, []).append((entry.line, _path(element, root, state)))
    placed = []
    for problem, entry in zip(problems, entries, strict=False):
        found = places.get(entry.message)
        line, path = found.pop(0) if found else (0, "")
        placed.append(replace(problem, line=line or None, path=path + problem.path))
    return placed


def _path(element: etree._Element, root: etree._Element, state: _State) -> str:
    """``//item[3]/qty``: numbered along the stream, and from there as ever; ``/order/total`` outside its elements."""
    above = [element, *element.iterancestors()]
    outermost = next((one for one in reversed(above) if one.tag == state.tag), None)
    if outermost is None:
        return "/" + "/".join(local(str(one.tag)) for one in reversed(above))
    left = [one for one in root.iter(state.tag) if all(a.tag != state.tag for a in one.iterancestors())]
    number = state.given + left.index(outermost) - (left.index(state.last) if state.last is not None else -1)
    inside = readable_path(element)[len(readable_path(outermost)) :]
    return f"//{local(state.tag)}[{number}]{inside}"

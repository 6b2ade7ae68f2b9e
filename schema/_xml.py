"""XML: documents to objects and back, with libxml2's verdict in between."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

from lxml import etree

from schema._base import Base
from schema.errors import LimitExceeded, Problem, ValidationError
from schema.runtime.collector import paused
from schema.runtime.judge import as_bytes, parse
from schema.runtime.offload import INLINE_LIMIT, begin, current, rest, within
from schema.runtime.trees import end, end_here

__all__ = ["XmlSchema"]


class XmlSchema(Base):
    """What a ``Schema`` does with XML."""

    def _tree(self, data: bytes) -> etree._Element:
        """The tree of a valid document. Raises ValidationError."""
        if type(data) is not bytes:
            data = as_bytes(data)
        limit = self.max_seconds
        loop = current() if limit is not None or len(data) > INLINE_LIMIT else None
        try:
            if loop is not None:
                tree = loop.elsewhere(self._judged, data, timeout=limit)
            else:
                tree = self._judged(data) if limit is None else within(limit, self._judged, data)
        except TimeoutError:
            message = f"judging the document took longer than {limit} s (Schema.max_seconds)"
            raise LimitExceeded([Problem("limit", message)]) from None
        if (tables := self.unit("xml_reader")["IDS"]) is not None:
            from schema.runtime.ids import check_ids

            check_ids(tree, tables, self.max_errors)
        return tree

    def _judged(self, data: bytes) -> etree._Element:
        root = parse(data, self.max_bytes)
        try:
            self.judge.check(root, self.max_errors, data)
        except BaseException:
            end_here([root])  # else it would end where the exception does
            raise
        return root

    def validate_xml(self, data: bytes) -> None:
        """Raises ValidationError unless the document is valid."""
        self._obey_tree([self._tree(data)], len(data))

    def from_xml(self, data: bytes) -> Any:
        """The object of a valid document. Raises ValidationError."""
        return self._value([self._tree(data)], len(data))

    def _value(self, trees: list[etree._Element], size: int) -> Any:
        """The object of the one valid tree in the list, which ends here."""
        value = self._read(trees[0], size)
        self._obey(value, str(trees[0].tag))
        end(trees, size)
        return value

    def _read(self, root: etree._Element, size: int = 0) -> Any:
        """The object of a valid tree. ``size``: of the document in bytes."""
        paced = size > INLINE_LIMIT and current() is not None
        if paced:
            begin()
        reader = self.unit("xml_reader_paced" if paced else "xml_reader")["ROOTS"].get(root.tag)
        if reader is None:
            message = f"{root.tag!s} is none of the root elements {self._root_names()}"
            raise ValidationError([Problem("unknown-root", message, f"/{etree.QName(root).localname}")])
        try:
            if paced or size <= INLINE_LIMIT:
                return reader(root)
            with paused():
                return reader(root)
        except ValueError as error:  # valid, but beyond Python: an integer of more than 4300 digits
            raise ValidationError([Problem("limit", str(error))]) from None

    def iter_xml(self, file: str | os.PathLike[str] | IO[bytes], tag: str) -> Iterator[Any]:
        """The objects of all elements called ``tag`` (Clark name, or local name) in a document of any size.

        Each is valid in itself when it comes, and *before* the whole document has been judged: a fault further on
        raises ValidationError there and then. Memory stays as small as one such element. ``file`` is a path or a binary
        file; it is read as the objects are asked for.
        """
        from schema.runtime.stream import iter_elements

        readers = self.unit("xml_reader_paced")["ELEMENTS"]
        names = [name for name in readers if tag in (name, name.rpartition("}")[2])]
        if len(names) != 1:
            what = "means several things in" if names else "is no element of"
            raise ValidationError([Problem("unknown-root", f"{tag!r} {what} this schema")])
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open(file, "rb")) if isinstance(file, str | os.PathLike) else file
            yield from iter_elements(opened, names[0], self.judge, readers[names[0]], self.max_errors)

    def to_xml(self, value: Any, *, root: str | None = None) -> bytes:
        """The valid document of an object. ``root``: the element, where the class does not tell. Raises
        ValidationError.
        """
        data, *trees = self._write(value, root)
        self._obey_tree(trees, len(data))
        return data

    def _write(self, value: Any, root: str | None) -> tuple[bytes, etree._Element]:
        data = self._text(value, root)
        try:
            return data, self._tree(data)
        except LimitExceeded:
            raise
        except ValidationError as error:
            if error.errors[0].code == "xml-not-well-formed":  # a character that cannot be in XML
                raise self._wrong_type(value, self.root_of(value, root), error.errors[0].message) from None
            # Lines are those of a text that nobody has seen.
            raise ValidationError([replace(p, line=None) for p in error.errors], more=error.more) from None

    def _text(self, value: Any, root: str | None) -> bytes:
        """The document of an object, not judged yet."""
        # How large it will be is not known before; the paced writer costs 2 % more.
        paced = current() is not None
        if paced:
            begin()
        unit = self.unit("xml_writer_paced" if paced else "xml_writer")
        xml = self.root_of(value, root)
        try:
            body = unit["ROOTS"][xml](value, "\0")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._wrong_type(value, xml, str(error)) from None
        rest(len(body))
        declared = unit["DEFAULT"]
        for mark, declaration in unit["DECLARATIONS"]:
            if mark in body:
                declared += declaration
            elif paced:
                rest(len(body))
        start, mark, end = body.partition("\0")
        if ">" in start:  # a root of any type, which declares for itself; a NUL further on is a character of the text
            start, declared, end = start + mark + end, "", ""
        rest(len(body))
        return f"<?xml version='1.0' encoding='UTF-8'?>\n{start}{declared}{end}".encode(errors="surrogatepass")

    def _wrong_type(self, value: Any, xml: str, message: str) -> ValidationError:
        """Says where an object cannot be written."""
        from schema.runtime.wrong import find_wrong

        problems, more = find_wrong(self.plan, self.classes, xml, value, self.max_errors)
        return ValidationError(problems or [Problem("wrong-type", message)], more=more)

    def validate(self, value: Any, *, root: str | None = None) -> None:
        """Raises ValidationError unless the object is valid."""
        data, *trees = self._write(value, root)
        self._obey_tree(trees, len(data))

    def _obey_tree(self, trees: list[etree._Element], size: int) -> None:
        """The same for the object of the one valid tree in the list, which ends here."""
        if self._rules is not None:
            self._obey(self._read(trees[0], size), str(trees[0].tag))
        end(trees, size)

"""libxml2, the only judge of instances: parsing and validation, with nothing loaded from anywhere.

A document goes through ``parse`` (which refuses a DOCTYPE, so that no entity is ever expanded while validating: libxml2
before 2.15.3 can crash there, CVE-2026-6732) and then ``verdict``, one C call without the interpreter lock. Only when
the verdict is no, errors are collected, in a second validation, under a lock and by a compiled schema of its own:
lxml's ``error_log`` belongs to the schema, not to the call, and gets mixed up between threads. There a fault of libxml2
is mended, too: it refuses white space around dates, times and durations.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from lxml import etree

from schema.errors import LimitExceeded, Problem, SchemaError, ValidationError
from schema.runtime.faulty import beginning, dear, only_space, too_many
from schema.runtime.native import validate_apart

if TYPE_CHECKING:
    from schema.model.sources import Bundle

__all__ = ["MAX_BYTES", "Judge", "as_bytes", "compile_bundle", "not_well_formed", "parse", "too_large"]

MAX_BYTES = 8 << 20  # of one document, by default
_URL = "evschema:///"
_PLACE = re.compile(r"\s*, line \d+, column (\d+)\s*$")
_PLAIN = re.compile(r"line (\d+): b(['\"])(.*)\2", re.DOTALL)  # how lxml says it where the parser has a schema
_HINT = re.compile(r",? (use|try|see) (XML_PARSE_HUGE|xmlCtxt)\S*( option)?")  # of no use to who cannot call libxml2
_LIMITS = (etree.ErrorTypes.ERR_RESOURCE_LIMIT, etree.ErrorTypes.ERR_NAME_TOO_LONG)


class _BundleResolver(etree.Resolver):
    """Gives libxml2 the documents of a bundle, and nothing else."""

    def __init__(self, texts: dict[str, bytes]) -> None:
        super().__init__()
        self.texts = texts

    def resolve(self, system_url: str, public_id: str | None, context: object) -> object:  # type: ignore[override]
        data = self.texts.get(os.path.basename(system_url))
        if data is None:
            return self.resolve_empty(context)
        return self.resolve_string(data, context, base_url=_URL + os.path.basename(system_url))


_build_lock = threading.Lock()  # libxml2 builds schemas in one thread at a time


def compile_texts(texts: dict[str, bytes], main: str) -> etree.XMLSchema:
    """libxml2's compiled schema. Raises lxml.etree.XMLSchemaParseError."""
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    parser.resolvers.add(_BundleResolver(texts))
    with _build_lock:
        return etree.XMLSchema(etree.fromstring(texts[main], parser, base_url=_URL + main))


def compile_bundle(bundle: Bundle) -> etree.XMLSchema:
    """libxml2's compiled schema. Raises SchemaError with everything that libxml2 finds."""
    texts = {name: document.data for name, document in bundle.documents.items()}
    try:
        return compile_texts(texts, bundle.main)
    except etree.XMLSchemaParseError as error:
        problems = [
            Problem(
                "schema-invalid",
                e.message.strip(),
                line=e.line or None,
                source=bundle.origin(e.filename or bundle.main),
            )
            for e in error.error_log
            if e.level >= etree.ErrorLevels.ERROR
        ]
        raise SchemaError(problems or [Problem("schema-invalid", str(error))]) from None


def _parser() -> etree.XMLParser:
    return etree.XMLParser(
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        huge_tree=False,
        remove_comments=True,
        remove_pis=True,
    )


class _Parsers(threading.local):
    """A parser for each thread: a shared one is locked while it works."""

    def __init__(self) -> None:
        self.parser = _parser()


_parsers = _Parsers()


def parse(data: bytes, max_bytes: int = MAX_BYTES) -> etree._Element:
    """The root element. Raises ValidationError: not well-formed, or a DOCTYPE; LimitExceeded: over ``max_bytes``."""
    if len(data) > max_bytes:
        raise too_large("document", max_bytes)
    try:
        root = etree.fromstring(data, _parsers.parser)
    except etree.XMLSyntaxError as error:
        raise not_well_formed(error) from None
    except ValueError as error:  # a str with an encoding declaration, NUL
        raise ValidationError([Problem("xml-not-well-formed", str(error))]) from None
    if root.getroottree().docinfo.internalDTD is not None:
        raise ValidationError([Problem("doctype-refused", "a document with a DOCTYPE is refused", line=1)])
    return root


def not_well_formed(error: etree.XMLSyntaxError) -> ValidationError:
    """What libxml2 says of a text that is no XML, or that goes beyond its limits (LimitExceeded)."""
    message, line = str(error.msg), error.lineno
    if plain := _PLAIN.fullmatch(message):
        line, message = int(plain[1]), plain[3].removesuffix("\\n")
    place = _PLACE.search(message)
    message = _HINT.sub("", message[: place.start()] if place else message)
    if error.code in _LIMITS:
        return LimitExceeded([Problem("limit", message, line=line)])
    if place:
        message += f" (column {place[1]})"
    return ValidationError([Problem("xml-not-well-formed", message, line=line)])


def as_bytes(data: object) -> bytes:
    """A document that is not bytes, as bytes. Raises TypeError for what is no bytes-like object."""
    if isinstance(data, bytes | bytearray | memoryview):
        return bytes(data)
    hint = "; encode the text" if isinstance(data, str) else ""
    raise TypeError(f"a document is bytes, not {type(data).__name__}{hint}")


def too_large(what: str, most: int) -> LimitExceeded:
    """About a document of more than ``most`` bytes."""
    message = f"the {what} has more than {most} bytes; allow more with Schema.max_bytes (evschema: --max-bytes)"
    return LimitExceeded([Problem("limit", message)])


class Judge:
    """Validates trees against one schema, from any number of threads."""

    def __init__(self, compiled: etree.XMLSchema, again: Callable[[], etree.XMLSchema]) -> None:
        self.compiled = compiled
        self.verdict = compiled.validate
        self._again = again
        self._second: etree.XMLSchema | None = None
        self._lock = threading.Lock()

    def entries(self, root: etree._Element) -> list[etree._LogEntry]:
        """What libxml2 has against a tree. Raises lxml.etree.XMLSchemaValidateError when it gives up."""
        with self._lock:
            second = self._collector()
            return [] if second.validate(root) else list(second.error_log)

    def _collector(self) -> etree.XMLSchema:
        if self._second is None:
            self._second = self._again()
        return self._second

    def prepare(self) -> None:
        """Makes what the first document with errors would have to wait for."""
        with self._lock:
            self._collector()

    def problems(self, root: etree._Element, limit: int) -> tuple[list[Problem], int]:
        """All faults of a tree up to ``limit``, and how many there are beyond."""
        from schema.runtime.messages import describe, strip_values

        try:
            entries = self.entries(root)
            if strip_values(entries, root):
                entries = self.entries(root)
        except etree.XMLSchemaValidateError as error:
            return [Problem("limit", f"the validator gave up: {error}")], 0
        return describe(entries, root, limit)

    def check(self, root: etree._Element, limit: int, data: bytes = b"") -> None:
        """Raises ValidationError unless the tree is valid. ``data``: the document, where it may have very many
        faults.
        """
        most = dear(root, data)
        try:
            if self._valid_apart(root, data, most, limit) if most else self.verdict(root):
                return
        except etree.XMLSchemaValidateError:
            pass  # such as a pattern that is too hard for a value: not valid, as problems() says
        problems, more = self.problems(root, limit)
        if problems:
            raise ValidationError(problems, more=more)

    def _valid_apart(self, root: etree._Element, data: bytes, most: float, limit: int) -> bool:
        """Whether the tree is valid. Raises ValidationError or LimitExceeded if it has over ``most`` faults."""
        valid = validate_apart(root, self.verdict)
        if not valid:
            first = beginning(str(root.tag), data, self.compiled, most)
            if not isinstance(first, bool):
                self._refuse_beginning(*first, limit)
            valid = first is True
        return valid

    def _refuse_beginning(self, root: etree._Element, found: Sequence[etree._LogEntry], limit: int) -> None:
        """Raises ValidationError or LimitExceeded for a document that begins with so many faults."""
        if only_space(found):
            raise too_many(len(found))
        problems, more = self.problems(root, limit)
        raise ValidationError(problems, more=max(more, 1))

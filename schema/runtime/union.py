"""Values of unions: read as the member type that the text belongs to, written by their Python type."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TypeVar

from lxml import etree

from schema.runtime.judge import compile_texts
from schema.values import (
    WRITE_BOOLEAN,
    QName,
    write_base64,
    write_decimal,
    write_float,
    write_hex,
    write_int,
)
from schema.values.spelt import spelling, spelt
from schema.values.text import is_hex

if TYPE_CHECKING:
    from schema.runtime.writing import Prefixes

__all__ = ["read_spelt", "union_reader", "write_union"]

T = TypeVar("T")
_REMEMBERED = 4096  # texts of one union


def union_reader(
    xsd: str, readers: Sequence[Callable[[str, Any], Any]], *, names: bool
) -> Callable[[str, etree._Element | None], Any]:
    """A reader that finds out which member a text belongs to, and remembers it.

    ``xsd`` is made by ``members_schema``. ``names``: some member has names as values, so that prefixes matter.
    """
    compiled: list[etree.XMLSchema] = []
    known: dict[str, int] = {}
    lock = threading.Lock()

    def find(text: str, element: etree._Element | None) -> int:
        with lock:
            if not compiled:
                compiled.append(compile_texts({"union.xsd": xsd.encode()}, "union.xsd"))
        nsmap = element.nsmap if names and element is not None else None
        for number in range(len(readers)):
            tried = etree.Element(f"m{number}", nsmap=nsmap)
            tried.text = text
            try:
                if compiled[0].validate(tried):
                    return number
            except etree.XMLSchemaValidateError:
                continue
        return len(readers) - 1  # where libxml2 judges otherwise alone than in its place

    def read(text: str, element: etree._Element | None = None) -> Any:
        number = known.get(text)
        if number is None:
            number = find(text, element)
            if not names and len(known) < _REMEMBERED:
                known[text] = number
        return readers[number](text, element)

    return read


def read_spelt(value: T, text: str) -> T:
    """The value of a type with a pattern: it remembers its text, if it would be written otherwise."""
    made: T = spelt(value, text, write_union(value))
    return made


def write_union(value: Any, prefixes: Prefixes | None = None) -> str:
    """The text of a value of any simple type, to be escaped. Raises TypeError."""
    if isinstance(value, str):
        # In JSON, a name is {namespace}local.
        return QName.parse(value).lexical(prefixes) if prefixes is not None and value.startswith("{") else value
    if (text := spelling(value)) is not None:
        return text
    if isinstance(value, bool):
        return WRITE_BOOLEAN[value]
    if isinstance(value, int):
        return write_int(value)
    if isinstance(value, Decimal):
        return write_decimal(value)
    if isinstance(value, float):
        return write_float(value)
    if isinstance(value, bytes):
        return write_hex(value) if is_hex(value) else write_base64(value)
    if isinstance(value, list):
        return " ".join([write_union(one, prefixes) for one in value])
    if isinstance(value, QName) and prefixes is not None:
        return value.lexical(prefixes)
    if isinstance(value, dt.date | dt.time) or hasattr(type(value), "isoformat"):
        return str(value.isoformat())
    raise TypeError(f"a value of a simple type is expected, not {type(value).__name__}")

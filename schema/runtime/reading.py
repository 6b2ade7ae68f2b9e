"""What generated readers use besides the classes: they begin with ``from schema.runtime.reading import *``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from lxml import etree
from msgspec import UNSET

from schema.model.components import XSI as _XSI_NAMESPACE
from schema.runtime.ids import Tables
from schema.runtime.native import accelerate
from schema.runtime.offload import pace
from schema.runtime.release import LONG, Many, many
from schema.runtime.union import read_spelt, union_reader
from schema.values import (
    BOOLEANS,
    AnyElement,
    Duration,
    GDay,
    GMonth,
    GMonthDay,
    GYear,
    GYearMonth,
    QName,
    collapse,
    read_base64,
    read_date,
    read_datetime,
    read_decimal,
    read_float,
    read_hex,
    read_int,
    read_time,
    replace,
)

__all__ = [
    "BOOLEANS",
    "END",
    "LONG",
    "NIL",
    "TRUE",
    "UNSET",
    "XSI",
    "Duration",
    "GDay",
    "GMonth",
    "GMonthDay",
    "GYear",
    "GYearMonth",
    "Many",
    "Tables",
    "accelerate",
    "by_type",
    "collapse",
    "is_nil",
    "many",
    "pace",
    "read_any",
    "read_base64",
    "read_date",
    "read_datetime",
    "read_decimal",
    "read_float",
    "read_hex",
    "read_int",
    "read_nil",
    "read_qname",
    "read_spelt",
    "read_time",
    "replace",
    "tag_test",
    "union_reader",
]

XSI = f"{{{_XSI_NAMESPACE}}}"
NIL = f"{XSI}nil"
TYPE = f"{XSI}type"
TRUE = frozenset({"true", "1"})


class _End:
    """Stands after the last child: an element whose name is no name."""

    __slots__ = ()
    tag = ""


END = _End()


def is_nil(element: etree._Element) -> bool:
    """xsi:nil is true, and nothing else is said by attributes (else the object says that it is nil)."""
    if element.get(NIL, "").strip() not in TRUE:
        return False
    return all(name.startswith(XSI) for name in element.keys())  # noqa: SIM118 - an element is no dict


def read_nil(element: etree._Element, cls: Any, attributes: Mapping[str, tuple[str, Any]], missing: list[str]) -> Any:
    """An object that is nil but has attributes."""
    arguments: dict[str, Any] = dict.fromkeys(missing)
    for name, text in element.items():
        if name in attributes:
            field, read = attributes[str(name)]
            arguments[field] = text if read is None else read(text, element)
    return cls(nil=True, **arguments)


def read_qname(text: str, element: etree._Element) -> QName:
    """xs:QName: the prefix means what it means at this element."""
    prefix, colon, name = text.strip().rpartition(":")
    return QName(element.nsmap.get(prefix if colon else None) or "", name)


def read_any(element: etree._Element) -> AnyElement:
    """An element as it is."""
    read = _read_any(element)
    texts = list(_texts(read))
    used = {p: uri for p, uri in element.nsmap.items() if p and any(f"{p}:" in text for text in texts)}
    read.namespaces |= {str(prefix): str(uri) for prefix, uri in used.items()}
    return read


def _texts(element: AnyElement) -> Any:
    yield from element.attributes.values()
    for item in element.content:
        if isinstance(item, str):
            yield item
        else:
            yield from _texts(item)


def _read_any(element: etree._Element) -> AnyElement:
    content: list[str | AnyElement] = []
    if element.text:
        content.append(element.text)
    for child in element:
        content.append(_read_any(child))
        if child.tail:
            content.append(child.tail)
    attributes = {str(k): str(v) for k, v in element.items()}
    if TYPE in attributes and ":" not in attributes[TYPE] and None in element.nsmap:
        # A name without a prefix is in the default namespace, which will be another one where the element is written.
        prefix = next(p for n in range(1, 10_000) if (p := f"d{n}") not in element.nsmap)
        attributes[TYPE] = f"{prefix}:{attributes[TYPE].strip()}"
        return AnyElement(str(element.tag), attributes, content, {prefix: str(element.nsmap[None])})
    return AnyElement(str(element.tag), attributes, content)


def tag_test(any_namespace: bool, namespaces: tuple[str, ...], negated: tuple[str, ...]) -> Callable[[str], bool]:
    """Whether a tag passes a wildcard; the end ("") never does."""
    known: dict[str, bool] = {"": False}

    def test(tag: str) -> bool:
        found = known.get(tag)
        if found is None:
            uri = tag[1:].partition("}")[0] if tag[0] == "{" else ""
            found = uri not in negated if negated else any_namespace or uri in namespaces
            if len(known) < 4096:
                known[tag] = found
        return found

    return test


def by_type(own: Callable[[Any], Any] | None, readers: Mapping[str, Callable[[Any], Any]]) -> Callable[[Any], Any]:
    """A reader that looks at xsi:type. A type that is not among ``readers`` is the declared one."""

    def read(element: etree._Element) -> Any:
        named = element.get(TYPE)
        if named is not None:
            name = read_qname(named, element)
            reader = readers.get(str(name), own)
        else:
            reader = own
        assert reader is not None
        return reader(element)

    return read

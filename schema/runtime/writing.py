"""What generated writers use besides the classes: they begin with ``from schema.runtime.writing import *``.

Writers return text that stands between ``<name`` and ``</name>``. Everything that is not made by us alone is escaped
here; what cannot be said in XML at all (U+0000) is found when libxml2 parses the result.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from msgspec import UNSET

from schema.runtime import escaping
from schema.runtime.offload import pace
from schema.runtime.union import write_union
from schema.values import (
    WRITE_BITS,
    WRITE_BOOLEAN,
    AnyElement,
    QName,
    write_base64,
    write_float,
    write_hex,
)
from schema.values import text as numbers
from schema.values.spelt import spelling

_compiled: Any = None
if not os.environ.get("EVSCHEMA_PURE"):
    with contextlib.suppress(ImportError):  # not built
        from schema.runtime import _escape as _compiled

__all__ = [
    "UNSET",
    "WRITE_BITS",
    "WRITE_BOOLEAN",
    "J",
    "Prefixes",
    "by_class",
    "esc",
    "esc_attribute",
    "items",
    "pace",
    "spelling",
    "write_any",
    "write_any_as",
    "write_any_attributes",
    "write_base64",
    "write_decimal",
    "write_float",
    "write_hex",
    "write_int",
    "write_list",
    "write_names",
    "write_union",
]

J = "".join
F = TypeVar("F")


def _pick(plain: F, name: str) -> F:
    """The function in C, if there is one."""
    found: F = getattr(_compiled, name, plain)
    return found


esc = _pick(escaping.esc, "esc")
esc_attribute = _pick(escaping.esc_attribute, "esc_attribute")
write_decimal = _pick(numbers.write_decimal, "write_decimal")
write_int = _pick(numbers.write_int, "write_int")


def items(value: Any) -> Any:
    """The same, if it is a list: a text has items, too. Raises TypeError."""
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"list expected, not {type(value).__name__}")


def write_list(items: list[str]) -> str:
    """The text of a list. Raises ValueError for an item that would not be one there."""
    text = " ".join(items)
    if items and (text.count(" ") != len(items) - 1 or "" in items or any(c in text for c in "\t\n\r")):
        raise ValueError("an item of a list is empty or holds white space")
    return text


class Prefixes:
    """Prefixes that names in values need, declared where they are used."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    def of(self, uri: str) -> str:
        """The prefix for a namespace."""
        return self._known.setdefault(uri, f"q{len(self._known)}")

    def __str__(self) -> str:
        return J([f' xmlns:{prefix}="{esc_attribute(uri)}"' for uri, prefix in self._known.items()])


_NCNAME = re.compile(r"(?!\d)[\w\-.\u00b7]+")


def _ncname(name: str) -> str:
    """The name, if it is one: nothing that could end a tag or begin an attribute gets through."""
    if not _NCNAME.fullmatch(name):
        raise ValueError(f"{name!r} is no XML name")
    return name


def _split(name: str) -> tuple[str, str]:
    value = QName.parse(name)
    return value.namespace, _ncname(value.local)


_XML = "http://www.w3.org/XML/1998/namespace"


def _attributes(attributes: Mapping[str, str]) -> str:
    """All with declarations of their own."""
    parts = []
    for number, (name, value) in enumerate(attributes.items()):
        uri, plain = _split(name)
        if uri == _XML:
            plain = f"xml:{plain}"
        elif uri:
            parts.append(f' xmlns:_a{number}="{esc_attribute(uri)}"')
            plain = f"_a{number}:{plain}"
        parts.append(f' {plain}="{esc_attribute(value)}"')
    return J(parts)


def write_any_attributes(attributes: Mapping[str, str]) -> str:
    """What xs:anyAttribute lets through."""
    return _attributes(attributes) if attributes else ""


def write_any(element: AnyElement, scope: str) -> str:
    """The whole element, with every declaration it needs where ``scope`` is the default namespace."""
    uri, name = _split(element.name)
    # Not xmlns="" without need: libxml2 then finds no type for an xsi:type without a prefix.
    declared = f' xmlns="{esc_attribute(uri)}"' if uri != scope else ""
    declared += J([f' xmlns:{_ncname(prefix)}="{esc_attribute(u)}"' for prefix, u in element.namespaces.items()])
    content = J([esc(item) if isinstance(item, str) else write_any(item, uri) for item in element.content])
    return f"<{name}{declared}{_attributes(element.attributes)}>{content}</{name}>"


def write_any_as(name: str, element: AnyElement, scope: str) -> str:
    """An element of type xs:anyType, under the name that the schema gives it."""
    return write_any(AnyElement(name, element.attributes, element.content, element.namespaces), scope)


def write_names(tag: str, write: Callable[[Prefixes], str], declarations: str = "") -> str:
    """An element whose text holds names that need prefixes."""
    prefixes = Prefixes()
    text = write(prefixes)
    return f"<{tag}{declarations}{prefixes}>{text}</{tag}>"


def by_class(own: Any, writers: Mapping[Any, tuple[str, str, Callable[[Any], str]]]) -> Callable[[Any], str]:
    """A writer that says xsi:type when the object is of another class than the declared one (``own``)."""

    def write(value: Any) -> str:
        cls = type(value)
        try:
            uri, name, writer = writers[cls]
        except KeyError:
            raise TypeError(f"{cls.__name__} is none of {', '.join(c.__name__ for c in writers)}") from None
        if cls is own:
            return writer(value)
        if not uri:
            return f' xsi:type="{name}"{writer(value)}'
        return f' xmlns:t="{esc_attribute(uri)}" xsi:type="t:{name}"{writer(value)}'

    return write

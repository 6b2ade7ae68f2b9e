"""Elements that no type describes, as lua_schema has them: a JSON text ``["any_ns1:name", {attributes}, child, ...]``
within the JSON.

The natural mapping has them as ``[name, attributes, content, namespaces]`` with Clark names. Prefixes are
``any_ns1``..., chosen so that no text in the element holds one by chance, and declared at the outermost element as
``xmlns:any_ns1``. Where a text uses other prefixes, their declarations stay with it.
"""

from __future__ import annotations

import itertools
import re
from typing import Any

import msgspec

from schema.json.natural import json_name

__all__ = ["any_from_text", "any_to_text"]

_PLAIN = re.compile(r"any_ns\d+")
_XML = "http://www.w3.org/XML/1998/namespace"


def any_to_text(element: list[Any]) -> str:
    """The text for an element in the natural mapping."""
    held = msgspec.json.encode(element).decode()
    free = (f"any_ns{n}" for n in itertools.count(1) if f"any_ns{n}" not in held)
    prefixes: dict[str, str] = {}

    def name(clark: str) -> str:
        uri, _, local = clark.rpartition("}")
        uri = uri[1:]
        if not uri:
            return local
        if uri == _XML:
            return f"xml:{local}"
        if uri not in prefixes:
            prefixes[uri] = next(free)
        return f"{prefixes[uri]}:{local}"

    def made(item: Any) -> Any:
        if not isinstance(item, list):
            return item
        absent: list[Any] = [{}, [], {}]
        clark, attributes, content, namespaces = [*item, *absent[len(item) - 1 :]]
        own = {f"xmlns:{prefix}": uri for prefix, uri in namespaces.items()}
        own |= {name(key): value for key, value in attributes.items()}
        return [name(clark), own, *(made(inner) for inner in content)]

    outermost = made(element)
    outermost[1] |= {f"xmlns:{prefix}": uri for uri, prefix in prefixes.items()}
    return msgspec.json.encode(outermost).decode()


def any_from_text(text: Any) -> list[Any]:
    """The element in the natural mapping. Raises ValueError, TypeError or msgspec.DecodeError."""
    if not isinstance(text, str):
        raise TypeError(f"got `{json_name(text)}`")
    value = msgspec.json.decode(text)
    if not isinstance(value, list):
        raise ValueError("an element is an array")
    found: list[Any] = _read(value, {"xml": _XML}, text)
    return found


def _read(item: Any, scope: dict[str, str], whole: str) -> Any:
    if isinstance(item, str):
        return item
    if not isinstance(item, list) or not item or not isinstance(item[0], str):
        raise ValueError('an element is ["name", {attributes}, child, ...]')
    attributes = item[1] if len(item) > 1 else {}
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise ValueError("attributes are an object of texts")
    declared = {key[6:]: value for key, value in attributes.items() if key.startswith("xmlns:")}
    plain = {key: value for key, value in attributes.items() if not key.startswith("xmlns:")}
    for key in attributes:
        if _PLAIN.fullmatch(key) and f"{key}:" in whole and f"xmlns:{key}" not in whole:
            declared[key] = plain.pop(key)
    inside = scope | declared

    def name(prefixed: str) -> str:
        prefix, colon, local = prefixed.rpartition(":")
        if not colon:
            return local
        if prefix not in inside:
            raise ValueError(f"the prefix of {prefixed!r} is not declared")
        return f"{{{inside[prefix]}}}{local}"

    content = [_read(inner, inside, whole) for inner in item[2:]]
    return [name(item[0]), {name(key): value for key, value in plain.items()}, content, declared]

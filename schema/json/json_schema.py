"""JSON Schema (draft 2020-12) of the natural mapping, from the generated classes.

It tells the shape: members, which of them must be there, types, arrays, alternatives. What JSON Schema cannot say, or
not in the words of XSD (facets of values, keys, the exact order of what repeats), is judged by from_json alone: what
the JSON Schema refuses is invalid, what it accepts may still be.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from schema import values as v

__all__ = ["DIALECT", "json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_INTEGER = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\s*[+-]?[0-9]+\s*$"}]}
_FLOAT = {
    "anyOf": [
        {"type": "number"},
        {"type": "string", "pattern": r"^\s*([+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?[0-9]+)?|-?INF|NaN)\s*$"},
    ]
}
_DECIMAL = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": r"^\s*[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)\s*$"}]}
_KINDS: Mapping[Any, dict[str, Any]] = {
    v.Exact: _DECIMAL,
    v.Varied: {"type": ["string", "number", "boolean", "array"]},
    v.Base64: {"type": "string", "contentEncoding": "base64"},
    v.Integer: _INTEGER,
    v.Float: _FLOAT,
    v.Hex: {"type": "string", "pattern": r"^\s*([0-9A-Fa-f]{2})*\s*$"},
    v.QName: {"type": "string", "description": "a name: {namespace}local"},
    v.Date: {"type": "string", "description": "xs:date: 2026-01-31, with or without a zone"},
    v.DateTime: {"type": "string", "description": "xs:dateTime: 2026-01-31T12:00:00, with or without a zone"},
    v.Time: {"type": "string", "description": "xs:time: 12:00:00, with or without a zone"},
    v.Duration: {"type": "string", "description": "xs:duration: P1DT2H"},
    **{
        kind: {"type": "string", "description": f"xs:g{kind.__name__[1:]}"}
        for kind in (v.GYear, v.GYearMonth, v.GMonth, v.GMonthDay, v.GDay)
    },
}


def _of_kind(kind: Any) -> dict[str, Any]:
    found = _KINDS.get(kind)
    if found is None:
        raise NotImplementedError(f"{kind!r} has no JSON Schema")  # a kind of value that was added and forgotten here
    return dict(found)


def json_schema(kind: Any, title: str) -> dict[str, Any]:
    """The JSON Schema of one root element. ``kind`` is the type of its objects, for msgspec."""
    found = msgspec.json.schema(kind, schema_hook=_of_kind)
    for definition in found.get("$defs", {}).values():
        for member in definition.get("properties", {}).values():
            _without_null(member)
    return {"$schema": DIALECT, "title": title, **found}


def _without_null(member: dict[str, Any]) -> None:
    """Of a member that is None when it is absent: JSON leaves it out."""
    if member.get("default", ...) is None:
        del member["default"]
        kinds = [one for one in member.pop("anyOf", []) if one != {"type": "null"}]
        if len(kinds) == 1:
            member |= kinds[0]
        elif kinds:
            member["anyOf"] = kinds

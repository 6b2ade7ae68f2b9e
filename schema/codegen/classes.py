"""The module that users import: one msgspec.Struct for each class of the plan, typed, with docstrings.

Members are named for the natural JSON mapping by ``rename``, so msgspec reads and writes that mapping by itself.
Objects are trees and so are not watched by the cyclic garbage collector (``gc=False``).
"""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Iterable

from schema.codegen.plan import Class, Field, Plan

__all__ = ["annotation", "emit", "exports"]

_HEAD = """

from __future__ import annotations

from typing import TypeAlias

from msgspec import UNSET, Struct, UnsetType, field

from schema.values import (
    BOOLEANS, AnyElement, Base64, Date, DateTime, Duration, Float, GDay, GMonth, GMonthDay, GYear, GYearMonth, Hex,
    Integer, QName, Time, collapse, read_base64, read_date, read_datetime, read_decimal, read_float, read_hex, read_int,
    read_time, replace, Varied,
)
from schema.values import Exact as Decimal
from schema.runtime.union import read_spelt
"""
_COMPILED_HEAD = _HEAD.replace("from typing", "# ruff: noqa\nfrom typing").replace(
    "from schema.values", "from schema import Schema\nfrom schema._compiled import bind\nfrom schema.values", 1
)


def docstring(text: str, fallback: str, indent: str) -> str:
    """The source of a docstring; whatever the text holds cannot end it early."""
    text = (text or fallback).replace("\\", "\\\\").replace('"""', "'''").replace("\x00", "")
    if text.endswith('"'):
        text += " "
    lines = [line for part in text.split("\n") for line in (textwrap.wrap(part, 116 - len(indent)) or [""])]
    if len(lines) == 1 and len(lines[0]) < 110 - len(indent):
        return f'{indent}"""{lines[0]}"""'
    body = "\n".join(f"{indent}{line}".rstrip() for line in lines)
    return f'{indent}"""{body.lstrip()}\n{indent}"""'


def _family(target: Class) -> str:
    return " | ".join(member.name for member in target.family) or "None"  # abstract, and nothing derives from it


def value_annotation(f: Field) -> str:
    """The annotation of one value."""
    if f.kind == "any" or f.any_type:
        return "AnyElement"
    if f.kind == "group":
        assert f.target is not None
        return f.target.name
    if f.target is not None:
        return _family(f.target)
    assert f.conversion is not None
    return f.conversion.annotation


def annotation(f: Field) -> str:
    """The annotation of a field."""
    if f.kind == "any_attribute":
        return "dict[str, str]"
    if f.kind == "mixed":
        return f"list[str | {f.target.name}]" if f.target is not None else "list[str]"
    text = value_annotation(f)
    if f.many:
        return f"list[{text} | None]" if f.nillable else f"list[{text}]"
    if f.nillable:
        return f"{text} | None" if f.required else f"{text} | None | UnsetType"
    return text if f.required or (f.kind == "attribute" and f.default is not None) else f"{text} | None"


def default(f: Field) -> str:
    """The source of the default value; empty when there is none."""
    if f.kind == "any_attribute":
        return "{}"
    if f.many:
        return "[]"
    if f.required:
        return ""
    if f.kind == "attribute" and f.default is not None:
        assert f.conversion is not None
        value = f.default_value
        return f"field(default_factory=lambda: {value})" if value.startswith("[") else value
    return "UNSET" if f.nillable else "None"


def _class(c: Class) -> str:
    rename = {f.name: f.json for f in c.fields if f.name != f.json}
    if c.nil_field is not None:
        rename["nil"] = c.nil_field.json
    arguments = ["Struct", "kw_only=True", "gc=False", "omit_defaults=True", "forbid_unknown_fields=True"]
    if rename:
        arguments.append(f"rename={rename!r}")
    if c.tagged:
        arguments += ['tag_field="@xsi:type"', f"tag={c.name!r}"]
    lines = [f"class {c.name}({', '.join(arguments)}):"]
    kind = f"A group of {c.key}." if c.group else f"Type {c.key}."
    lines.append(docstring(c.documentation, kind, "    "))
    fields = [*c.fields, c.nil_field] if c.nil_field is not None else c.fields
    for f in fields:
        if c.nil_field is not None and f.kind in ("element", "any", "text"):
            f = dataclasses.replace(f, required=False)  # a nil one has no content
        if f is c.nil_field:
            lines.append("    nil: bool = False")
            continue
        value = default(f)
        lines.append(f"    {f.name}: {annotation(f)}" + (f" = {value}" if value else ""))
        if f.documentation:
            lines.append(docstring(f.documentation, "", "    "))
    return "\n".join(lines)


def exports(plan: Plan) -> dict[str, str]:
    """Other names for classes: those of the root elements, where they are free."""
    from schema.codegen.names import class_name

    taken = {c.name for c in plan.classes}
    names: dict[str, str] = {}
    for root in plan.roots.values():
        name = class_name(root.name)
        if root.field.target is not None and not root.field.target.abstract and name not in taken and name not in names:
            names[name] = root.field.target.name
    return names


def emit(plan: Plan, doc: str, tail: Iterable[str] = (), *, compiled: bool = False) -> str:
    """The source of the module with the classes."""
    aliases = exports(plan)
    head = _COMPILED_HEAD if compiled else _HEAD
    names = sorted([*(c.name for c in plan.classes if not c.abstract), *aliases])
    if compiled:
        names.append("SCHEMA")
    parts = [docstring(doc, "Generated.", "") + head, f"__all__ = {names!r}"]
    parts += [_class(c) for c in plan.classes if not c.abstract]
    parts += [f"{name}: TypeAlias = {target}" for name, target in sorted(aliases.items())]
    parts += tail
    return "\n\n\n".join(parts) + "\n"

"""From a simple type to Python expressions: how its text becomes a value and a value its text.

A ``Conversion`` is source text. ``read`` is an expression in which ``{}`` stands for the text (never None); libxml2 has
judged it, so it converts and does not check. ``write`` is an expression in which ``{}`` stands for a value that the
user may have put there: it must raise TypeError, ValueError, KeyError or AttributeError for a value of another type,
and never let text through unescaped unless ``plain`` is true because its result cannot contain markup. The names used
in the expressions are those of ``schema.values`` and ``schema.runtime.support``.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, cast

from lxml import etree

from schema.codegen.unions import members_schema
from schema.model.components import XS, Components, SimpleType
from schema.runtime.judge import compile_texts

__all__ = ["Conversion", "Union", "accepted", "conversion", "default_value"]

JsonKind = Literal["string", "number", "integer", "boolean", "list", "union"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Source text of the two directions. ``context``: reading needs the element, too, as ``E`` (QName)."""

    annotation: str
    read: str
    write: str
    plain: bool  # the written text needs no escaping
    context: bool = False
    unions: tuple[Union, ...] = ()  # whose readers ``read`` calls


@dataclass(frozen=True, slots=True)
class Union:
    """A union of several kinds: the name of its reader, the schema that tells its members apart, and their readers."""

    name: str
    xsd: str
    members: tuple[Conversion, ...]

    def source(self) -> str:
        """The definition of the reader."""
        readers = ", ".join(f"lambda x, E: {member.read.replace('{}', 'x')}" for member in self.members)
        names = any(member.context for member in self.members)
        return f"{self.name} = union_reader({self.xsd!r}, ({readers},), names={names})"


_STRINGS = {
    "preserve": Conversion("str", "{}", "{}", False),
    "replace": Conversion("str", "replace({})", "{}", False),
    "collapse": Conversion("str", "collapse({})", "{}", False),
}
_INTEGER = Conversion("int", "int({})", "write_int({})", True)  # within 53 bits
_BIG = Conversion("Integer", "read_int({})", "write_int({})", True)
_BY_PRIMITIVE: Mapping[str, Conversion] = {
    "decimal": Conversion("Decimal", "read_decimal({})", "write_decimal({})", True),
    "boolean": Conversion("bool", "BOOLEANS[{}]", "WRITE_BOOLEAN[{}]", True),
    "float": Conversion("Float", "read_float({})", "write_float({})", True),
    "double": Conversion("Float", "read_float({})", "write_float({})", True),
    "date": Conversion("Date", "read_date({})", "{}.isoformat()", True),
    "dateTime": Conversion("DateTime", "read_datetime({})", "{}.isoformat()", True),
    "time": Conversion("Time", "read_time({})", "{}.isoformat()", True),
    "duration": Conversion("Duration", "Duration.parse({})", "{}.isoformat()", True),
    "gYear": Conversion("GYear", "GYear.parse({})", "{}.isoformat()", True),
    "gYearMonth": Conversion("GYearMonth", "GYearMonth.parse({})", "{}.isoformat()", True),
    "gMonth": Conversion("GMonth", "GMonth.parse({})", "{}.isoformat()", True),
    "gMonthDay": Conversion("GMonthDay", "GMonthDay.parse({})", "{}.isoformat()", True),
    "gDay": Conversion("GDay", "GDay.parse({})", "{}.isoformat()", True),
    "hexBinary": Conversion("Hex", "read_hex({})", "write_hex({})", True),
    "base64Binary": Conversion("Base64", "read_base64({})", "write_base64({})", True),
    "QName": Conversion("QName", "read_qname({}, E)", "{}.lexical(Q)", False, context=True),
    "NOTATION": Conversion("QName", "read_qname({}, E)", "{}.lexical(Q)", False, context=True),
}


def _is_integer(components: Components, t: SimpleType) -> bool:
    step: SimpleType | None = t
    while step is not None:
        if step.name is not None and step.name.endswith("XMLSchema}integer"):
            return True
        step = cast("SimpleType | None", components.types.get(step.base)) if step.base else None
    return False


_SMALL = frozenset({"int", "short", "byte", "unsignedInt", "unsignedShort", "unsignedByte"})


def _is_small(t: SimpleType) -> bool:
    """Whether every value fits into 53 bits."""
    f = t.facets
    if t.builtin in _SMALL or (f.total_digits is not None and f.total_digits <= 15):
        return True
    low = f.min_inclusive or f.min_exclusive
    high = f.max_inclusive or f.max_exclusive
    return low is not None and high is not None and abs(int(low)) < 1 << 53 and abs(int(high)) < 1 << 53


def conversion(components: Components, key: str) -> Conversion:
    """How values of a simple type are read and written."""
    t = components.types[key]
    assert isinstance(t, SimpleType)
    found = _conversion(components, key, t)
    given = components.types.get(f"{{{XS}}}{t.builtin}")
    known = given.facets.patterns if isinstance(given, SimpleType) else ()
    if found.context or t.variety == "union" or found in _STRINGS.values() or set(t.facets.patterns) <= set(known):
        return found
    if t.primitive == "boolean":
        bits = accepted(components, (key,), "true") is None and accepted(components, (key,), "1") is not None
        return replace(found, write="WRITE_BITS[{}]") if bits else found
    # The usual form of a value may not be let through by the pattern.
    if found is _INTEGER:
        found = _BIG
    read, write = f"read_spelt({found.read}, {{}})", f"(spelling({{}}) or {found.write})"
    return replace(found, read=read, write=write, plain=False)


def accepted(components: Components, keys: tuple[str, ...], text: str) -> int | None:
    """The number of the first of some simple types that takes a text."""
    compiled = compile_texts({"types.xsd": members_schema(components, keys).encode()}, "types.xsd")
    for number in range(len(keys)):
        tried = etree.Element(f"m{number}")
        tried.text = text
        if compiled.validate(tried):
            return number
    return None


def _conversion(components: Components, key: str, t: SimpleType) -> Conversion:
    if t.variety == "list":
        assert t.item is not None
        item = conversion(components, t.item)
        read = "[" + item.read.replace("{}", "x") + " for x in {}.split()]"
        write = "write_list([" + item.write.replace("{}", "x") + " for x in items({})])"
        return Conversion(f"list[{item.annotation}]", read, write, item.plain, item.context, item.unions)
    if t.variety == "union":
        return _union(components, t)
    if t.primitive == "decimal" and _is_integer(components, t):
        return _INTEGER if _is_small(t) else _BIG
    if t.primitive in _BY_PRIMITIVE:
        return _BY_PRIMITIVE[t.primitive]
    return _STRINGS[t.facets.white_space]


def _union(components: Components, t: SimpleType) -> Conversion:
    members = [conversion(components, member) for member in t.members]
    if not members:
        return _STRINGS["collapse"]
    if all(member.read == members[0].read for member in members):
        return members[0]
    annotations = list(dict.fromkeys(member.annotation for member in members))
    if set(annotations) <= {"int", "Integer"}:
        return _BIG
    context = any(member.context for member in members)
    xsd = members_schema(components, t.members)
    number = zlib.crc32("\0".join([xsd, *(member.read for member in members)]).encode())
    union = Union(f"u{number:08x}", xsd, tuple(members))
    inner = tuple(dict.fromkeys(one for member in members for one in member.unions))
    return Conversion(
        f"Varied[{' | '.join(annotations)}]",
        f"{union.name}({{}}, E)" if context else f"{union.name}({{}})",
        "write_union({}, Q)" if context else "write_union({})",
        plain=False,
        context=context,
        unions=(*inner, union),
    )


def default_value(components: Components, key: str, text: str) -> str:
    """The expression for a default value of a simple type."""
    found = conversion(components, key)
    if not found.unions:
        return found.read.replace("{}", repr(text))
    t = components.types[key]
    assert isinstance(t, SimpleType)
    if t.variety == "list":
        assert t.item is not None
        return "[" + ", ".join(default_value(components, t.item, one) for one in text.split()) + "]"
    number = accepted(components, t.members, text)
    return default_value(components, t.members[-1 if number is None else number], text)

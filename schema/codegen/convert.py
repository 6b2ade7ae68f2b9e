"""From a simple type to Python expressions: how its text becomes a value and a value its text.

A ``Conversion`` is source text. ``read`` is an expression in which ``{}`` stands for the text (never None); libxml2 has
judged it, so it converts and does not check. ``write`` is an expression in which ``{}`` stands for a value that the
user may have put there: it must raise TypeError, ValueError, KeyError or AttributeError for a value of another type,
and never let text through unescaped unless ``plain`` is true because its result cannot contain markup. The names used
in the expressions are those of ``schema.values`` and ``schema.runtime.support``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, cast

from schema.model.components import Components, SimpleType

__all__ = ["Conversion", "conversion"]

JsonKind = Literal["string", "number", "integer", "boolean", "list", "union"]


@dataclass(frozen=True, slots=True)
class Conversion:
    """Source text of the two directions. ``context``: reading needs the element, too, as ``E`` (QName)."""

    annotation: str
    read: str
    write: str
    plain: bool  # the written text needs no escaping
    context: bool = False


_STRINGS = {
    "preserve": Conversion("str", "{}", "{}", False),
    "replace": Conversion("str", "replace({})", "{}", False),
    "collapse": Conversion("str", "collapse({})", "{}", False),
}
_INTEGER = Conversion("int", "int({})", "write_int({})", True)  # within 53 bits
_BIG = Conversion("Integer", "read_int({})", "write_int({})", True)
_BY_PRIMITIVE: Mapping[str, Conversion] = {
    "decimal": Conversion("Decimal", "Decimal({})", "write_decimal({})", True),
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
    "base64Binary": Conversion("bytes", "read_base64({})", "write_base64({})", True),
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
    if t.variety == "list":
        assert t.item is not None
        item = conversion(components, t.item)
        read = "[" + item.read.format("x") + " for x in {}.split()]"
        write = '" ".join([' + item.write.format("x") + " for x in {}])"
        return Conversion(f"list[{item.annotation}]", read, write, item.plain, item.context)
    if t.variety == "union":
        members = [conversion(components, member) for member in t.members]
        annotations = {member.annotation for member in members}
        if annotations == {"str"}:
            return _STRINGS["collapse"]
        if len(annotations) == 1 and members:
            return members[0]
        return Conversion("str", "collapse({})", "{}", False)
    if t.primitive == "decimal" and _is_integer(components, t):
        return _INTEGER if _is_small(t) else _BIG
    if t.primitive in _BY_PRIMITIVE:
        return _BY_PRIMITIVE[t.primitive]
    return _STRINGS[t.facets.white_space]

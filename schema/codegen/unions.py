"""Unions: which member type a text belongs to.

By the standard it is the first one, in the order of the schema, that the text is valid for, with all its facets (part
2, 2.5.1.3). libxml2 is asked here, too: a small schema is written with one element for each member, made of the
components alone, so that it needs nothing of the schema's documents.
"""

from __future__ import annotations

from xml.sax.saxutils import quoteattr

from schema.model.components import XS, Components, Facets, SimpleType

__all__ = ["members_schema"]

_BOUNDS = ("min_inclusive", "min_exclusive", "max_inclusive", "max_exclusive")
_NUMBERS = ("length", "min_length", "max_length", "total_digits", "fraction_digits")
_NAMES = {name: name.split("_")[0] + "".join(part.capitalize() for part in name.split("_")[1:]) for name in
          (*_BOUNDS, *_NUMBERS)}  # fmt: skip


def members_schema(components: Components, keys: tuple[str, ...]) -> str:
    """A schema with the elements ``m0``, ``m1`` ... of the types ``keys``."""
    parts = [f'<xs:element name="m{number}">{_type(components, key)}</xs:element>' for number, key in enumerate(keys)]
    return f'<xs:schema xmlns:xs="{XS}">{"".join(parts)}</xs:schema>'


def _type(components: Components, key: str) -> str:
    t = components.types[key]
    assert isinstance(t, SimpleType)
    if t.variety == "list":
        assert t.item is not None
        inner = f"<xs:list>{_type(components, t.item)}</xs:list>"
    elif t.variety == "union":
        inner = f"<xs:union>{''.join(_type(components, member) for member in t.members)}</xs:union>"
    else:
        # A name in an enumeration is a name by its prefix, and prefixes are not among the components.
        enumeration = () if t.primitive in ("QName", "NOTATION") else t.facets.enumeration or ()
        builtin = "string" if t.builtin in ("anySimpleType", "anyAtomicType", "NOTATION") else t.builtin
        given = components.types.get(f"{{{XS}}}{builtin}")
        own = _own(t.facets, given.facets if isinstance(given, SimpleType) else Facets())
        return _restricted(f'base="xs:{builtin}"', "", own, enumeration)
    simple = f"<xs:simpleType>{inner}</xs:simpleType>"
    return _restricted("", simple, _own(t.facets, Facets()), t.facets.enumeration or ())


def _own(facets: Facets, given: Facets) -> tuple[list[str], list[tuple[str, ...]]]:
    """The facets that the built-in type has not yet: elements, and patterns step by step."""
    found = [
        f"<xs:{_NAMES[name]} value={quoteattr(str(value))}/>"
        for name in (*_BOUNDS, *_NUMBERS)
        if (value := getattr(facets, name)) is not None and value != getattr(given, name)
    ]
    if given.white_space != "collapse" and facets.white_space != given.white_space:
        found.insert(0, f'<xs:whiteSpace value="{facets.white_space}"/>')
    return found, [step for step in reversed(facets.patterns) if step not in given.patterns]


def _restricted(
    base: str, inner: str, own: tuple[list[str], list[tuple[str, ...]]], enumeration: tuple[str, ...]
) -> str:
    elements, steps = own
    elements = [*elements, *(f"<xs:enumeration value={quoteattr(value)}/>" for value in enumeration)]
    first, *more = steps or [()]
    text = _restriction(base, inner, [*elements, *_patterns(first)])
    for step in more:  # patterns of one step are alternatives, those of several are all asked for
        text = _restriction("", text, _patterns(step))
    return text


def _restriction(base: str, inner: str, facets: list[str]) -> str:
    return f"<xs:simpleType><xs:restriction {base}>{inner}{''.join(facets)}</xs:restriction></xs:simpleType>"


def _patterns(step: tuple[str, ...]) -> list[str]:
    return [f"<xs:pattern value={quoteattr(pattern)}/>" for pattern in step]

"""The component model: what a schema says, and nothing about how it was written.

These are the components of XML Schema 1.0 part 1, section 3 (https://www.w3.org/TR/xmlschema-1/#components), as
immutable dataclasses. Includes, imports, redefinitions, named groups and attribute groups are resolved; references to
*types* are by key, since types may be recursive: ``Components.types[key]``. Names and keys are in Clark notation,
``{namespace}local``, or ``local`` alone without a namespace; the key of an anonymous type is that of what contains
it, a slash and a suffix, so keys are stable when the schema is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

__all__ = [
    "ANY_TYPE",
    "XS",
    "XSI",
    "AnyParticle",
    "Attribute",
    "ComplexType",
    "Components",
    "Constraint",
    "ElementDeclaration",
    "ElementParticle",
    "Facets",
    "GroupParticle",
    "Particle",
    "SimpleType",
    "Type",
    "Wildcard",
    "clark",
    "local",
    "namespace",
]

XS = "http://www.w3.org/2001/XMLSchema"
XSI = "http://www.w3.org/2001/XMLSchema-instance"
ANY_TYPE = f"{{{XS}}}anyType"


def local(name: str) -> str:
    """The local part of a name in Clark notation."""
    return name.rpartition("}")[2]


def namespace(name: str) -> str:
    """The namespace of a name in Clark notation; "" without one."""
    return name[1:].partition("}")[0] if name.startswith("{") else ""


def clark(uri: str | None, name: str) -> str:
    """A name in Clark notation."""
    return f"{{{uri}}}{name}" if uri else name


@dataclass(frozen=True, slots=True)
class Facets:
    """The facets in force for a simple type: its own and inherited ones (part 2, section 4.3). Bounds are lexical.

    ``patterns`` has one tuple per derivation step: a value matches one pattern of *each* step.
    """

    length: int | None = None
    min_length: int | None = None
    max_length: int | None = None
    patterns: tuple[tuple[str, ...], ...] = ()
    enumeration: tuple[str, ...] | None = None
    white_space: Literal["preserve", "replace", "collapse"] = "collapse"
    min_inclusive: str | None = None
    min_exclusive: str | None = None
    max_inclusive: str | None = None
    max_exclusive: str | None = None
    total_digits: int | None = None
    fraction_digits: int | None = None


@dataclass(frozen=True, slots=True)
class SimpleType:
    """A simple type. ``builtin`` is the local name of the nearest built-in type it derives from (``anySimpleType`` for
    unions).
    """

    key: str
    name: str | None  # None: anonymous
    variety: Literal["atomic", "list", "union"]
    base: str | None
    builtin: str
    primitive: str  # local name of the primitive type; "" for lists, unions and anySimpleType
    facets: Facets
    item: str | None = None  # key of the item type of a list
    members: tuple[str, ...] = ()  # keys of the member types of a union
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class Wildcard:
    """xs:any or xs:anyAttribute: which namespaces ("" is none; empty without ``any_namespace``: nothing), and how
    strictly.
    """

    any_namespace: bool
    namespaces: tuple[str, ...]
    negated: tuple[str, ...]  # ##other: these are excluded
    process: Literal["strict", "lax", "skip"]

    def allows(self, uri: str) -> bool:
        """Whether a name of this namespace ("": none) is let through."""
        if self.negated:
            return uri not in self.negated
        return self.any_namespace or uri in self.namespaces


@dataclass(frozen=True, slots=True)
class Attribute:
    """An attribute use. ``type`` is the key of a simple type."""

    name: str
    type: str
    required: bool = False
    default: str | None = None
    fixed: str | None = None
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class ElementParticle:
    """An element in a content model. ``max`` None: unbounded. ``substitutes``: names of elements of its substitution
    group.
    """

    name: str
    type: str
    min: int = 1
    max: int | None = 1
    nillable: bool = False
    abstract: bool = False
    default: str | None = None
    fixed: str | None = None
    is_global: bool = False  # a reference to a global declaration
    substitutes: tuple[str, ...] = ()
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class AnyParticle:
    """A wildcard in a content model."""

    wildcard: Wildcard
    min: int = 1
    max: int | None = 1


@dataclass(frozen=True, slots=True)
class GroupParticle:
    """A sequence, choice or all."""

    kind: Literal["sequence", "choice", "all"]
    particles: tuple[Particle, ...]
    min: int = 1
    max: int | None = 1


Particle: TypeAlias = ElementParticle | AnyParticle | GroupParticle


@dataclass(frozen=True, slots=True)
class ComplexType:
    """A complex type. ``content``: the key of a simple type (simple content), a particle, or None (empty)."""

    key: str
    name: str | None
    base: str | None
    derivation: Literal["", "extension", "restriction"]
    abstract: bool
    mixed: bool
    content: str | GroupParticle | None
    attributes: tuple[Attribute, ...] = ()
    any_attribute: Wildcard | None = None
    block: tuple[str, ...] = ()
    documentation: str = ""


Type: TypeAlias = SimpleType | ComplexType


@dataclass(frozen=True, slots=True)
class Constraint:
    """xs:unique, xs:key or xs:keyref, as written; ``element`` is the name of the element that carries it."""

    kind: Literal["unique", "key", "keyref"]
    name: str
    element: str
    selector: str
    fields: tuple[str, ...]
    refer: str | None = None


@dataclass(frozen=True, slots=True)
class ElementDeclaration:
    """A global element."""

    name: str
    type: str
    nillable: bool = False
    abstract: bool = False
    default: str | None = None
    fixed: str | None = None
    head: str | None = None  # of the substitution group it belongs to
    main: bool = False  # declared in the document that was asked for (or what that includes)
    referenced: bool = False  # some content model refers to it
    documentation: str = ""


@dataclass(frozen=True, slots=True)
class Components:
    """A whole schema."""

    target_namespace: str
    types: Mapping[str, Type]
    elements: Mapping[str, ElementDeclaration]
    attributes: Mapping[str, Attribute]  # global ones
    constraints: tuple[Constraint, ...] = ()
    prefixes: Mapping[str, str] = field(default_factory=dict)  # namespace to the prefix that its documents prefer
    derived: Mapping[str, tuple[str, ...]] = field(
        default_factory=dict
    )  # type key to keys of named types derived from it
    documentation: str = ""

"""Compiles a bundle: two judges look at it, then the components are read from the one that knows them.

xmlschema (https://pypi.org/project/xmlschema/) builds the component model and is right about nearly every schema of the
W3C test suite; libxml2 must accept the schema, too, since it will judge the instances. Either one's refusal is ours.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, cast
from xml.etree.ElementTree import ParseError

import xmlschema
from lxml import etree
from xmlschema.validators import XsdAnyElement, XsdGroup

from schema.errors import Problem, SchemaError
from schema.model import components as c
from schema.model.metaschema import checker, valid_documents
from schema.model.patterns import is_ambiguous
from schema.model.sources import Bundle
from schema.runtime.judge import compile_bundle

__all__ = ["build", "read_components", "refuse_ambiguous"]

_Kind = Literal["sequence", "choice", "all"]


def build(bundle: Bundle) -> tuple[c.Components, etree.XMLSchema]:
    """The components of a bundle, and libxml2's compiled form of it. Raises SchemaError when either judge refuses."""
    judge = compile_bundle(bundle)
    with tempfile.TemporaryDirectory(prefix="evschema-") as folder:
        for document in bundle.documents.values():
            Path(folder, document.name).write_bytes(document.data)
        return read_components(_second_opinion(bundle, Path(folder)), bundle), judge


def _second_opinion(bundle: Bundle, folder: Path) -> xmlschema.XMLSchema10:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            valid = valid_documents(document.data for document in bundle.documents.values())
            judge = checker() if valid else xmlschema.XMLSchema10
            return judge(str(folder / bundle.main), base_url=str(folder), allow="sandbox", defuse="always")
    except xmlschema.XMLSchemaException as error:
        message = str(getattr(error, "message", None) or error).strip()
        line = getattr(error, "sourceline", None)
        url = getattr(error, "schema_url", None) or getattr(getattr(error, "validator", None), "source", None)
        name = str(getattr(url, "url", url) or bundle.main)
        raise SchemaError([Problem("schema-invalid", message, line=line, source=bundle.origin(name))]) from None
    except (ParseError, RecursionError, ValueError, KeyError, TypeError, AttributeError) as error:
        # Faults of a schema that xmlschema does not report in its own words.
        text = f"{type(error).__name__}: {error}"
        raise SchemaError([Problem("schema-invalid", text, source=bundle.origin(bundle.main))]) from None


def refuse_ambiguous(components: c.Components, bundle: Bundle) -> None:
    """Raises SchemaError for patterns whose matching may take exponentially long."""
    patterns: dict[str, str] = {}
    for key, t in components.types.items():
        if isinstance(t, c.SimpleType) and c.namespace(key) != c.XS:
            patterns |= {pattern: key for step in t.facets.patterns for pattern in step if pattern not in patterns}
    problems = [
        Problem(
            "schema-unsafe",
            f"the pattern {pattern!r} can match a text in exponentially many ways, so that a short value could keep "
            "the validator busy for minutes; write it without ambiguity, or allow it with unsafe_patterns=True "
            "(evschema: --unsafe-patterns)",
            path=key,
            value=pattern,
            source=bundle.origin(bundle.main),
        )
        for pattern, key in patterns.items()
        if is_ambiguous(pattern)
    ]
    if problems:
        raise SchemaError(problems)


def _documentation(component: Any) -> str:
    texts = []
    annotation = getattr(component, "annotation", None)
    for element in getattr(annotation, "documentation", None) or ():
        text = " ".join("".join(element.itertext()).split())
        if text:
            texts.append(text)
    return "\n\n".join(texts)


def _base(t: Any) -> Any:
    """The simple type that a simple type is made from; the content of a complex one with simple content."""
    base = t.base_type
    return base.content if base is not None and not base.is_simple() else base


class _Reader:
    """Walks over xmlschema's components. They are ``Any`` here: its classes differ in more than their types say."""

    def __init__(self, schema: Any, bundle: Bundle) -> None:
        self.schema = schema
        self.maps = schema.maps
        self.bundle = bundle
        self.types: dict[str, c.Type] = {}
        self.keys: dict[int, str] = {}
        self.kept: list[Any] = []  # so that no id is used twice
        self.pending: list[tuple[str, Any]] = []
        self.constraints: list[c.Constraint] = []
        self.referenced: set[str] = set()
        self.substitutes: dict[str, tuple[str, ...]] = {}

    # --- types ---------------------------------------------------------------------------------------------------

    def key(self, xsd_type: Any, hint: str) -> str:
        """The key of a type, which is read later if it is new. ``hint`` makes the key of an anonymous one."""
        known = self.keys.get(id(xsd_type))
        if known is not None:
            return known
        key = str(xsd_type.name) if xsd_type.name else hint
        while not xsd_type.name and key in self.types:
            key += "'"
        if xsd_type.name and key in self.types:  # a redefined type, seen from its redefinition
            key += "'"
        self.keys[id(xsd_type)] = key
        self.kept.append(xsd_type)
        self.types[key] = cast(c.Type, None)
        self.pending.append((key, xsd_type))
        return key

    def drain(self) -> None:
        while self.pending:
            key, xsd_type = self.pending.pop()
            self.types[key] = self.simple(key, xsd_type) if xsd_type.is_simple() else self.complex(key, xsd_type)

    def simple(self, key: str, t: Any) -> c.SimpleType:
        base = _base(t)
        builtin, step = "anySimpleType", t
        while step is not None:
            if step.name and c.namespace(step.name) == c.XS:
                builtin = c.local(step.name)
                break
            step = _base(step)
        variety: Literal["atomic", "list", "union"] = "atomic"
        if t.is_union():  # first: a union of lists says that it is a list, too
            variety = "union"
        elif t.is_list():
            variety = "list"
        item: str | None = None
        members: tuple[str, ...] = ()
        source = t
        if variety == "list":
            while getattr(source, "item_type", None) is None:
                source = _base(source)
            item = self.key(source.item_type, f"{key}/item")
        elif variety == "union":
            while getattr(source, "member_types", None) is None:
                source = _base(source)
            # Those that memberTypes names come first (part 2, 4.1.2); xmlschema has them last.
            ordered = sorted(source.member_types, key=lambda m: m.name is None)
            members = tuple(self.key(m, f"{key}/member{i}") for i, m in enumerate(ordered, 1))
        primitive = ""
        if variety == "atomic" and builtin not in ("anySimpleType", "anyAtomicType"):
            primitive = c.local(t.primitive_type.name) if t.primitive_type is not None else ""
        return c.SimpleType(
            key=key,
            name=t.name,
            variety=variety,
            base=self.key(base, f"{key}/base") if base is not None and base.is_simple() else None,
            builtin=builtin,
            primitive=primitive,
            facets=self.facets(t),
            item=item,
            members=members,
            documentation=_documentation(t),
        )

    def facets(self, t: Any) -> c.Facets:
        found: dict[str, Any] = {}
        patterns: list[tuple[str, ...]] = []
        step = t
        while step is not None:
            for name, facet in (step.facets if isinstance(step.facets, dict) else {}).items():
                if name is None:
                    continue
                what = c.local(name)
                if what == "pattern":
                    patterns.append(tuple(str(p.attrib["value"]) for p in facet))
                elif what == "enumeration":
                    found.setdefault(what, tuple(str(e.attrib["value"]) for e in facet))
                elif getattr(facet, "elem", None) is not None:
                    found.setdefault(what, facet.elem.attrib.get("value"))
            step = _base(step) if step.base_type is not step else None
        number = {k: int(v) for k, v in found.items() if "ength" in k or "Digits" in k}
        white = getattr(t, "white_space", None)
        return c.Facets(
            length=number.get("length"),
            min_length=number.get("minLength"),
            max_length=number.get("maxLength"),
            patterns=tuple(dict.fromkeys(patterns)),
            enumeration=found.get("enumeration"),
            white_space=white if white in ("preserve", "replace") else "collapse" if white else "preserve",
            min_inclusive=found.get("minInclusive"),
            min_exclusive=found.get("minExclusive"),
            max_inclusive=found.get("maxInclusive"),
            max_exclusive=found.get("maxExclusive"),
            total_digits=number.get("totalDigits"),
            fraction_digits=number.get("fractionDigits"),
        )

    def complex(self, key: str, t: Any) -> c.ComplexType:
        attributes = []
        any_attribute = None
        for name, attribute in t.attributes.items():
            if name is None:
                any_attribute = self.wildcard(attribute)
            elif attribute.use != "prohibited":
                attributes.append(self.attribute(attribute, key))
        content: str | c.GroupParticle | None = None
        if t.has_simple_content():
            content = self.key(t.content, f"{key}/value")
        elif isinstance(t.content, XsdGroup) and (len(t.content) or t.mixed):
            content = self.group(t.content, key)
        base = t.base_type
        return c.ComplexType(
            key=key,
            name=t.name,
            base=self.key(base, f"{key}/base") if base is not None and base is not t else None,
            derivation=t.derivation or "",
            abstract=bool(t.abstract),
            mixed=bool(t.mixed) and not t.has_simple_content(),
            content=content,
            attributes=tuple(attributes),
            any_attribute=any_attribute,
            block=tuple((t.block or "").split()),
            documentation=_documentation(t),
        )

    def attribute(self, a: Any, key: str) -> c.Attribute:
        return c.Attribute(
            name=a.name,
            type=self.key(a.type, f"{key}/@{c.local(a.name)}"),
            required=a.use == "required",
            default=a.default,
            fixed=a.fixed,
            documentation=_documentation(a),
        )

    # --- content models ------------------------------------------------------------------------------------------

    def wildcard(self, w: Any) -> c.Wildcard:
        names = set(w.namespace)
        negated: tuple[str, ...] = ()
        if "##other" in names:
            negated = ("", str(w.target_namespace))
        if w.not_namespace:
            negated = tuple(sorted({"", *map(str, w.not_namespace)}))
        return c.Wildcard(
            any_namespace="##any" in names,
            namespaces=tuple(sorted(n for n in names if not n.startswith("##"))),
            negated=tuple(dict.fromkeys(negated)),
            process=w.process_contents,
        )

    def group(self, g: Any, key: str) -> c.GroupParticle:
        particles: list[c.Particle] = []
        for item in g.content:
            if item.max_occurs == 0:
                continue
            if isinstance(item, XsdGroup):
                if len(item):
                    particles.append(self.group(item, key))
            elif isinstance(item, XsdAnyElement):
                particles.append(c.AnyParticle(self.wildcard(item), item.min_occurs, item.max_occurs))
            else:
                particles.append(self.element(item, key))
        return c.GroupParticle(cast(_Kind, g.model), tuple(particles), g.min_occurs, g.max_occurs)

    def element(self, e: Any, key: str) -> c.ElementParticle:
        declaration = e.ref if e.ref is not None else e
        is_global = e.ref is not None
        if is_global:
            self.referenced.add(e.name)
            hint = f"{e.name}/type"
        else:
            hint = f"{key}/{e.name}"
            self.identities(e)
        return c.ElementParticle(
            name=e.name,
            type=self.key(declaration.type, hint),
            min=e.min_occurs,
            max=e.max_occurs,
            nillable=bool(declaration.nillable),
            abstract=bool(declaration.abstract),
            default=declaration.default,
            fixed=declaration.fixed,
            is_global=is_global,
            substitutes=self.substitutes.get(e.name, ()) if is_global else (),
            documentation=_documentation(e) or _documentation(declaration),
        )

    def identities(self, e: Any) -> None:
        for identity in e.identities:
            if identity.selector is not None:
                kind = cast(Literal["unique", "key", "keyref"], c.local(identity.elem.tag))
                fields = tuple(f.path for f in identity.fields)
                refer = identity.elem.attrib.get("refer")
                constraint = c.Constraint(kind, identity.name, e.name, identity.selector.path, fields, refer)
                self.constraints.append(constraint)

    # --- the whole -----------------------------------------------------------------------------------------------

    def globals(self, what: str) -> Iterator[Any]:
        for component in getattr(self.maps, what).values():
            if c.namespace(component.name) not in (c.XS, c.XSI):
                yield component

    def components(self) -> c.Components:
        heads: dict[str, list[str]] = {}
        for e in self.globals("elements"):
            if e.substitution_group:
                heads.setdefault(e.substitution_group, []).append(e.name)
        for head, direct in heads.items():
            names: list[str] = []
            queue = list(direct)
            while queue:
                name = queue.pop(0)
                if name not in names:
                    names.append(name)
                    queue += heads.get(name, [])
            self.substitutes[head] = tuple(names)
        for t in self.globals("types"):
            self.key(t, t.name)
        declared = list(self.globals("elements"))
        for e in declared:
            self.key(e.type, f"{e.name}/type")
            self.identities(e)
        attributes = {a.name: self.attribute(a, "@") for a in self.globals("attributes")}
        self.drain()
        target = str(self.schema.target_namespace or "")
        elements = {
            e.name: c.ElementDeclaration(
                name=e.name,
                type=self.key(e.type, f"{e.name}/type"),
                nillable=bool(e.nillable),
                abstract=bool(e.abstract),
                default=e.default,
                fixed=e.fixed,
                head=e.substitution_group,
                main=c.namespace(e.name) == target,
                referenced=e.name in self.referenced,
                documentation=_documentation(e),
            )
            for e in sorted(declared, key=lambda e: e.name)
        }
        prefixes: dict[str, str] = {}
        for schema in self.maps.iter_schemas() if hasattr(self.maps, "iter_schemas") else [self.schema]:
            for prefix, uri in schema.namespaces.items():
                if prefix and uri and uri not in (c.XS, c.XSI):
                    prefixes.setdefault(uri, prefix)
        return c.Components(
            target_namespace=target,
            types=dict(sorted(self.types.items())),
            elements=elements,
            attributes=dict(sorted(attributes.items())),
            constraints=tuple(dict.fromkeys(self.constraints)),
            prefixes=dict(sorted(prefixes.items())),
            derived=self.derived(),
            documentation=_documentation(self.schema),
        )

    def derived(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for key, t in sorted(self.types.items()):
            if t.name and c.namespace(t.name) != c.XS and not (isinstance(t, c.ComplexType) and t.abstract):
                base = t.base
                while base is not None and base != c.ANY_TYPE:
                    found.setdefault(base, []).append(key)
                    parent = self.types.get(base)
                    base = parent.base if parent is not None else None
        return {key: tuple(keys) for key, keys in sorted(found.items())}


def read_components(schema: xmlschema.XMLSchema10, bundle: Bundle) -> c.Components:
    """Our component model of a schema that xmlschema has accepted."""
    return _Reader(schema, bundle).components()

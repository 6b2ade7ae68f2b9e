"""From components to shapes: which classes there are, which fields they have, and how content is laid out in them.

Every consumer (classes, XML readers and writers, JSON mappings, samples, explanations) works from the same ``Plan``.

The rules, chosen so that nothing of a document is lost and the common case is plain:

* one class for each complex type that can be reached from the roots, one *group class* for each group that repeats;
* one field for each particle. A group that does not repeat is laid flat into what contains it; one that repeats is a
  field with a list of group objects, which keeps the order among its elements;
* an element with a substitution group is a choice of its members;
* mixed content is one field, a list of texts and group objects with one element each;
* a wildcard's elements are ``AnyElement``; so are elements of type xs:anyType;
* absent is None (or an empty list). A *nillable* element says None for xsi:nil and UNSET for absent;
* a complex type that others derive from makes a *family*: fields of it are annotated with the union of its classes, and
  the writer says xsi:type.

By UPA (part 1, 3.8.6) a document's elements belong to particles in one way only, found from left to right without
looking ahead; that is why the readers may take the first particle that fits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from schema.codegen.convert import Conversion, Union, conversion, default_value
from schema.codegen.names import Scope, class_name, field_name
from schema.errors import Problem, SchemaError
from schema.model.components import (
    ANY_TYPE,
    AnyParticle,
    Attribute,
    ComplexType,
    Components,
    ElementParticle,
    GroupParticle,
    Particle,
    SimpleType,
    Wildcard,
    local,
    namespace,
)

__all__ = [
    "All",
    "Choice",
    "Class",
    "Field",
    "Leaf",
    "Node",
    "Plan",
    "Root",
    "Sequence_",
    "iter_leaves",
    "make_plan",
    "unions",
]

# What the module with the classes, and those of readers and writers, have other meanings for.
RESERVED = frozenset(
    {"AnyElement", "BOOLEANS", "Base64", "DECLARATIONS", "DEFAULT", "Date", "DateTime", "Decimal", "Duration",
     "ELEMENTS", "END", "Float", "GDay", "GMonth", "GMonthDay", "GYear", "GYearMonth", "Hex", "IDS", "Integer", "J",
     "LONG", "Many", "NIL", "Prefixes", "QName", "ROOTS", "SCHEMA", "Schema", "Struct", "TRUE", "Tables", "Time",
     "TypeAlias", "UNSET", "UnsetType", "Varied", "WRITE_BITS", "WRITE_BOOLEAN", "XSI"}
)  # fmt: skip
Kind = Literal["attribute", "any_attribute", "text", "element", "any", "group", "mixed"]


@dataclass(slots=True, eq=False)
class Field:
    """One attribute of a class.

    ``target`` is the class that its values have, for complex elements and groups; ``conversion`` is set for simple
    values. ``json`` is the member's name in the natural mapping.
    """

    name: str
    json: str
    kind: Kind
    xml: str = ""  # Clark name
    many: bool = False
    required: bool = False
    nillable: bool = False
    target: Class | None = None
    conversion: Conversion | None = None
    simple: str | None = None  # key of the simple type
    wildcard: Wildcard | None = None
    default: str | None = None  # lexical; also a fixed value
    default_value: str = ""  # the default as an expression
    fixed: bool = False
    any_type: bool = False  # xs:anyType
    min: int = 1
    max: int | None = 1
    documentation: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """Elements of one field: an element, a wildcard, or a group that repeats. ``min`` and ``max`` as in the schema."""

    field: Field
    min: int
    max: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Sequence_:  # noqa: N801 - "Sequence" is Python's
    """Nodes one after the other; ``optional``: or nothing."""

    nodes: tuple[Node, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """One of the nodes; ``optional``: or nothing."""

    nodes: tuple[Node, ...]
    optional: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class All:
    """All of the nodes in any order; ``optional``: or nothing."""

    nodes: tuple[Node, ...]
    optional: bool = False


Node: TypeAlias = Leaf | Sequence_ | Choice | All


@dataclass(slots=True, eq=False)
class Class:
    """One generated class. ``key`` is that of the complex type; ``group`` marks a group class."""

    name: str
    key: str
    number: int
    group: bool = False
    fields: list[Field] = field(default_factory=list)
    model: Node | None = None
    mixed: bool = False
    abstract: bool = False
    family: tuple[Class, ...] = ()  # the classes that may stand for it by xsi:type, itself included unless abstract
    tagged: bool = False  # belongs to a family that xsi:type chooses from
    polymorphic: bool = False  # others derive from it: what stands for it is found by xsi:type
    nil_field: Field | None = None  # "is nil", for types with attributes that nillable elements have
    documentation: str = ""

    def of(self, *kinds: Kind) -> list[Field]:
        """Its fields of these kinds."""
        return [f for f in self.fields if f.kind in kinds]


@dataclass(slots=True, eq=False)
class Root:
    """A global element that documents may start with."""

    xml: str
    name: str  # local name, unique among the roots as far as possible
    field: Field
    main: bool  # the one that is meant when none is named
    documentation: str = ""


@dataclass(slots=True, eq=False)
class Plan:
    """All classes, in the order of their definition, and all roots by Clark name."""

    components: Components
    classes: list[Class] = field(default_factory=list)
    roots: dict[str, Root] = field(default_factory=dict)
    by_key: dict[str, Class] = field(default_factory=dict)


def unions(plan: Plan) -> list[Union]:
    """All unions of several kinds, each after those that it needs."""
    fields = [f for c in plan.classes for f in c.fields] + [root.field for root in plan.roots.values()]
    found = (one for f in fields if f.conversion is not None for one in f.conversion.unions)
    return list({one.name: one for one in found}.values())


def iter_leaves(node: Node | None) -> Iterator[Leaf]:
    """The leaves of a model, in document order."""
    if isinstance(node, Leaf):
        yield node
    elif node is not None:
        for inner in node.nodes:
            yield from iter_leaves(inner)


def _many(maximum: int | None) -> bool:
    return maximum is None or maximum > 1


def _times(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a * b


class _Planner:
    def __init__(self, components: Components) -> None:
        self.components = components
        self.plan = Plan(components)
        self.class_names = Scope(RESERVED)
        self.pending: list[Class] = []

    # --- classes -------------------------------------------------------------------------------------------------

    def class_of(self, key: str) -> Class:
        """The class of a complex type, made on first use and filled later."""
        known = self.plan.by_key.get(key)
        if known is not None:
            return known
        t = self.components.types[key]
        assert isinstance(t, ComplexType)
        name = class_name(local(t.name)) if t.name else class_name(self.anonymous(key))
        made = Class(self.class_names.claim(name), key, len(self.plan.classes), documentation=t.documentation)
        made.abstract = t.abstract
        made.mixed = t.mixed
        self.plan.classes.append(made)
        self.plan.by_key[key] = made
        self.pending.append(made)
        return made

    @staticmethod
    def anonymous(key: str) -> str:
        steps = [local(step.strip("'")) for step in _split(key)]
        if steps[-1] == "type":  # of a global element
            return steps[-2]
        return steps[-1] if len(steps) < 3 else f"{steps[-2]}_{steps[-1]}"

    def group_class(self, owner: Class, kind: str) -> Class:
        made = Class(
            self.class_names.claim(f"{owner.name}{kind.capitalize()}"), owner.key, len(self.plan.classes), group=True
        )
        self.plan.classes.append(made)
        return made

    def fill(self, made: Class) -> None:
        t = self.components.types[made.key]
        assert isinstance(t, ComplexType)
        scope = Scope(frozenset({"nil"}))
        if isinstance(t.content, GroupParticle) or t.mixed:
            content = t.content if isinstance(t.content, GroupParticle) else None
            if t.mixed:
                self.mixed(made, scope, content)
            elif content is not None:
                made.model = self.top(made, scope, content)
        elif isinstance(t.content, str):
            text = Field(scope.claim("value"), "$", "text", required=True, simple=t.content)
            text.conversion = conversion(self.components, t.content)
            made.fields.append(text)
        attributes = [self.attribute(a, scope) for a in t.attributes]
        if t.any_attribute is not None:
            name = scope.claim("any_attributes")
            attributes.append(Field(name, "@*", "any_attribute", wildcard=t.any_attribute))
        made.fields[:0] = attributes
        _distinct_members(made)
        self.family(made)

    def family(self, made: Class) -> None:
        derived = self.components.derived.get(made.key, ())
        members = [] if made.abstract else [made]
        members += [self.class_of(key) for key in derived if isinstance(self.components.types[key], ComplexType)]
        made.family = tuple(members)
        if derived or made.abstract:
            made.polymorphic = True
            for member in members:
                member.tagged = True

    def attribute(self, a: Attribute, scope: Scope) -> Field:
        default = a.default if a.default is not None else a.fixed
        return Field(
            name=scope.claim(field_name(local(a.name))),
            json=f"@{local(a.name)}",
            kind="attribute",
            xml=a.name,
            required=a.required,
            conversion=conversion(self.components, a.type),
            simple=a.type,
            default=default,
            default_value=default_value(self.components, a.type, default) if default is not None else "",
            fixed=a.fixed is not None,
            documentation=a.documentation,
        )

    # --- content -------------------------------------------------------------------------------------------------

    def top(self, made: Class, scope: Scope, group: GroupParticle) -> Node | None:
        return self.node(made, scope, group, required=True)

    def node(self, made: Class, scope: Scope, particle: Particle, *, required: bool) -> Node | None:
        """Lays a particle into a class. ``required``: whatever contains it is always there."""
        if isinstance(particle, ElementParticle):
            return self.element(made, scope, particle, required=required)
        if isinstance(particle, AnyParticle):
            return self.wildcard(made, scope, particle, required=required)
        particles = [p for p in particle.particles if not (isinstance(p, GroupParticle) and not p.particles)]
        if not particles:
            return None
        if len(particles) == 1:
            only = particles[0]
            if isinstance(only, ElementParticle) and not (
                only.substitutes and (_many(only.max) or _many(particle.max))
            ):
                return self.node(made, scope, _multiplied(only, particle), required=required)
            if isinstance(only, AnyParticle):
                wild = AnyParticle(only.wildcard, only.min * particle.min, _times(only.max, particle.max))
                return self.node(made, scope, wild, required=required)
            if isinstance(only, GroupParticle) and (not _many(only.max) or not _many(particle.max)):
                minimum, maximum = only.min * particle.min, _times(only.max, particle.max)
                inner = GroupParticle(only.kind, only.particles, minimum, maximum)
                return self.node(made, scope, inner, required=required)
        if _many(particle.max):
            return self.repeated(
                made, scope, GroupParticle(particle.kind, tuple(particles), particle.min, particle.max)
            )
        optional = particle.min == 0
        inside = required and not optional
        if particle.kind == "choice":
            nodes = [self.node(made, scope, p, required=False) for p in particles]
            return Choice(tuple(n for n in nodes if n is not None), optional)
        nodes = [self.node(made, scope, p, required=inside) for p in particles]
        kept = tuple(n for n in nodes if n is not None)
        if particle.kind == "all":
            return All(kept, optional)
        return Sequence_(kept, optional)

    def repeated(self, made: Class, scope: Scope, group: GroupParticle) -> Leaf:
        inner = self.group_class(made, group.kind)
        single = GroupParticle(group.kind, group.particles)
        inner.model = self.node(inner, Scope(), single, required=True)
        _distinct_members(inner)
        name = scope.claim(group.kind)
        many = Field(name, name, "group", many=True, required=False, target=inner, min=group.min, max=group.max)
        made.fields.append(many)
        return Leaf(many, group.min, group.max)

    def element(self, made: Class, scope: Scope, e: ElementParticle, *, required: bool) -> Node | None:
        if e.substitutes:
            return self.substitutable(made, scope, e, required=required)
        made_field = self.element_field(scope, e, required=required)
        made.fields.append(made_field)
        return Leaf(made_field, e.min, e.max)

    def substitutable(self, made: Class, scope: Scope, e: ElementParticle, *, required: bool) -> Node | None:
        choices: list[ElementParticle] = []
        if not e.abstract:
            choices.append(ElementParticle(e.name, e.type, 1, 1, e.nillable, False, e.default, e.fixed, e.is_global))
        for name in e.substitutes:
            d = self.components.elements[name]
            if not d.abstract:
                choices.append(
                    ElementParticle(name, d.type, 1, 1, d.nillable, False, d.default, d.fixed, is_global=True)
                )
        if not choices:
            return None
        return self.node(made, scope, GroupParticle("choice", tuple(choices), e.min, e.max), required=required)

    def element_field(self, scope: Scope, e: ElementParticle, *, required: bool) -> Field:
        many = _many(e.max)
        name = scope.claim(field_name(local(e.name)))
        made = Field(
            name=name,
            json=local(e.name) + _suffix(name, field_name(local(e.name))),
            kind="element",
            xml=e.name,
            many=many,
            required=required and e.min > 0 and not many,
            nillable=e.nillable,
            default=e.default if e.default is not None else e.fixed,
            fixed=e.fixed is not None,
            min=e.min,
            max=e.max,
            documentation=e.documentation,
        )
        self.typed(made, e.type)
        return made

    def typed(self, made: Field, key: str) -> None:
        t = self.components.types[key]
        if key == ANY_TYPE:
            made.any_type = True
        elif isinstance(t, SimpleType):
            made.simple = key
            made.conversion = conversion(self.components, key)
            if made.default is not None:
                made.default_value = default_value(self.components, key, made.default)
        else:
            made.target = self.class_of(key)
            if made.nillable and (t.attributes or t.any_attribute) and made.target.nil_field is None:
                made.target.nil_field = Field("nil", "@xsi:nil", "attribute")

    def wildcard(self, made: Class, scope: Scope, p: AnyParticle, *, required: bool) -> Leaf:
        many = _many(p.max)
        name = scope.claim("any_element" if not many else "any_elements")
        required = required and p.min > 0 and not many
        made_field = Field(name, name, "any", many=many, required=required, wildcard=p.wildcard, min=p.min, max=p.max)
        made.fields.append(made_field)
        return Leaf(made_field, p.min, p.max)

    def mixed(self, made: Class, scope: Scope, content: GroupParticle | None) -> None:
        choices: dict[object, Particle] = {}
        for particle in _flat(content):
            if isinstance(particle, ElementParticle):
                one = ElementParticle(
                    particle.name, particle.type, 1, 1, particle.nillable, particle.abstract, particle.default,
                    particle.fixed, particle.is_global, particle.substitutes, particle.documentation,
                )  # fmt: skip
                choices.setdefault(particle.name, one)
            elif isinstance(particle, AnyParticle):
                choices.setdefault(particle.wildcard, AnyParticle(particle.wildcard))
        target = None
        if choices:
            target = self.group_class(made, "item")
            nodes = [self.node(target, inner, p, required=False) for inner in [Scope()] for p in choices.values()]
            target.model = Choice(tuple(n for n in nodes if n is not None))
            _distinct_members(target)
        made.fields.append(Field(scope.claim("content"), "$", "mixed", many=True, target=target))

    # --- the whole -----------------------------------------------------------------------------------------------

    def make(self, roots: Iterable[str] | None) -> Plan:
        elements = self.components.elements
        chosen = [e.name for e in elements.values() if e.main and not e.abstract] if roots is None else list(roots)
        if not chosen and roots is None:
            chosen = [e.name for e in elements.values() if not e.abstract]
        for name in chosen:
            if name not in elements:
                raise SchemaError([Problem("unknown-root", f"the schema declares no global element {name}")])
        names = Scope()
        main = self.main_root(chosen)
        for name in sorted(chosen, key=lambda n: (n != main, n)):
            d = elements[name]
            made = Field("root", local(name), "element", xml=name, required=True, nillable=d.nillable)
            made.default, made.fixed = (d.default if d.default is not None else d.fixed), d.fixed is not None
            self.typed(made, d.type)
            self.plan.roots[name] = Root(name, names.claim(local(name)), made, name == main, d.documentation)
        while self.pending:
            self.fill(self.pending.pop(0))
        return self.plan

    def main_root(self, chosen: Sequence[str]) -> str | None:
        if len(chosen) == 1:
            return chosen[0]
        free = [name for name in chosen if not self.components.elements[name].referenced]
        return free[0] if len(free) == 1 else None


def _distinct_members(made: Class) -> None:
    """JSON members of one object have different names, also where XML's differ by their namespaces only."""
    scope = Scope()
    for f in made.fields:
        f.json = scope.claim(f.json)


def _suffix(name: str, wanted: str) -> str:
    return name[len(wanted) :] if name != wanted else ""


def _split(key: str) -> list[str]:
    """The steps of a type's key; slashes inside of {namespaces} do not part."""
    steps, depth, step = [], 0, ""
    for character in key:
        depth += (character == "{") - (character == "}")
        if character == "/" and not depth:
            steps.append(step)
            step = ""
        else:
            step += character
    return [*steps, step]


def _multiplied(e: ElementParticle, by: GroupParticle) -> ElementParticle:
    return ElementParticle(
        e.name, e.type, e.min * by.min, _times(e.max, by.max), e.nillable, e.abstract, e.default, e.fixed, e.is_global,
        e.substitutes, e.documentation,
    )  # fmt: skip


def _flat(group: GroupParticle | None) -> Iterator[ElementParticle | AnyParticle]:
    for particle in group.particles if group is not None else ():
        if isinstance(particle, GroupParticle):
            yield from _flat(particle)
        else:
            yield particle


def make_plan(components: Components, roots: Iterable[str] | None = None) -> Plan:
    """The plan for the given roots (Clark names); by default all global elements of the main namespace."""
    return _Planner(components).make(roots)


def namespaces(plan: Plan) -> list[str]:
    """All namespaces of elements and attributes in the plan ("" for none), sorted."""
    names = {namespace(root) for root in plan.roots}
    for made in plan.classes:
        names.update(namespace(f.xml) for f in made.fields if f.kind == "element")
    return sorted(names)

"""A valid example document: everything that is required, and what is optional down to a few levels.

Values come from the facets: an enumeration's first value, a bound, a text of the right length, a text made along the
pattern. The document is judged like any other before it is shown; where a value cannot be made up that way (a pattern
that takes back what another one allows, a key that refers to another), the fault is said, and nothing is shown.
"""

from __future__ import annotations

import re
import warnings
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

from schema.codegen.plan import Choice, Class, Field, Leaf, Node, Plan
from schema.model.components import XS, SimpleType
from schema.values import AnyElement, QName

__all__ = ["make"]

_TEXTS = {
    "boolean": "true", "float": "1.5", "double": "1.5", "date": "2026-01-31", "time": "12:00:00",
    "dateTime": "2026-01-31T12:00:00Z", "duration": "P1D", "gYear": "2026", "gYearMonth": "2026-01", "gMonth": "--01",
    "gMonthDay": "--01-31", "gDay": "---31", "hexBinary": "00FF", "base64Binary": "AAEC", "anyURI": "urn:example",
    "QName": "example", "language": "en", "NOTATION": "example",
}  # fmt: skip


def _along(pattern: str) -> str:
    """A text that matches a pattern, as far as Python's syntax for it is XML Schema's."""
    for ours, theirs in ((r"\i", "[A-Za-z_]"), (r"\c", "[A-Za-z0-9]"), (r"\p{L}", "[A-Za-z]"), (r"\p{Lu}", "[A-Z]")):
        pattern = pattern.replace(ours, theirs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # "possible nested set": subtraction, to XML Schema
        return "".join(_piece(item) for item in _parser.parse(pattern))


def _piece(item: Any) -> str:
    kind, value = item
    if kind is _constants.LITERAL:
        return chr(value)
    if kind is _constants.ANY:
        return "x"
    if kind is _constants.NOT_LITERAL:
        return "y" if value == ord("x") else "x"
    if kind is _constants.IN:
        return _one_of(value)
    if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
        low, high, inner = value
        return "".join(_piece(i) for i in inner) * (max(low, 1) if high else 0)
    if kind is _constants.SUBPATTERN:
        return "".join(_piece(i) for i in value[-1])
    if kind is _constants.BRANCH:
        return "".join(_piece(i) for i in value[1][0])
    return ""


def _one_of(items: Any) -> str:
    if items[0][0] is _constants.NEGATE:
        return next(c for c in "xA0 -" if not any(_fits(item, c) for item in items[1:]))
    kind, value = items[0]
    if kind is _constants.LITERAL:
        return chr(value)
    if kind is _constants.RANGE:
        return chr(value[0])
    return {_constants.CATEGORY_DIGIT: "1", _constants.CATEGORY_SPACE: " "}.get(value, "x")


def _fits(item: Any, character: str) -> bool:
    kind, value = item
    if kind is _constants.LITERAL:
        return bool(chr(value) == character)
    if kind is _constants.RANGE:
        return bool(value[0] <= ord(character) <= value[1])
    return bool(value is _constants.CATEGORY_DIGIT and character.isdigit())


class _Sampler:
    def __init__(self, plan: Plan, classes: Any, reader: Any, optional: int) -> None:
        self.plan = plan
        self.classes = classes
        self.reader = reader  # from a field and a text to a value
        self.optional = optional
        self.number = 0

    def text(self, key: str) -> str:
        t = self.plan.components.types[key]
        assert isinstance(t, SimpleType)
        f = t.facets
        if f.enumeration:
            return f.enumeration[0]
        if t.variety == "list":
            assert t.item is not None
            return " ".join([self.text(t.item)] * max(1, f.length or f.min_length or 1))
        if t.variety == "union":
            return self.text(t.members[0])
        builtin = self.plan.components.types.get(f"{{{XS}}}{t.builtin}")
        given = builtin.facets.patterns if isinstance(builtin, SimpleType) else ()
        if own := [step for step in f.patterns if step not in given]:
            return _along(own[0][0])
        if t.primitive == "decimal":
            return self.decimal(t)
        for bound in (f.min_inclusive, f.max_inclusive):
            if bound is not None:
                return bound
        if t.builtin in ("ID", "IDREF", "IDREFS", "ENTITY", "NCName", "Name", "NMTOKEN"):
            self.number += t.builtin == "ID"
            return f"id{max(1, self.number)}"
        text = _TEXTS.get(t.builtin) or _TEXTS.get(t.primitive) or "text"
        if t.primitive == "string":
            least, most = f.length or f.min_length or 0, f.length if f.length is not None else f.max_length
            text = text.ljust(least, "x")[:most]
        return text

    @staticmethod
    def decimal(t: SimpleType) -> str:
        f = t.facets
        step = 1
        if f.min_inclusive is not None:
            return f.min_inclusive
        if f.min_exclusive is not None:
            return str(int(float(f.min_exclusive)) + step)
        if f.max_inclusive is not None:
            return f.max_inclusive
        if f.max_exclusive is not None:
            return str(int(float(f.max_exclusive)) - step)
        return "-1" if t.builtin in ("negativeInteger", "nonPositiveInteger") else "1"

    def value(self, f: Field, above: tuple[Class, ...]) -> Any:
        if f.kind == "any" or f.any_type:
            uri = next((n for n in f.wildcard.namespaces if n), "urn:example") if f.wildcard else ""
            return AnyElement(f"{{{uri}}}example" if uri else "example", {}, ["text"])
        if f.target is not None:
            return self.instance(next(iter(f.target.family), f.target), above)
        assert f.simple is not None
        return self.reader(f, f.default if f.default is not None else self.text(f.simple))

    def instance(self, c: Class, above: tuple[Class, ...]) -> Any:
        given: dict[str, Any] = {}
        deep = len(above) >= self.optional or c in above
        for f in c.fields:
            if f.kind == "text" or (f.kind == "attribute" and f.required):
                given[f.name] = self.value(f, (*above, c))
            elif f.kind == "mixed":
                given[f.name] = ["text"]
        if c.model is not None:
            self.fill(c.model, given, (*above, c), deep=deep)
        return self.classes[c.name](**given)

    def fill(self, node: Node, given: dict[str, Any], above: tuple[Class, ...], *, deep: bool) -> None:
        if isinstance(node, Leaf):
            self.leaf(node, given, above, deep=deep)
            return
        if node.optional and deep:
            return
        if isinstance(node, Choice):
            nodes = sorted(node.nodes, key=lambda n: isinstance(n, Leaf) and n.field.target in above)
            self.fill(nodes[0], given, above, deep=deep)
            return
        for inner in node.nodes:
            self.fill(inner, given, above, deep=deep)

    def leaf(self, leaf: Leaf, given: dict[str, Any], above: tuple[Class, ...], *, deep: bool) -> None:
        f = leaf.field
        skip = deep or f.kind == "any" or f.target in above
        if leaf.min == 0 and skip:
            return
        if f.kind == "group":
            assert f.target is not None
            group: dict[str, Any] = {}
            if f.target.model is not None:
                self.fill(f.target.model, group, above, deep=deep)
            given[f.name] = [self.classes[f.target.name](**group) for _ in range(max(1, leaf.min))]
        elif f.many:
            given[f.name] = [self.value(f, above) for _ in range(max(1, leaf.min))]
        else:
            given[f.name] = self.value(f, above)


def make(plan: Plan, classes: Any, root: str, *, optional: int = 3) -> Any:
    """An object for a root element (Clark name), not judged yet; optional content down to ``optional`` levels."""
    from schema.runtime import reading

    def read(f: Field, text: str) -> Any:
        assert f.conversion is not None
        if f.conversion.context:
            return QName("", text)
        scope = {**vars(reading), "text": text}
        for union in f.conversion.unions:
            exec(union.source(), scope)
        return eval(f.conversion.read.replace("{}", "text"), scope)

    try:
        return _Sampler(plan, classes, read, optional).value(plan.roots[root].field, ())
    except (re.error, StopIteration) as error:
        raise ValueError(f"a pattern is beyond the means of this: {error}") from None

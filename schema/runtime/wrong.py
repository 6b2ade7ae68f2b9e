"""Where an object holds a value of another kind than its class says, or what cannot be said in XML: asked when a writer
has failed, or has written what is no XML.

Writers do not look before they write, since that would cost as much as writing; they raise whatever comes of it. Then
the object is gone through here, field by field, with the very expressions that the writers are made of.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from schema.codegen.classes import value_annotation
from schema.codegen.plan import Choice, Class, Field, Leaf, Plan
from schema.errors import Problem
from schema.runtime import writing
from schema.values import AnyElement

__all__ = ["find_wrong"]


# What is no Char of XML 1.0 (2.2); surrogates alone can be in a str, but in no document.
_NO_CHARACTER = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@functools.cache
def _compiled(expression: str) -> Any:
    return compile(expression.replace("{}", "x"), "<writer>", "eval")


class _Search:
    def __init__(self, plan: Plan, classes: Mapping[str, Any]) -> None:
        self.plan = plan
        self.classes = classes

    def one(self, f: Field, value: Any, path: str) -> Iterator[Problem]:
        """A value of a field, one of several where there may be."""
        if value is None and f.nillable:
            return
        if f.kind == "any" or f.any_type:
            if not isinstance(value, AnyElement):
                yield _expected("AnyElement", value, path)
            else:
                yield from self.any(value, path)
        elif f.target is not None:
            family = [f.target] if f.kind in ("group", "mixed") else f.target.family
            found = next((c for c in family if type(value) is self.classes.get(c.name)), None)
            if found is None:
                yield _expected(" or ".join(c.name for c in family), value, path)
            else:
                yield from self.object(found, value, path)
        else:
            yield from self.simple(f, value, path)

    @staticmethod
    def simple(f: Field, value: Any, path: str) -> Iterator[Problem]:
        assert f.conversion is not None
        try:
            text = eval(_compiled(f.conversion.write), {**vars(writing), "x": value, "Q": writing.Prefixes()})
        except ValueError as error:
            yield Problem("wrong-type", str(error), path)
        except (AttributeError, KeyError, TypeError):
            yield _expected(value_annotation(f), value, path)
        else:
            if not isinstance(text, str):
                yield _expected(value_annotation(f), value, path)
            else:
                yield from _unsayable(text, path)

    def any(self, element: AnyElement, path: str) -> Iterator[Problem]:
        for text in (*element.attributes.values(), *element.content):
            if isinstance(text, AnyElement):
                yield from self.any(text, path)
            elif isinstance(text, str):
                yield from _unsayable(text, path)

    def object(self, c: Class, value: Any, path: str) -> Iterator[Problem]:
        nil = c.nil_field is not None and bool(getattr(value, "nil", False))
        for f in c.fields:
            if nil and f.kind in ("element", "text", "any", "group", "mixed"):
                continue
            inner = getattr(value, f.name, None)
            at = f"{path}.{f.json}" if path else f.json
            if f.kind == "any_attribute":
                if not isinstance(inner, dict) or not all(isinstance(x, str) for pair in inner.items() for x in pair):
                    yield _expected("dict[str, str]", inner, at)
                else:
                    for text in inner.values():
                        yield from _unsayable(text, at)
            elif f.many:
                yield from self.list(f, inner, at)
            elif inner is msgspec.UNSET or (inner is None and not f.nillable):
                if f.required:
                    yield _expected(value_annotation(f), inner, at)
            else:
                yield from self.one(f, inner, at)
        if c.group and isinstance(c.model, Choice):
            yield from self.exclusive(c.model, value, path)

    def list(self, f: Field, value: Any, path: str) -> Iterator[Problem]:
        if not isinstance(value, list | tuple):
            yield _expected("list", value, path)
            return
        for number, one in enumerate(value):
            if f.kind != "mixed" or not isinstance(one, str):
                yield from self.one(f, one, f"{path}[{number}]")
            else:
                yield from _unsayable(one, f"{path}[{number}]")

    @staticmethod
    def exclusive(model: Choice, value: Any, path: str) -> Iterator[Problem]:
        leaves = [node for node in model.nodes if isinstance(node, Leaf) and not node.field.many]
        if len(leaves) < len(model.nodes):
            return
        absent = [msgspec.UNSET if leaf.field.nillable else None for leaf in leaves]
        given = [leaf for leaf, none in zip(leaves, absent, strict=True) if getattr(value, leaf.field.name) is not none]
        if len(given) != 1:
            names = ", ".join(leaf.field.name for leaf in leaves)
            yield Problem("wrong-type", f"exactly one of {names} is expected, there are {len(given)}", path)


def _unsayable(text: str, path: str) -> Iterator[Problem]:
    found = _NO_CHARACTER.search(text)
    if found:
        message = f"U+{ord(found[0]):04X} cannot be in an XML document, however it is written"
        yield Problem("xml-not-well-formed", message, path, value=ascii(text)[1:-1][:80])


def _expected(kind: str, value: Any, path: str) -> Problem:
    text = repr(value)
    return Problem("wrong-type", f"Expected `{kind}`, got `{type(value).__name__}`", path, value=text[:80])


def find_wrong(plan: Plan, classes: Mapping[str, Any], xml: str, value: Any, limit: int) -> tuple[list[Problem], int]:
    """Every value of a wrong kind in an object of the root ``xml``, up to ``limit``, and how many there are beyond."""
    found: list[Problem] = []
    more = 0
    for problem in _Search(plan, classes).one(plan.roots[xml].field, value, ""):
        if len(found) < limit:
            found.append(problem)
        else:
            more += 1
    return found, more

"""A schema as a tree that people can read: what may stand in what, how often, of which type."""

from __future__ import annotations

from collections.abc import Iterator

from schema.codegen.classes import value_annotation
from schema.codegen.plan import All, Choice, Class, Field, Leaf, Node, Plan
from schema.model.components import Facets, SimpleType, local

__all__ = ["explain"]


def _occurs(minimum: int, maximum: int | None) -> str:
    if (minimum, maximum) == (1, 1):
        return ""
    if (minimum, maximum) == (0, 1):
        return "?"
    if maximum is None:
        return {0: "*", 1: "+"}.get(minimum, f"{{{minimum},}}")
    return f"{{{minimum},{maximum}}}"


def _facets(f: Facets) -> str:
    parts = []
    if f.enumeration:
        shown = " | ".join(f.enumeration[:6])
        parts.append(shown + (f" | ... ({len(f.enumeration)} values)" if len(f.enumeration) > 6 else ""))
    parts += [f"/{' | '.join(step)}/" for step in f.patterns]
    for sign, bound in (
        (">=", f.min_inclusive),
        (">", f.min_exclusive),
        ("<=", f.max_inclusive),
        ("<", f.max_exclusive),
    ):
        if bound is not None:
            parts.append(f"{sign} {bound}")
    if f.length is not None:
        parts.append(f"length {f.length}")
    elif f.min_length or f.max_length is not None:
        parts.append(f"length {f.min_length or 0}..{'' if f.max_length is None else f.max_length}")
    if f.total_digits is not None or f.fraction_digits is not None:
        parts.append(f"digits {f.total_digits or ''}.{'' if f.fraction_digits is None else f.fraction_digits}")
    return ", ".join(parts)


class _Explainer:
    def __init__(self, plan: Plan, depth: int) -> None:
        self.plan = plan
        self.depth = depth

    def type_of(self, f: Field) -> str:
        if f.simple is None:
            return value_annotation(f)
        t = self.plan.components.types[f.simple]
        assert isinstance(t, SimpleType)
        name = local(t.name) if t.name else t.builtin
        facets = _facets(t.facets) if t.name is None or t.builtin != name else ""
        return name + (f" ({facets})" if facets else "")

    def line(self, f: Field, occurs: str) -> str:
        name = {"attribute": f"@{local(f.xml)}", "text": "(text)", "any": "(any element)", "mixed": "(mixed)"}.get(
            f.kind, local(f.xml)
        )
        if f.kind == "any_attribute":
            return "@* (any attribute)"
        text = f"{name}{occurs}: {self.type_of(f)}" if f.kind not in ("any", "mixed") else name + occurs
        if f.nillable:
            text += ", may be nil"
        if f.default is not None:
            text += f", {'always' if f.fixed else 'by default'} {f.default!r}"
        return text

    def of_class(self, c: Class, indent: str, above: tuple[Class, ...]) -> Iterator[str]:
        if len(above) >= self.depth:
            yield f"{indent}..."
            return
        for f in c.fields:
            if f.kind in ("attribute", "any_attribute", "text"):
                yield indent + self.line(f, "" if f.required else "?")
            elif f.kind == "mixed":
                yield indent + self.line(f, "")
                if f.target is not None and f.target.model is not None:
                    yield from self.of_model(f.target.model, indent + "  ", (*above, c))
        if c.model is not None:
            yield from self.of_model(c.model, indent, (*above, c))

    def of_model(self, node: Node, indent: str, above: tuple[Class, ...]) -> Iterator[str]:
        if isinstance(node, Leaf):
            yield from self.of_leaf(node, indent, above)
            return
        if isinstance(node, Choice | All):
            word = "one of" if isinstance(node, Choice) else "in any order"
            yield f"{indent}{word}{'?' if node.optional else ''}"
            indent += "  "
        elif node.optional:
            yield f"{indent}together?"
            indent += "  "
        for inner in node.nodes:
            yield from self.of_model(inner, indent, above)

    def of_leaf(self, leaf: Leaf, indent: str, above: tuple[Class, ...]) -> Iterator[str]:
        f, occurs = leaf.field, _occurs(leaf.min, leaf.max)
        if f.kind == "group":
            assert f.target is not None
            yield f"{indent}group{occurs}"
            if f.target.model is not None:
                yield from self.of_model(f.target.model, indent + "  ", above)
            return
        yield indent + self.line(f, occurs)
        if f.target is not None:
            if f.target in above:
                yield f"{indent}  (as above)"
            else:
                yield from self.of_class(f.target, indent + "  ", above)


def explain(plan: Plan, root: str, *, depth: int = 6) -> str:
    """The tree below a root element (Clark name), down to ``depth`` levels of types."""
    explainer = _Explainer(plan, depth)
    f = plan.roots[root].field
    lines = [explainer.line(f, "")]
    if f.target is not None:
        lines += explainer.of_class(f.target, "  ", ())
    return "\n".join(lines) + "\n"

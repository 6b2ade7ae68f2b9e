"""Which elements and attributes of a plan are IDs, and which refer to IDs: the ``Tables`` of ``schema.runtime.ids``."""

from __future__ import annotations

from schema.codegen.plan import Class, Field, Plan
from schema.model.components import Components, SimpleType

__all__ = ["tables"]


def _kind(components: Components, key: str | None) -> str:
    """ID, IDREF (or a list of them), or ""."""
    t = components.types.get(key) if key else None
    if not isinstance(t, SimpleType):
        return ""
    if t.variety == "list":
        return _kind(components, t.item)
    return t.builtin if t.builtin in ("ID", "IDREF") else ""


def _uses(plan: Plan) -> dict[str, list[Class | Field]]:
    """What the elements of each name may be: classes, or fields of simple types."""
    found: dict[str, list[Class | Field]] = {}
    for f in [*(f for c in plan.classes for f in c.fields), *(root.field for root in plan.roots.values())]:
        if f.kind == "element" and not f.any_type:
            found.setdefault(f.xml, []).extend(f.target.family if f.target is not None else [f])
    return found


def _names(components: Components, use: Class | Field) -> dict[str, tuple[str, str]]:
    """The attributes, and "" for the text, with their kinds and defaults."""
    if isinstance(use, Field):
        return {"": (_kind(components, use.simple), use.default or "")}
    return {
        f.xml if f.kind == "attribute" else "": (_kind(components, f.simple), f.default or "")
        for f in use.of("attribute", "text")
    }


Table = dict[str, tuple[tuple[str, str], ...]]


def tables(plan: Plan) -> tuple[Table, Table] | None:
    """IDs and references; None where libxml2 sees to everything.

    An element's name may mean several types. What may be an ID is taken for one, what may be no reference is not: so
    nothing that is valid is refused.
    """
    ids: Table = {}
    references: Table = {}
    for tag, uses in _uses(plan).items():
        kinds = [_names(plan.components, use) for use in uses]
        known = [(name, one[name]) for one in kinds for name in one]
        own = tuple(dict.fromkeys((name, "") for name, (kind, _) in known if kind == "ID"))
        if own:
            ids[tag] = own
        doubtful = {name for name, (kind, _) in known if kind != "IDREF"}
        defaults = {name: default for name, (_, default) in known if name not in doubtful}
        if defaults:
            references[tag] = tuple(defaults.items())
    return (ids, references) if references or any(("", "") in names for names in ids.values()) else None

"""Rows for the readers in C (``schema/runtime/_walker.pyx``), for the classes that these can read.

They go into the same module as the generated readers: where there is no C, or it fits neither the class nor the lxml
at hand, these do it all. A row is (class, whether it may be nil, attributes, the field for all others, text, elements):

* attribute: (name, field, conversion); text: (field, conversion, default); a conversion is a function, None: as it is;
* element: (name, field, whether there may be several, how, function for nil ones or None). How: (conversion, default),
  or the name of the reader, or a function from the element.
"""

from __future__ import annotations

from collections.abc import Callable

from schema.codegen.plan import Class, Field, Plan
from schema.codegen.source import Source

__all__ = ["emit"]


class _Rows:
    def __init__(self, element_value: Callable[[Field, str], str]) -> None:
        self.element_value = element_value
        self.functions: dict[str, str] = {}

    def function(self, expression: str, argument: str) -> str:
        """The name of a function with this body; of those that look alike there is only one."""
        return self.functions.setdefault(f"lambda {argument}: {expression}", f"x{len(self.functions)}")

    def conversion(self, f: Field) -> str | None:
        """A function from text, as source; None: it needs the element, too."""
        assert f.conversion is not None
        read = f.conversion.read
        if f.conversion.context:
            return None
        if read == "{}":
            return "None"
        if read == "BOOLEANS[{}]":
            return "BOOLEANS"
        if read.endswith("({})") and all(part.isidentifier() for part in read[:-4].split(".")):
            return read[:-4]
        return self.function(read.replace("{}", "x"), "x")

    def row(self, c: Class, leaves: list[Field] | None) -> str | None:
        """The row of a class; None: not for C."""
        attributes, text = [], "None"
        for f in c.of("attribute"):
            conversion = self.conversion(f)
            if conversion is None:
                return None
            attributes.append(f"({f.xml!r}, {f.name!r}, {conversion})")
        others = [f.name for f in c.of("any_attribute")]
        if c.of("mixed") or (leaves is None and c.model is not None):
            return None
        for f in c.of("text"):
            conversion = self.conversion(f)
            if conversion is None:
                return None
            text = f"({f.name!r}, {conversion}, {f.default!r})"
        elements = [self.element(f) for f in leaves or ()]
        other = repr(others[0]) if others else "None"
        return f"({c.name}, {c.nil_field is not None}, {_tuple(attributes)}, {other}, {text}, {_tuple(elements)})"

    def element(self, f: Field) -> str:
        conversion = self.conversion(f) if f.conversion is not None and not f.any_type else None
        if f.target is not None:
            how = repr(f"{'p' if f.target.polymorphic else 'r'}{f.target.number}")
        elif conversion is not None:
            how = f"({conversion}, {f.default!r})"
        else:
            how = self.function(self.element_value(f, "c"), "c")
        nil = self.function(self.element_value(f, "c"), "c") if f.nillable else "None"
        return f"({f.xml!r}, {f.name!r}, {f.many}, {how}, {nil})"


def _tuple(items: list[str]) -> str:
    return f"({', '.join(items)}{',' if len(items) == 1 else ''})"


def emit(
    plan: Plan,
    source: Source,
    simple_leaves: Callable[[Class], list[Field] | None],
    element_value: Callable[[Field, str], str],
    *,
    paced: bool,
) -> None:
    """Puts the rows into a module of readers, behind these. ``simple_leaves``: the fields of a class's elements if they
    have distinct names and stand alone; ``element_value``: the expression for the value of the element in a variable.
    """
    rows = _Rows(element_value)
    found = [
        (c.number, row)
        for c in plan.classes
        if not c.group and not c.abstract and (row := rows.row(c, simple_leaves(c))) is not None
    ]
    for function, name in rows.functions.items():
        source.line(f"{name} = {function}")
    source.line("accelerate(globals(), " + repr(paced) + ", {")
    for number, row in found:
        source.line(f"{number}: {row},")
    source.line("})")

"""Writers: from objects to XML text, which libxml2 will judge before it leaves.

One function ``w<number>`` for each class. It returns what stands between ``<name`` and ``</name>``, so that whoever
has the element's name writes it; group classes return whole elements. All constant text is merged into f-strings.
Every value is either escaped or goes through a function that can only return harmless text; a value of a wrong type
raises.
"""

from __future__ import annotations

from collections.abc import Mapping

from schema.codegen.plan import All, Choice, Class, Field, Leaf, Node, Plan, Sequence_, namespaces
from schema.codegen.source import Source
from schema.model.components import XSI, local, namespace
from schema.runtime.writing import esc_attribute

__all__ = ["Names", "emit", "emit_paced"]

_HEAD = "from schema.runtime.writing import *\n"
_XML = "http://www.w3.org/XML/1998/namespace"


class Names:
    """Prefixes for the document: the main namespace has none when every element is in a namespace and no QName is a
    value.
    """

    def __init__(self, plan: Plan) -> None:
        components = plan.components
        used = namespaces(plan)
        attributes = {namespace(f.xml) for c in plan.classes for f in c.of("attribute")}
        fields = [f for c in plan.classes for f in c.fields] + [root.field for root in plan.roots.values()]
        plain = "" not in used and not any(f.conversion is not None and f.conversion.context for f in fields)
        self.default = components.target_namespace if plain else ""
        self.constants: dict[str, str] = {}
        self.values: dict[str, str] = {}
        self.prefixes: dict[str, str] = {_XML: "xml", XSI: "xsi"}
        taken = {"xml", "xsi", "xmlns", "t"}
        for uri in [components.target_namespace, *used, *sorted(attributes)]:
            if not uri or uri in self.prefixes:
                continue
            wanted = components.prefixes.get(uri, "")
            if not wanted or wanted in taken or wanted[0] in "q_" or not wanted.isidentifier():
                wanted = next(name for n in range(1, 10_000) if (name := f"ns{n}") not in taken)
            taken.add(wanted)
            self.prefixes[uri] = wanted

    def constant(self, text: str) -> str:
        """The name of a global with this text: inside of an f-string there could be no quotes in it."""
        return self.constants.setdefault(text, f"k{len(self.constants)}")

    def value(self, expression: str) -> str:
        """The name of a global with this value."""
        return self.values.setdefault(expression, f"d{len(self.values)}")

    def element(self, name: str) -> str:
        """The tag for a Clark name."""
        uri = namespace(name)
        return local(name) if not uri or uri == self.default else f"{self.prefixes[uri]}:{local(name)}"

    def attribute(self, name: str) -> str:
        """The name of an attribute."""
        uri = namespace(name)
        return f"{self.prefixes[uri]}:{local(name)}" if uri else local(name)

    def declarations(self) -> Mapping[str, str]:
        """Prefix to namespace, without those that need no declaration."""
        return {prefix: uri for uri, prefix in self.prefixes.items() if uri != _XML}


def _constant(text: str) -> str:
    """Text for the literal part of an f-string in single quotes."""
    return repr(text + '"')[1:-2].replace("{", "{{").replace("}", "}}")


class _Writer(Source):
    """Emits the body of a function that builds ``s``."""

    def __init__(self, names: Names, *, paced: bool) -> None:
        super().__init__()
        self.paced = paced
        self.names = names
        self.piece = ""  # of the f-string that is being put together
        self.begun = False

    def put(self, text: str) -> None:
        """Adds constant text."""
        self.piece += _constant(text)

    def value(self, expression: str) -> None:
        """Adds an expression; it must hold neither single quotes nor backslashes."""
        self.piece += f"{{{expression}}}"

    def flush(self) -> None:
        """Ends the current f-string."""
        if self.piece or not self.begun:
            literal = f"f'{self.piece}'" if "{" in self.piece else f"'{self.piece}'"
            self.line(f"s {'+=' if self.begun else '='} {literal}")
        self.piece, self.begun = "", True

    # --- values --------------------------------------------------------------------------------------------------

    def simple(self, f: Field, x: str, *, attribute: bool = False) -> str:
        assert f.conversion is not None
        text = f.conversion.write.replace("{}", x)
        if f.fixed and f.default is not None and f.default_value and not f.conversion.context:
            # To libxml2, other forms of a fixed value are other values.
            fixed = self.names.constant(esc_attribute(f.default) if f.conversion.plain else f.default)
            text = f"({fixed} if {x} == {self.names.value(f.default_value)} else {text})"
        if f.conversion.plain:
            return text
        return f"{'esc_attribute' if attribute else 'esc'}({text})"

    def element(self, f: Field, x: str) -> None:
        """One element with the value in ``x``, which is not nil."""
        tag = self.names.element(f.xml) if f.xml else ""
        if f.kind == "any":
            self.value(f"write_any({x}, {self.names.constant(self.names.default)})")
        elif f.any_type:
            self.value(f"write_any_as({self.names.constant(f.xml)}, {x}, {self.names.constant(self.names.default)})")
        elif f.kind == "group":
            assert f.target is not None
            self.value(f"w{f.target.number}({x})")
        elif f.target is not None:
            self.put(f"<{tag}")
            self.value(f"{'v' if f.target.polymorphic else 'w'}{f.target.number}({x})")
            self.put(f"</{tag}>")
        elif f.conversion is not None and f.conversion.context:
            self.value(f'write_names("{tag}", lambda Q: {self.simple(f, x)})')
        else:
            self.put(f"<{tag}>")
            self.value(self.simple(f, x))
            self.put(f"</{tag}>")

    def one(self, f: Field, x: str) -> None:
        if not f.nillable:
            self.element(f, x)
            return
        self.flush()
        with self.block(f"if {x} is None:"):
            self.put(f'<{self.names.element(f.xml)} xsi:nil="true"/>')
            self.flush()
        with self.block("else:"):
            self.element(f, x)
            self.flush()

    def leaf(self, f: Field, *, sure: bool) -> None:
        x = f"o.{f.name}"
        if f.many:
            self.flush()
            with self.block(f"if {x}:"):
                if f.nillable:
                    with self.block(f"for x in items({x}):"):
                        self.one(f, "x")
                        self.flush()
                else:
                    inner = _Writer(self.names, paced=self.paced)
                    inner.element(f, "x")
                    self.line(
                        f"s += J([f'{inner.piece}' for x in {f'pace(items({x}))' if self.paced else f'items({x})'}])"
                    )
        elif sure:
            if f.nillable:
                self.flush()
                self.line(f"x = {x}")
                x = "x"
            self.one(f, x)
        else:
            self.flush()
            self.line(f"x = {x}")
            with self.block("if x is not UNSET:" if f.nillable else "if x is not None:"):
                self.one(f, "x")
                self.flush()

    def model(self, node: Node, *, sure: bool) -> None:
        if isinstance(node, Leaf):
            self.leaf(node.field, sure=sure and node.field.required)
        else:
            inside = sure and not node.optional and isinstance(node, Sequence_ | All)
            for inner in node.nodes:
                self.model(inner, sure=inside)

    # --- classes -------------------------------------------------------------------------------------------------

    def attribute(self, f: Field) -> None:
        name = self.names.attribute(f.xml)
        if f.required:
            self.put(f' {name}="')
            self.value(self.simple(f, f"o.{f.name}", attribute=True))
            self.put('"')
        else:
            self.flush()
            self.line(f"x = o.{f.name}")
            with self.block("if x is not None:"):
                self.put(f' {name}="')
                self.value(self.simple(f, "x", attribute=True))
                self.put('"')
                self.flush()

    def function(self, c: Class) -> None:
        with self.block(f"def w{c.number}(o):"):
            if c.group:
                if isinstance(c.model, Choice) and all(isinstance(n, Leaf) and not n.field.many for n in c.model.nodes):
                    self.exclusive([n.field for n in c.model.nodes if isinstance(n, Leaf)])
                if c.model is not None:
                    self.model(c.model, sure=True)
            else:
                self.whole(c)
            if not self.begun:
                literal = f"f'{self.piece}'" if "{" in self.piece else f"'{self.piece}'"
                self.line(f"return {literal}")
            else:
                self.flush()
                self.line("return s")
            self.piece, self.begun = "", False

    def exclusive(self, fields: list[Field]) -> None:
        """Of a choice that repeats, each object has one member: two would be valid XML, but that of two objects."""
        given = " + ".join(f"(o.{f.name} is not {'UNSET' if f.nillable else 'None'})" for f in fields)
        names = ", ".join(f.name for f in fields)
        with self.block(f"if {given} != 1:"):
            self.line(f"raise ValueError({f'exactly one of {names} is expected'!r})")

    def whole(self, c: Class) -> None:
        context = any(f.conversion is not None and f.conversion.context for f in c.of("attribute", "text"))
        if context:
            self.line("Q = Prefixes()")
        for f in c.of("attribute"):
            self.attribute(f)
        for f in c.of("any_attribute"):
            self.value(f"write_any_attributes(o.{f.name})")
        if c.nil_field is not None:
            self.flush()
            with self.block("if o.nil:"):
                self.line("return s + ' xsi:nil=\"true\">'")
        text = c.of("text")
        if text and context:
            self.line(f"x = {self.simple(text[0], f'o.{text[0].name}')}")
        if context:
            self.value("Q")
        self.put(">")
        if text:
            self.value("x" if context else self.simple(text[0], f"o.{text[0].name}"))
        for f in c.of("mixed"):
            other = f"w{f.target.number}(x)" if f.target is not None else "esc(x)"
            self.flush()
            self.line(f"s += J([esc(x) if x.__class__ is str else {other} for x in items(o.{f.name})])")
        if c.model is not None:
            self.model(c.model, sure=True)


def emit_paced(plan: Plan) -> str:
    """The same, for large objects: along lists it lets other work in between (``offload.pace``)."""
    return emit(plan, paced=True)


def emit(plan: Plan, *, paced: bool = False) -> str:
    """The source of the writers. It expects the classes in its globals and defines ``ROOTS``, ``DEFAULT``,
    ``DECLARATIONS``.

    ``ROOTS`` leads from a root's Clark name to its tag and a function that gives the whole element without
    declarations.
    """
    names = Names(plan)
    source = _Writer(names, paced=paced)
    source.line(_HEAD)
    for c in plan.classes:
        if not c.abstract:
            source.function(c)
    for c in plan.classes:
        if c.polymorphic:
            entries = ", ".join(
                f"{m.name}: ({namespace(m.key)!r}, {local(m.key)!r}, w{m.number})" for m in c.family if not m.abstract
            )
            source.line(f"v{c.number} = by_class({'None' if c.abstract else c.name}, {{{entries}}})")
    source.line("ROOTS = {}")
    for number, (xml, root) in enumerate(plan.roots.items()):
        with source.block(f"def root{number}(x, D):"):
            _root(source, root.field)
        source.line(f"ROOTS[{xml!r}] = root{number}")
    for text, name in names.constants.items():
        source.line(f"{name} = {text!r}")
    if names.values:
        source.line("from schema.runtime.reading import *")
    for expression, name in names.values.items():
        source.line(f"{name} = {expression}")
    default = f' xmlns="{esc_attribute(names.default)}"' if names.default else ""
    source.line(f"DEFAULT = {default!r}")
    written = source.text()
    declarations = [
        (f"{prefix}:", f' xmlns:{prefix}="{esc_attribute(uri)}"')
        for prefix, uri in names.declarations().items()
        if f"{prefix}:" in written or (prefix == "xsi" and "by_class(" in written)  # else there is nothing to look for
    ]
    source.line(f"DECLARATIONS = {declarations!r}")
    return source.text()


def _root(source: _Writer, f: Field) -> None:
    """The element with ``D``, the declarations, in its start tag."""
    tag = source.names.element(f.xml)
    if f.nillable:
        with source.block("if x is None:"):
            source.line(f"return f'<{_constant(tag)}{{D}} xsi:nil=\"true\"/>'")
    if f.any_type:
        source.line(f"return write_any_as({f.xml!r}, x, '')")
    elif f.target is not None:
        call = f"{'v' if f.target.polymorphic else 'w'}{f.target.number}(x)"
        source.line(f"return f'<{_constant(tag)}{{D}}{{{call}}}</{_constant(tag)}>'")
    elif f.conversion is not None and f.conversion.context:
        source.line(f'return write_names("{tag}", lambda Q: {source.simple(f, "x")}, D)')
    else:
        source.line(f"return f'<{_constant(tag)}{{D}}>{{{source.simple(f, 'x')}}}</{_constant(tag)}>'")

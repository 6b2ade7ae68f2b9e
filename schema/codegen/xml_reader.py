"""Readers: from the tree that libxml2 has parsed and found valid, to objects.

One function ``r<number>`` for each class, chosen by the shape of its content:

* fixed: only required single elements: one unpacking, no name is looked at;
* repeated: one list comprehension;
* table: many elements with distinct names, in any order: a dictionary from name to reader;
* chain: a few single elements with distinct names: one comparison after the other;
* positional: everything else, left to right with the model, one element of look-ahead. UPA makes that right.

The document is valid, so nothing is checked: what is required is taken without looking at its name. What costs are
lxml's proxies: an element 100 ns, its name 150 ns, its text 100 ns. Hence names are asked for only where they decide
something.
"""

from __future__ import annotations

from collections.abc import Iterator

from schema.codegen import ids, native
from schema.codegen.plan import All, Choice, Class, Field, Leaf, Node, Plan, Sequence_, iter_leaves, unions
from schema.codegen.source import Source

__all__ = ["emit", "emit_paced"]

TABLE_FROM = 9  # leaves: from here on a table is faster than comparing names one after the other
LOOP_FROM = 3  # attributes: from here on one pass over those that are there is faster than asking for each

_QUICK = {"replace({})": "isprintable", "collapse({})": "isalnum"}
_HEAD = "from schema.runtime.reading import *\n"


def text_value(f: Field, text: str, element: str) -> str:
    """The expression for a simple value, from an expression for its text, which may be None."""
    assert f.conversion is not None
    read = f.conversion.read
    if f.default is not None:
        text = f"({text} or {f.default!r})"
    elif f.conversion.annotation in ("str", "Base64", "Hex") or f.conversion.annotation.startswith(("list", "Varied")):
        text = f"({text} or '')"
    if f.conversion.context:
        return read.replace("{}", text).replace("E)", f"{element})")
    if read in _QUICK:  # the usual case without a call
        return f"(z if (z := {text}).{_QUICK[read]}() else {read.replace('{}', 'z')})"
    return read.replace("{}", text)


def element_value(f: Field, c: str) -> str:
    """The expression for the value of the element in variable ``c``."""
    if f.kind == "any" or f.any_type:
        value = f"read_any({c})"
    elif f.target is not None:
        value = f"{'p' if f.target.polymorphic else 'r'}{f.target.number}({c})"
    else:
        value = text_value(f, f"{c}.text", c)
    return f"(None if is_nil({c}) else {value})" if f.nillable else value


def _element_function(f: Field) -> str:
    """A function from an element to the value."""
    if f.target is not None and not f.nillable:
        return f"{'p' if f.target.polymorphic else 'r'}{f.target.number}"
    return f"lambda c: {element_value(f, 'c')}"


def _first(node: Node) -> Iterator[Field]:
    """The fields whose elements a node may start with; group fields stand for what they may start with."""
    if isinstance(node, Leaf):
        if node.field.kind == "group":
            assert node.field.target is not None
            if node.field.target.model is not None:
                yield from _first(node.field.target.model)
        else:
            yield node.field
    elif isinstance(node, Sequence_):
        for inner in node.nodes:
            yield from _first(inner)
            if not _nullable(inner):
                return
    else:
        for inner in node.nodes:
            yield from _first(inner)


def _nullable(node: Node) -> bool:
    if isinstance(node, Leaf):
        if node.min == 0:
            return True
        target = node.field.target
        return node.field.kind == "group" and (target is None or target.model is None or _nullable(target.model))
    if node.optional:
        return True
    if isinstance(node, Choice):
        return any(_nullable(n) for n in node.nodes)
    return all(_nullable(n) for n in node.nodes)


def _simple_leaves(node: Node | None) -> list[Field] | None:
    """The fields of a model of elements with distinct names without groups and wildcards; else None."""
    leaves = [leaf.field for leaf in iter_leaves(node)]
    names = {f.xml for f in leaves}
    return leaves if all(f.kind == "element" for f in leaves) and len(names) == len(leaves) else None


class _ReaderSource(Source):
    def __init__(self, plan: Plan, *, paced: bool) -> None:
        super().__init__()
        self.plan = plan
        self.paced = paced
        self.wildcards: dict[object, str] = {}
        self.tail: list[str] = []

    def wildcard(self, f: Field) -> str:
        """The name of the test whether a tag passes a wildcard."""
        w = f.wildcard
        assert w is not None
        if w not in self.wildcards:
            name = self.wildcards[w] = f"any{len(self.wildcards)}"
            self.tail.append(f"{name} = tag_test({w.any_namespace!r}, {w.namespaces!r}, {w.negated!r})")
        return self.wildcards[w]

    def each(self, iterable: str) -> str:
        """What to loop over: other work is let in between where the reader is paced."""
        return f"pace({iterable})" if self.paced else iterable

    def many(self, items: str) -> str:
        """A list: where the reader is paced, a long one will be freed bit by bit."""
        return f"many({items})" if self.paced else items

    # --- a class -------------------------------------------------------------------------------------------------

    def reader(self, c: Class) -> None:
        with self.block(f"def r{c.number}(e):"):
            attributes, any_attribute = c.of("attribute"), c.of("any_attribute")
            arguments: dict[str, str] = {}
            loop = len(attributes) >= LOOP_FROM or bool(any_attribute)
            if c.nil_field is not None:
                self.nil(c)
            if not loop:
                for f in attributes:
                    arguments[f.name] = self.attribute(f)
            model = c.model
            leaves = _simple_leaves(model)
            table = leaves is not None and (isinstance(model, All) or len(leaves) >= TABLE_FROM)
            if loop or table:
                self.keywords(c, attributes if loop else [], any_attribute)
            if table:
                for name, value in arguments.items():
                    self.line(f"k[{name!r}] = {value}")
                self.table(c, leaves or [])
                self.line(f"return {c.name}(**k)")
                return
            if text := c.of("text"):
                f = text[0]
                arguments[f.name] = text_value(f, "e.text", "e")
            elif mixed := c.of("mixed"):
                self.mixed(c, mixed[0])
                arguments[mixed[0].name] = self.many("m")
            elif model is not None:
                self.content(c, model, arguments)
            given = "".join(f"{name}={value}, " for name, value in arguments.items())
            plain = f"{c.name}({given[:-2]})"
            self.line(f"return {c.name}({given}**k) if k else {plain}" if loop else f"return {plain}")

    def nil(self, c: Class) -> None:
        missing = [f.name for f in c.fields if f.kind in ("element", "text", "any") and f.required]
        with self.block("if e.get(NIL) in TRUE:"):
            attributes = [(f.name, f.xml) for f in c.of("attribute")]
            self.line(f"return read_nil(e, {c.name}, a{c.number}, {missing!r})")
        entries = ", ".join(f"{xml!r}: ({name!r}, {self.attribute_function(c, name)})" for name, xml in attributes)
        self.tail.append(f"a{c.number} = {{{entries}}}")

    def attribute_function(self, c: Class, name: str) -> str:
        f = next(f for f in c.fields if f.name == name)
        assert f.conversion is not None
        return "None" if f.conversion.read == "{}" else f"lambda x, E: {f.conversion.read.replace('{}', 'x')}"

    def attribute(self, f: Field) -> str:
        assert f.conversion is not None
        read = f.conversion.read.replace("E)", "e)") if f.conversion.context else f.conversion.read
        if f.required:
            return read.replace("{}", f"e.get({f.xml!r})")
        if f.default is not None:
            return read.replace("{}", f"e.get({f.xml!r}, {f.default!r})")
        if read == "{}":
            return f"e.get({f.xml!r})"
        self.line(f"v_{f.name} = e.get({f.xml!r})")
        with self.block(f"if v_{f.name} is not None:"):
            self.line(f"v_{f.name} = {read.replace('{}', f'v_{f.name}')}")
        return f"v_{f.name}"

    def keywords(self, c: Class, attributes: list[Field], any_attribute: list[Field]) -> None:
        self.line("k = {}")
        if not attributes and not any_attribute:
            return
        if c.nil_field is None:
            entries = ", ".join(f"{f.xml!r}: ({f.name!r}, {self.attribute_function(c, f.name)})" for f in attributes)
            self.tail.append(f"a{c.number} = {{{entries}}}")
        with self.block("for x, v in e.items():"):
            self.line(f"f = a{c.number}.get(x)")
            with self.block("if f is not None:"):
                self.line("k[f[0]] = v if f[1] is None else f[1](v, e)")
            if any_attribute:
                name = any_attribute[0].name
                with self.block("elif not x.startswith(XSI):"):
                    self.line(f"k.setdefault({name!r}, {{}})[x] = v")

    def table(self, c: Class, leaves: list[Field]) -> None:
        entries = ", ".join(f"{f.xml!r}: ({f.name!r}, {_element_function(f)}, {f.many})" for f in leaves)
        self.tail.append(f"t{c.number} = {{{entries}}}")
        self.line(f"t = t{c.number}")
        with self.block(f"for c in {self.each('e') if any(f.many for f in leaves) else 'e'}:"):
            self.line("n, f, many = t[c.tag]")
            with self.block("if many:"):
                with self.block("if n in k:"):
                    self.line("k[n].append(f(c))")
                    if self.paced:
                        with self.block("if len(k[n]) == LONG + 1:"):
                            self.line("k[n] = Many(k[n])")
                with self.block("else:"):
                    self.line("k[n] = [f(c)]")
            with self.block("else:"):
                self.line("k[n] = f(c)")

    def mixed(self, c: Class, f: Field) -> None:
        self.line("m = []")
        with self.block("if e.text:"):
            self.line("m.append(e.text)")
        if f.target is None:
            return
        self.alternatives(f.target)
        with self.block(f"for c in {self.each('e')}:"):
            self.line(f"m.append(g{f.target.number}(c))")
            with self.block("if c.tail:"):
                self.line("m.append(c.tail)")

    def alternatives(self, group: Class) -> None:
        """Emits ``g<number>``, from one element to the object of a choice of single elements."""
        leaves = [leaf.field for leaf in iter_leaves(group.model)]
        single = [f for f in leaves if f.kind == "element"]
        entries = ", ".join(f"{f.xml!r}: lambda c: {group.name}({f.name}={self.one(f)})" for f in single)
        self.tail.append(f"t{group.number} = {{{entries}}}")
        code = Source()
        with code.block(f"def g{group.number}(c):"):
            code.line("t = c.tag")
            code.line(f"f = t{group.number}.get(t)")
            wild = [f for f in leaves if f.kind == "any"]
            if wild:
                with code.block("if f is not None:"):
                    code.line("return f(c)")
                for f in wild[:-1]:
                    with code.block(f"if {self.wildcard(f)}(t):"):
                        code.line(f"return {group.name}({f.name}={self.one(f)})")
                code.line(f"return {group.name}({wild[-1].name}={self.one(wild[-1])})")
            else:
                code.line("return f(c)")
        self.tail.append(code.text())

    @staticmethod
    def one(f: Field) -> str:
        return f"[{element_value(f, 'c')}]" if f.many else element_value(f, "c")

    # --- content -------------------------------------------------------------------------------------------------

    def content(self, c: Class, model: Node, arguments: dict[str, str]) -> None:
        if isinstance(model, Leaf):
            f = model.field
            if f.kind != "group" and f.many:
                arguments[f.name] = self.many(f"[{element_value(f, 'c')} for c in {self.each('e')}]")
                return
            if f.kind == "group" and _is_alternatives(f):
                assert f.target is not None
                self.alternatives(f.target)
                arguments[f.name] = self.many(f"[g{f.target.number}(c) for c in {self.each('e')}]")
                return
        if isinstance(model, Sequence_) and not model.optional and model.nodes:
            fixed = [
                n.field for n in model.nodes if isinstance(n, Leaf) and n.min == n.max == 1 and n.field.kind != "group"
            ]
            if len(fixed) == len(model.nodes):
                names = [f"c{i}" for i in range(len(fixed))]
                self.line(", ".join(names) + " = e" if len(names) > 1 else "c0, = e")
                for name, f in zip(names, fixed, strict=True):
                    arguments[f.name] = element_value(f, name)
                return
        leaves = _simple_leaves(model)
        if leaves is not None and not any(f.many for f in leaves):
            self.chain(model, leaves, arguments)
            return
        _Positional(self, c.number).emit(c, model, arguments)

    def chain(self, model: Node, leaves: list[Field], arguments: dict[str, str]) -> None:
        names = _Positional(self, 0).declare(model)
        with self.block("for c in e:"):
            self.line("t = c.tag")
            for i, f in enumerate(leaves):
                with self.block(f"{'elif' if i else 'if'} t == {f.xml!r}:"):
                    self.line(f"{names[f]} = {element_value(f, 'c')}")
        arguments.update({f.name: names[f] for f in leaves})


def _is_alternatives(f: Field) -> bool:
    """Whether a group is a choice of single elements and wildcards, so that each element makes one object."""
    model = f.target.model if f.target is not None else None
    nodes = model.nodes if isinstance(model, Choice) else (model,) if isinstance(model, Leaf) else ()
    names = [n.field.xml for n in nodes if isinstance(n, Leaf) and n.field.kind == "element"]
    return (
        bool(nodes)
        and len(set(names)) == len(names)
        and all(isinstance(n, Leaf) and n.field.kind in ("element", "any") and n.max == 1 for n in nodes)
    )


class _Positional:
    """Emits the walk along a model. ``c`` is the next element, ``t`` its name, known where ``self.known``."""

    def __init__(self, source: _ReaderSource, number: int) -> None:
        self.source = source
        self.known = False
        self.variables = 0
        self.number = number

    def emit(self, c: Class, model: Node, arguments: dict[str, str]) -> None:
        names = self.declare(model)
        repeats = any(leaf.field.many for leaf in iter_leaves(model))
        self.source.line(f"it = iter({self.source.each('e') if repeats else 'e'})")
        self.advance()
        self.node(model, names, sure=not _nullable(model), last=True)
        for f, name in names.items():
            arguments[f.name] = self.source.many(name) if f.many else name

    def declare(self, model: Node) -> dict[Field, str]:
        """Variables for the fields of a model, emptied."""
        names: dict[Field, str] = {}
        for leaf in iter_leaves(model):
            names[leaf.field] = f"v{self.variables}"
            self.variables += 1
            if leaf.field.many:
                self.source.line(f"{names[leaf.field]} = []")
        for value, which in (("None", False), ("UNSET", True)):
            chosen = [n for f, n in names.items() if not f.many and (f.nillable and not f.required) == which]
            if chosen:
                self.source.line(" = ".join(chosen) + f" = {value}")
        return names

    def advance(self) -> None:
        self.source.line("c = next(it, END)")
        self.known = False

    def know(self) -> None:
        if not self.known:
            self.source.line("t = c.tag")
            self.known = True

    def test(self, node: Node) -> str:
        fields = list(_first(node))
        tags = sorted({f.xml for f in fields if f.kind == "element"})
        tests = [f"{self.source.wildcard(f)}(t)" for f in fields if f.kind == "any"]
        if len(tags) == 1:
            tests.insert(0, f"t == {tags[0]!r}")
        elif tags:
            tests.insert(0, "t in {" + ", ".join(map(repr, tags)) + "}")
        return " or ".join(dict.fromkeys(tests)) or "False"

    def node(self, node: Node, names: dict[Field, str], *, sure: bool, last: bool) -> None:
        """``sure``: the next element belongs to this node. ``last``: nothing can follow it."""
        if isinstance(node, Leaf):
            self.leaf(node, names, sure=sure, last=last)
        elif isinstance(node, Choice):
            self.choice(node, names, last=last)
        elif isinstance(node, All):
            self.all(node, names)
        elif node.optional and not sure:
            self.know()
            with self.source.block(f"if {self.test(node)}:"):
                self.sequence(node, names, last=last)
                self.know()
        else:
            self.sequence(node, names, last=last)

    def sequence(self, node: Sequence_, names: dict[Field, str], *, last: bool) -> None:
        if not node.nodes:
            self.source.line("pass")
        for i, inner in enumerate(node.nodes):
            self.node(inner, names, sure=not _nullable(inner), last=last and i == len(node.nodes) - 1)

    def choice(self, node: Choice, names: dict[Field, str], *, last: bool) -> None:
        self.know()
        word = "if"
        for inner in node.nodes:
            self.known = True
            with self.source.block(f"{word} {self.test(inner)}:"):
                self.node(inner, names, sure=True, last=last)
                self.know()
            word = "elif"
        self.known = True

    def all(self, node: All, names: dict[Field, str]) -> None:
        self.know()
        with self.source.block(f"while {self.test(node)}:"):
            self.choice(Choice(node.nodes), names, last=False)

    def leaf(self, node: Leaf, names: dict[Field, str], *, sure: bool, last: bool) -> None:
        f = node.field
        name = names[f]
        if f.kind == "group":
            self.group(node, name)
        elif not f.many:
            if sure:
                self.source.line(f"{name} = {element_value(f, 'c')}")
                self.advance()
            else:
                self.know()
                with self.source.block(f"if {self.test(node)}:"):
                    self.source.line(f"{name} = {element_value(f, 'c')}")
                    self.advance()
                    self.know()
        elif last:
            with self.source.block("if c is not END:"):
                self.source.line(f"{name}.append({element_value(f, 'c')})")
                self.source.line(f"{name} += [{element_value(f, 'c')} for c in it]")
                self.source.line("c = END")
            self.known = False
        else:
            self.know()
            limit = f" and len({name}) < {node.max}" if node.max is not None else ""
            test = self.test(node)
            with self.source.block(f"while ({test}){limit}:" if limit else f"while {test}:"):
                self.source.line(f"{name}.append({element_value(f, 'c')})")
                self.advance()
                self.know()

    def group(self, node: Leaf, name: str) -> None:
        group = node.field.target
        assert group is not None
        if group.model is None:
            return
        self.know()
        limit = f" and len({name}) < {node.max}" if node.max is not None else ""
        test = self.test(group.model)
        with self.source.block(f"while ({test}){limit}:"):
            inner = self.declare(group.model)
            self.node(group.model, inner, sure=True, last=False)
            given = ", ".join(f"{f.name}={self.source.many(v) if f.many else v}" for f, v in inner.items())
            self.source.line(f"{name}.append({group.name}({given}))")
            self.know()


def emit_paced(plan: Plan) -> str:
    """The same, for large documents: along repeated content it lets other work in between (``offload.pace``)."""
    return emit(plan, paced=True)


def emit(plan: Plan, *, paced: bool = False) -> str:
    """The source of the readers. It expects the classes in its globals and defines ``ROOTS``."""
    source = _ReaderSource(plan, paced=paced)
    source.line(_HEAD)
    for union in unions(plan):
        source.line(union.source())
    for c in plan.classes:
        if not c.group and not c.abstract:
            source.reader(c)
    native.emit(plan, source, lambda c: _simple_leaves(c.model), element_value, paced=paced)
    for c in plan.classes:
        if c.polymorphic:
            entries = ", ".join(f"{m.key!r}: r{m.number}" for m in c.family if not m.key.count("/type"))
            own = f"r{c.number}" if not c.abstract else "None"
            source.line(f"p{c.number} = by_type({own}, {{{entries}}})")
    roots = ", ".join(f"{xml!r}: {_element_function(root.field)}" for xml, root in plan.roots.items())
    for line in source.tail:
        source.line(line)
    source.line(f"ROOTS = {{{roots}}}")
    found = ids.tables(plan)
    source.line("IDS = None" if found is None else f"IDS = Tables({found[0]!r}, {found[1]!r})")
    if paced:
        source.line(f"ELEMENTS = {{{_elements(plan)}}}")
    return source.text()


def _elements(plan: Plan) -> str:
    """Readers by element name, for every name that means one thing wherever it occurs."""
    found: dict[str, set[str]] = {}
    for f in [*(f for c in plan.classes for f in c.fields), *(root.field for root in plan.roots.values())]:
        if f.kind == "element":
            found.setdefault(f.xml, set()).add(_element_function(f))
    return ", ".join(f"{xml!r}: {min(ways)}" for xml, ways in sorted(found.items()) if len(ways) == 1)

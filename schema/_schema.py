"""``Schema``: one compiled schema and everything that can be done with it.

What it needs comes from ``Parts``: made on the spot by ``load`` (``schema/_load.py``), or imported from the package
that ``evschema compile`` has written (``schema/_compiled.py``). Everything but the classes is made on first use.
"""

from __future__ import annotations

import contextlib
import copy
import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar, get_args

from lxml import etree

from schema.errors import LimitExceeded, Problem, ValidationError
from schema.runtime.collector import paused
from schema.runtime.judge import MAX_BYTES, Judge, parse, too_large
from schema.runtime.offload import INLINE_LIMIT, begin, current, rest, within
from schema.runtime.release import let_go
from schema.runtime.trees import end, end_here

if TYPE_CHECKING:
    from schema.codegen.plan import Plan
    from schema.json.lua_schema import LuaSchema
    from schema.json.natural import Natural
    from schema.rules import RuleSet

__all__ = ["Parts", "RootInfo", "Schema", "load"]

MAX_ERRORS = 100
T = TypeVar("T")
JsonMapping: TypeAlias = Literal["natural", "lua_schema", "badgerfish"]


def _known(mapping: str) -> None:
    if mapping not in get_args(JsonMapping):
        raise ValueError(f"{mapping!r} is no JSON mapping; there are {', '.join(get_args(JsonMapping))}")


@dataclass(frozen=True, slots=True)
class RootInfo:
    """A root element without the plan: Clark name, short name, the classes that its objects may have ("": not
    complex).
    """

    xml: str
    name: str
    classes: tuple[str, ...]
    main: bool
    kind: str  # the annotation of its objects


class Parts(Protocol):
    """Where a Schema gets its parts from. The methods are called under a lock."""

    @property
    def name(self) -> str:
        """The schema's short name."""

    @property
    def classes(self) -> Mapping[str, Any]:
        """The generated classes by name."""

    @property
    def roots(self) -> tuple[RootInfo, ...]:
        """What documents may start with."""

    def plan(self) -> Plan:
        """The whole plan."""

    def unit(self, name: str) -> dict[str, Any]:
        """The globals of one of ``schema.codegen.units.UNITS``."""

    def judge(self) -> etree.XMLSchema:
        """libxml2's compiled schema: another one each time."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """Rule sets, each with the root that it is about ("": any), and what their rules get to know."""

    sets: tuple[tuple[str, RuleSet], ...]
    context: Any
    additional: Any


class Schema:
    """A schema, ready to use from any thread or greenlet. Made by ``schema.load`` or by an import of a compiled
    module.

    Budgets: ``max_bytes`` of a document, ``max_errors`` that are listed, and ``max_seconds`` that libxml2 may take to
    parse and validate one (None: any time). With a time budget that is done in another thread, at some cost; when it is
    used up, LimitExceeded is raised at once, but that thread goes on to its end, since nothing can stop it.
    """

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._lock = threading.RLock()
        self._rules: _Rules | None = None
        # Shared with what with_rules makes, as are the roots.
        self._made: dict[str, Any] = {}
        self._units: dict[str, dict[str, Any]] = {}
        self._json: dict[str, Natural] = {}
        self._lua_schema: dict[str, LuaSchema] = {}
        self.name = parts.name
        self.classes = parts.classes
        self.max_bytes = MAX_BYTES
        self.max_errors = MAX_ERRORS
        self.max_seconds: float | None = None
        self.roots = {root.xml: root for root in parts.roots}
        self._roots_by_class: dict[str, list[str]] = {}
        for root in parts.roots:
            for name in root.classes:
                self._roots_by_class.setdefault(name, []).append(root.xml)

    def __repr__(self) -> str:
        return f"<Schema {self.name}: {', '.join(root.name for root in self.roots.values())}>"

    # --- parts, on first use -------------------------------------------------------------------------------------

    def _once(self, name: str, make: Callable[[], T]) -> T:
        with self._lock:
            if name not in self._made:
                self._made[name] = make()
            found: T = self._made[name]
            return found

    @cached_property
    def plan(self) -> Plan:
        """The plan: what the classes look like and why."""
        return self._once("plan", self._parts.plan)

    @cached_property
    def judge(self) -> Judge:
        """Validates trees."""
        return self._once("judge", lambda: Judge(self._parts.judge(), self._parts.judge))

    def unit(self, name: str) -> dict[str, Any]:
        """The globals of a generated part."""
        found = self._units.get(name)
        if found is None:
            with self._lock:
                found = self._units.get(name)
                if found is None:
                    found = self._units[name] = self._parts.unit(name)
        return found

    def prepare(self) -> Schema:
        """Makes what is needed for XML now, instead of on first use: for servers, before they serve. Returns itself."""
        self.judge.prepare()
        for name in ("xml_reader", "xml_reader_paced", "xml_writer", "xml_writer_paced"):
            self.unit(name)
        return self

    # --- rules ---------------------------------------------------------------------------------------------------

    def with_rules(self, *sets: RuleSet, context: Any = None, additional: Any = None) -> Schema:
        """This schema with rules beyond it (``schema.rules``): what obeys the schema must then obey them, too,
        whichever way it goes. ``iter_xml`` knows documents in parts only, and no rules.

        ``context`` and ``additional`` are for the rules. This is cheap, so that a server may call it for each request.
        Raises ValidationError when a set is about a root that the schema does not have.
        """
        made = copy.copy(self)
        named = tuple((self.root_of(None, one.root) if one.root else "", one) for one in sets)
        made._rules = _Rules(named, context, additional)
        return made

    def _obey(self, value: Any, xml: str) -> None:
        """Raises ValidationError unless an object of the root ``xml`` obeys the rules."""
        if self._rules is None:
            return
        begin()
        problems: list[Problem] = []
        for root, one in self._rules.sets:
            if root in ("", xml):
                problems += one.problems(value, context=self._rules.context, additional=self._rules.additional)
        if problems:
            raise ValidationError(problems[: self.max_errors], more=max(0, len(problems) - self.max_errors))

    def _obey_tree(self, trees: list[etree._Element], size: int) -> None:
        """The same for the object of the one valid tree in the list, which ends here."""
        if self._rules is not None:
            self._obey(self._read(trees[0], size), str(trees[0].tag))
        end(trees, size)

    # --- XML -----------------------------------------------------------------------------------------------------

    def _tree(self, data: bytes) -> etree._Element:
        """The tree of a valid document. Raises ValidationError."""
        limit = self.max_seconds
        loop = current() if limit is not None or len(data) > INLINE_LIMIT else None
        try:
            if loop is not None:
                tree = loop.elsewhere(self._judged, data, timeout=limit)
            else:
                tree = self._judged(data) if limit is None else within(limit, self._judged, data)
        except TimeoutError:
            message = f"judging the document took longer than {limit} s (Schema.max_seconds)"
            raise LimitExceeded([Problem("limit", message)]) from None
        if (tables := self.unit("xml_reader")["IDS"]) is not None:
            from schema.runtime.ids import check_ids

            check_ids(tree, tables, self.max_errors)
        return tree

    def _judged(self, data: bytes) -> etree._Element:
        root = parse(data, self.max_bytes)
        try:
            self.judge.check(root, self.max_errors, data)
        except BaseException:
            end_here([root])  # else it would end where the exception does
            raise
        return root

    def validate_xml(self, data: bytes) -> None:
        """Raises ValidationError unless the document is valid."""
        self._obey_tree([self._tree(data)], len(data))

    def from_xml(self, data: bytes) -> Any:
        """The object of a valid document. Raises ValidationError."""
        return self._value([self._tree(data)], len(data))

    def _value(self, trees: list[etree._Element], size: int) -> Any:
        """The object of the one valid tree in the list, which ends here."""
        value = self._read(trees[0], size)
        self._obey(value, str(trees[0].tag))
        end(trees, size)
        return value

    def _read(self, root: etree._Element, size: int = 0) -> Any:
        """The object of a valid tree. ``size``: of the document in bytes."""
        paced = size > INLINE_LIMIT and current() is not None
        if paced:
            begin()
        reader = self.unit("xml_reader_paced" if paced else "xml_reader")["ROOTS"].get(root.tag)
        if reader is None:
            message = f"{root.tag!s} is none of the root elements {self._root_names()}"
            raise ValidationError([Problem("unknown-root", message, f"/{etree.QName(root).localname}")])
        try:
            if paced or size <= INLINE_LIMIT:
                return reader(root)
            with paused():
                return reader(root)
        except ValueError as error:  # valid, but beyond Python: an integer of more than 4300 digits
            raise ValidationError([Problem("limit", str(error))]) from None

    def iter_xml(self, file: str | os.PathLike[str] | IO[bytes], tag: str) -> Iterator[Any]:
        """The objects of all elements called ``tag`` (Clark name, or local name) in a document of any size.

        Each is valid in itself when it comes, and *before* the whole document has been judged: a fault further on
        raises ValidationError there and then. Memory stays as small as one such element. ``file`` is a path or a binary
        file; it is read as the objects are asked for.
        """
        from schema.runtime.stream import iter_elements

        readers = self.unit("xml_reader_paced")["ELEMENTS"]
        names = [name for name in readers if tag in (name, name.rpartition("}")[2])]
        if len(names) != 1:
            what = "means several things in" if names else "is no element of"
            raise ValidationError([Problem("unknown-root", f"{tag!r} {what} this schema")])
        with contextlib.ExitStack() as stack:
            opened = stack.enter_context(open(file, "rb")) if isinstance(file, str | os.PathLike) else file
            yield from iter_elements(opened, names[0], self.judge, readers[names[0]], self.max_errors)

    def to_xml(self, value: Any, *, root: str | None = None) -> bytes:
        """The valid document of an object. ``root``: the element, where the class does not tell. Raises
        ValidationError.
        """
        data, *trees = self._write(value, root)
        self._obey_tree(trees, len(data))
        return data

    def _write(self, value: Any, root: str | None) -> tuple[bytes, etree._Element]:
        data = self._text(value, root)
        return data, self._tree(data)

    def _text(self, value: Any, root: str | None) -> bytes:
        """The document of an object, not judged yet."""
        # How large it will be is not known before; the paced writer costs 2 % more.
        paced = current() is not None
        if paced:
            begin()
        unit = self.unit("xml_writer_paced" if paced else "xml_writer")
        xml = self.root_of(value, root)
        try:
            body = unit["ROOTS"][xml](value, "\0")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise self._wrong_type(value, xml, str(error)) from None
        rest(len(body))
        declared = unit["DEFAULT"]
        for mark, declaration in unit["DECLARATIONS"]:
            if mark in body:
                declared += declaration
        start, mark, end = body.partition("\0")
        if ">" in start:  # a root of any type, which declares for itself; a NUL further on is a character of the text
            start, declared, end = start + mark + end, "", ""
        rest(len(body))
        return f"<?xml version='1.0' encoding='UTF-8'?>\n{start}{declared}{end}".encode(errors="surrogatepass")

    def _wrong_type(self, value: Any, xml: str, message: str) -> ValidationError:
        """Says where an object cannot be written."""
        from schema.runtime.wrong import find_wrong

        problems, more = find_wrong(self.plan, self.classes, xml, value, self.max_errors)
        return ValidationError(problems or [Problem("wrong-type", message)], more=more)

    def validate(self, value: Any, *, root: str | None = None) -> None:
        """Raises ValidationError unless the object is valid."""
        data, *trees = self._write(value, root)
        self._obey_tree(trees, len(data))

    # --- JSON ----------------------------------------------------------------------------------------------------

    def _natural(self, xml: str) -> Natural:
        found = self._json.get(xml)
        if found is None:
            from schema.json.natural import Natural

            with self._lock:
                found = self._json[xml] = Natural(eval(self.roots[xml].kind, dict(self.classes)))
        return found

    def _json_root(self, root: str | None) -> str:
        if root is not None:
            return self.root_of(None, root)
        main = [info.xml for info in self.roots.values() if info.main]
        if len(main) == 1 or len(self.roots) == 1:
            return main[0] if main else next(iter(self.roots))
        message = f"the JSON could be any of {self._root_names()}; say which element: root=..."
        raise ValidationError([Problem("unknown-root", message)])

    def _lua(self, xml: str) -> LuaSchema:
        found = self._lua_schema.get(xml)
        if found is None:
            from schema.json.lua_schema import LuaSchema

            with self._lock:
                found = self._lua_schema[xml] = LuaSchema(self.plan, xml)
        return found

    def xml_to_json(self, data: bytes, *, mapping: JsonMapping = "natural") -> bytes:
        """The JSON of a valid document. Raises ValidationError."""
        _known(mapping)
        trees = [self._tree(data)]
        value, tag = self._read(trees[0], len(data)), str(trees[0].tag)
        xml = tag if tag in self.roots else self._json_root(None)
        self._obey(value, xml)
        if mapping == "badgerfish":
            end(trees, len(data))
            _, *trees = self._write(value, xml)
        made = self._json_of(trees[0], value, xml, mapping)
        end(trees, len(data))
        return made

    def _json_of(self, tree: etree._Element, value: Any, xml: str, mapping: JsonMapping) -> bytes:
        if mapping == "badgerfish":
            from schema.json.badgerfish import encode

            return encode(tree)
        natural = self._natural(xml).encode(value)
        return self._lua(xml).encode(natural) if mapping == "lua_schema" else natural

    def json_to_xml(self, data: bytes | str, *, root: str | None = None, mapping: JsonMapping = "natural") -> bytes:
        """The valid document of a JSON text. ``root``: the element, unless there is but one. Raises ValidationError."""
        text, *trees = self._judged_json(data, root, mapping)
        self._obey_tree(trees, len(text))
        return text

    def _judged_json(self, data: bytes | str, root: str | None, mapping: JsonMapping) -> tuple[bytes, etree._Element]:
        _known(mapping)
        if len(data) > self.max_bytes:
            raise too_large("JSON", self.max_bytes)
        if mapping == "badgerfish":
            return self._judged_badgerfish(data, root)
        xml = self._json_root(root)
        if mapping == "natural":
            return self._judged_natural(data, xml)
        lua = self._lua(xml)
        natural = lua.decode(data)
        try:
            return self._judged_natural(natural, xml)
        except LimitExceeded:
            raise
        except ValidationError as error:
            raise ValidationError([replace(p, path=lua.path(p.path)) for p in error.errors], more=error.more) from None

    def _judged_natural(self, data: bytes | str, xml: str) -> tuple[bytes, etree._Element]:
        with paused() if len(data) > INLINE_LIMIT and current() is None else contextlib.nullcontext():
            value = self._natural(xml).decode(data)
        try:
            written = self._write(value, xml)
            if len(data) > INLINE_LIMIT:
                let_go(value)
            return written
        except LimitExceeded:
            raise
        except ValidationError as error:
            from schema.json.natural import JsonPaths

            paths = JsonPaths(self.plan, value)
            problems = [
                replace(p, path=paths.of(p.path) if p.path.startswith("/") else p.path, line=None) for p in error.errors
            ]
            raise ValidationError(problems, more=error.more) from None

    def _judged_badgerfish(self, data: bytes | str, root: str | None) -> tuple[bytes, etree._Element]:
        from schema.json.badgerfish import decode, path

        text = decode(data)
        try:
            tree = self._tree(text)
        except LimitExceeded:
            raise
        except ValidationError as error:
            problems = [replace(p, path=path(p.path), line=None) for p in error.errors]
            raise ValidationError(problems, more=error.more) from None
        if tree.tag not in self.roots or (root is not None and tree.tag != self.root_of(None, root)):
            wanted = root if root is not None else f"one of the root elements {self._root_names()}"
            raise ValidationError([Problem("unknown-root", f"{tree.tag!s} is not {wanted}")])
        return text, tree

    def from_json(self, data: bytes | str, *, root: str | None = None, mapping: JsonMapping = "natural") -> Any:
        """The object of a valid JSON text: the very one that its XML would give. Raises ValidationError."""
        text, *trees = self._judged_json(data, root, mapping)
        return self._value(trees, len(text))

    def validate_json(self, data: bytes | str, *, root: str | None = None, mapping: JsonMapping = "natural") -> None:
        """Raises ValidationError unless the JSON text is valid."""
        text, *trees = self._judged_json(data, root, mapping)
        self._obey_tree(trees, len(text))

    def to_json(self, value: Any, *, root: str | None = None, mapping: JsonMapping = "natural") -> bytes:
        """The valid JSON text of an object: that of its XML. Raises ValidationError."""
        _known(mapping)
        text, *trees = self._write(value, root)
        read = self._read(trees[0], len(text))
        self._obey(read, str(trees[0].tag))
        made = self._json_of(trees[0], read, self.root_of(value, root), mapping)
        end(trees, len(text))
        return made

    def to_json_schema(self, *, root: str | None = None) -> dict[str, Any]:
        """A JSON Schema (draft 2020-12) of the natural mapping of a root element, as a dict for ``json.dumps``.

        It has the shape of what `from_json` accepts, not every rule: facets of values and identity constraints are
        judged by `from_json` alone. ``root``: the element, unless there is but one. Raises ValidationError when that is
        not clear.
        """
        from schema.json.json_schema import json_schema

        xml = self._json_root(root)
        return json_schema(eval(self.roots[xml].kind, dict(self.classes)), self.roots[xml].name)

    # --- roots ---------------------------------------------------------------------------------------------------

    def root_of(self, value: Any, root: str | None) -> str:
        """The root element (Clark name) for an object. ``root``: a Clark or local name. Raises ValidationError."""
        if root is not None:
            for known in self.roots.values():
                if root in (known.xml, known.name):
                    return known.xml
            raise ValidationError([Problem("unknown-root", f"{root!r} is none of the roots {self._root_names()}")])
        found = self._roots_by_class.get(type(value).__name__, [])
        if len(found) == 1:
            return found[0]
        for xml in found or self.roots:
            if self.roots[xml].main or len(self.roots) == 1:
                return xml
        message = f"{type(value).__name__} could be any of {self._root_names()}; say which element: root=..."
        raise ValidationError([Problem("unknown-root", message)])

    def _root_names(self) -> str:
        return ", ".join(root.name for root in self.roots.values())


def load(
    source: str | os.PathLike[str] | bytes,
    *,
    roots: Iterable[str] | None = None,
    locations: Mapping[str, str | Path] | None = None,
    allow: Sequence[str | os.PathLike[str]] | None = None,
    unsafe_patterns: bool = False,
) -> Schema:
    """Compiles a schema at run time.

    ``source`` is the path of the .xsd, or its text as bytes. ``roots`` names the elements that documents may start with
    (Clark names); by default those of the main namespace. ``locations`` leads namespaces and locations to local files;
    ``allow`` lists the folders that may be read. ``unsafe_patterns`` lets patterns through that libxml2 may try for
    minutes (see schema/model/patterns.py). Raises SchemaError.
    """
    from schema._load import load_parts  # what compiles is not imported where compiled packages are used

    return Schema(load_parts(source, roots=roots, locations=locations, allow=allow, unsafe_patterns=unsafe_patterns))

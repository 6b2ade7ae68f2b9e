"""``Schema``: one compiled schema and everything that can be done with it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from lxml import etree

from schema._xml import XmlSchema
from schema.errors import LimitExceeded, Problem, ValidationError
from schema.runtime.collector import paused
from schema.runtime.judge import as_bytes, too_large
from schema.runtime.offload import INLINE_LIMIT, current
from schema.runtime.release import let_go
from schema.runtime.trees import end

if TYPE_CHECKING:
    from schema.json.lua_schema import LuaSchema
    from schema.json.natural import Natural

__all__ = ["JsonMapping", "Schema", "load"]

JsonMapping: TypeAlias = Literal["natural", "lua_schema", "badgerfish"]


def _known(mapping: str) -> None:
    if mapping not in get_args(JsonMapping):
        raise ValueError(f"{mapping!r} is no JSON mapping; there are {', '.join(get_args(JsonMapping))}")


class Schema(XmlSchema):
    """A schema, ready to use from any thread or greenlet. Made by ``schema.load`` or by an import of a compiled
    module.

    Budgets: ``max_bytes`` of a document, ``max_errors`` that are listed, and ``max_seconds`` that libxml2 may take to
    parse and validate one (None: any time). With a time budget that is done in another thread, at some cost; when it is
    used up, LimitExceeded is raised at once, but that thread goes on to its end, since nothing can stop it.
    """

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
        if not isinstance(data, str) and type(data) is not bytes:
            data = as_bytes(data)
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

"""``Schema``: one compiled schema and everything that can be done with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lxml import etree

from schema.codegen import classes, xml_reader, xml_writer
from schema.codegen.plan import Plan, make_plan
from schema.errors import Problem, SchemaError, ValidationError
from schema.model.build import build
from schema.model.components import local
from schema.model.sources import gather
from schema.runtime.judge import MAX_BYTES, Judge, parse

__all__ = ["Schema", "load"]

MAX_ERRORS = 100


class Schema:
    """A schema, ready to use from any thread or greenlet. Made by ``schema.load`` or by an import of a compiled
    module.
    """

    def __init__(self, plan: Plan, judge: etree.XMLSchema, name: str) -> None:
        self.plan = plan
        self.name = name
        self.judge = Judge(judge)
        self.max_bytes = MAX_BYTES
        self.max_errors = MAX_ERRORS
        self._lock = threading.RLock()
        self._units: dict[str, dict[str, Any]] = {}
        self.classes = self._make_classes()
        self._roots_by_class: dict[type, list[str]] = {}
        for root in plan.roots.values():
            if root.field.target is not None:
                for member in root.field.target.family:
                    self._roots_by_class.setdefault(self.classes[member.name], []).append(root.xml)

    # --- generated code ------------------------------------------------------------------------------------------

    def _make_classes(self) -> dict[str, Any]:
        import sys

        source = classes.emit(self.plan, f"Classes of {self.name}.")
        module = ModuleType(f"schema.loaded.{self.name}_{id(self):x}")
        sys.modules[module.__name__] = module  # msgspec resolves annotations there
        exec(compile(source, f"<{self.name}: classes>", "exec"), module.__dict__)
        return module.__dict__

    def unit(self, name: str, emit: Callable[[Plan], str]) -> dict[str, Any]:
        """The globals of a generated part, made on first use."""
        found = self._units.get(name)
        if found is None:
            with self._lock:
                found = self._units.get(name)
                if found is None:
                    found = {c.name: self.classes[c.name] for c in self.plan.classes if not c.abstract}
                    exec(compile(emit(self.plan), f"<{self.name}: {name}>", "exec"), found)
                    self._units[name] = found
        return found

    # --- XML -----------------------------------------------------------------------------------------------------

    def _tree(self, data: bytes) -> etree._Element:
        root = parse(data, self.max_bytes)
        self.judge.check(root, self.max_errors)
        return root

    def validate_xml(self, data: bytes) -> None:
        """Raises ValidationError unless the document is valid."""
        self._tree(data)

    def from_xml(self, data: bytes) -> Any:
        """The object of a valid document. Raises ValidationError."""
        root = self._tree(data)
        reader = self.unit("xml reader", xml_reader.emit)["ROOTS"].get(root.tag)
        if reader is None:
            raise ValidationError(
                [Problem("unknown-root", f"{root.tag!s} is none of the roots", f"/{local(str(root.tag))}")]
            )
        return reader(root)

    def to_xml(self, value: Any, *, root: str | None = None) -> bytes:
        """The valid document of an object. Raises ValidationError."""
        data, _ = self._write(value, root)
        return data

    def _write(self, value: Any, root: str | None) -> tuple[bytes, etree._Element]:
        unit = self.unit("xml writer", xml_writer.emit)
        xml = self.root_of(value, root)
        default = unit["DEFAULT"]
        try:
            body = unit["ROOTS"][xml](value, "\0")
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ValidationError([Problem("wrong-type", str(error))]) from None
        declared = f' xmlns="{default}"' if default else ""
        for prefix, uri in unit["DECLARATIONS"].items():
            if f"{prefix}:" in body:
                declared += f' xmlns:{prefix}="{uri}"'
        data = f"<?xml version='1.0' encoding='UTF-8'?>\n{body.replace(chr(0), declared, 1)}".encode()
        return data, self._tree(data)

    def validate(self, value: Any, *, root: str | None = None) -> None:
        """Raises ValidationError unless the object is valid."""
        self._write(value, root)

    def root_of(self, value: Any, root: str | None) -> str:
        """The root element (Clark name) for an object. ``root``: a Clark or local name. Raises ValidationError."""
        if root is not None:
            for known in self.plan.roots.values():
                if root in (known.xml, known.name):
                    return known.xml
            raise ValidationError([Problem("unknown-root", f"{root!r} is none of {self._root_names()}")])
        found = self._roots_by_class.get(type(value), [])
        if len(found) == 1:
            return found[0]
        for xml in found or self.plan.roots:
            if self.plan.roots[xml].main or len(self.plan.roots) == 1:
                return xml
        hint = "say which root element: root=..."
        raise ValidationError(
            [Problem("unknown-root", f"{type(value).__name__} could be any of {self._root_names()}; {hint}")]
        )

    def _root_names(self) -> str:
        return ", ".join(root.name for root in self.plan.roots.values())


def load(
    source: str | os.PathLike[str] | bytes,
    *,
    roots: Iterable[str] | None = None,
    locations: Mapping[str, str | Path] | None = None,
    allow: Sequence[str | os.PathLike[str]] | None = None,
) -> Schema:
    """Compiles a schema at run time.

    ``source`` is the path of the .xsd, or its text as bytes. ``roots`` names the elements that documents may start with
    (Clark names); by default those of the main namespace. ``locations`` leads namespaces and locations to local files;
    ``allow`` lists the folders that may be read. Raises SchemaError.
    """
    bundle = gather(source, locations=locations, allow=allow)
    components, judge = build(bundle)
    if not components.elements:
        raise SchemaError(
            [Problem("schema-unsupported", "the schema declares no global element, so nothing could start a document")]
        )
    name = bundle.main.partition("-")[2].removesuffix(".xsd")
    return Schema(make_plan(components, roots), judge, name)

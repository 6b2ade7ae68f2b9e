"""The parts of a schema that ``evschema compile`` has written: imported when they are needed.

``models/invoice.py`` has the classes and ends with ``SCHEMA = bind(...)``; the rest lies in ``models/_invoice``.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lxml import etree

from schema._base import RootInfo
from schema._schema import Schema
from schema.runtime.judge import compile_texts

if TYPE_CHECKING:
    from schema.codegen.plan import Plan

__all__ = ["CompiledParts", "bind"]


class CompiledParts:
    """Parts beside the module that binds them."""

    def __init__(self, classes: Mapping[str, Any], roots: tuple[RootInfo, ...], main: str) -> None:
        package, _, self.name = str(classes["__name__"]).rpartition(".")
        self.classes = classes
        self.roots = roots
        self._main = main
        self._package = f"{package}._{self.name}" if package else f"_{self.name}"
        self._folder = Path(str(classes["__file__"])).with_name(f"_{self.name}")

    def plan(self) -> Plan:
        """Made again from the components, which are kept as source."""
        from schema.codegen.plan import make_plan

        module = import_module(f"{self._package}.model")
        return make_plan(module.COMPONENTS, [root.xml for root in self.roots])

    def unit(self, name: str) -> dict[str, Any]:
        """One of the generated modules."""
        return import_module(f"{self._package}.{name}").__dict__

    def judge(self) -> etree.XMLSchema:
        """libxml2's compiled schema, another one each time, from the documents that were compiled."""
        texts = {path.name: path.read_bytes() for path in sorted((self._folder / "xsd").glob("*.xsd"))}
        return compile_texts(texts, self._main)


def bind(
    classes: Mapping[str, Any], roots: tuple[tuple[str, str, tuple[str, ...], bool, str], ...], main: str
) -> Schema:
    """The schema of a compiled module. ``classes`` is its globals, ``roots`` its RootInfos, ``main`` its first
    document.
    """
    return Schema(CompiledParts(classes, tuple(RootInfo(*root) for root in roots), main))

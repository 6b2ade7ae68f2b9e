"""The generated parts of a schema besides its classes: what each is called and who writes its source.

A part is Python source that expects the classes in its globals. It is made when it is first needed: at run time from
the plan, in a compiled package by an import.
"""

from __future__ import annotations

from collections.abc import Callable

from schema._base import RootInfo
from schema.codegen import xml_reader, xml_writer
from schema.codegen.classes import value_annotation
from schema.codegen.plan import Plan

__all__ = ["UNITS", "root_infos"]

UNITS: dict[str, Callable[[Plan], str]] = {
    "xml_reader": xml_reader.emit,
    "xml_reader_paced": xml_reader.emit_paced,
    "xml_writer": xml_writer.emit,
    "xml_writer_paced": xml_writer.emit_paced,
}


def root_infos(plan: Plan) -> tuple[RootInfo, ...]:
    """Of all roots, the main one first."""
    infos = []
    for root in plan.roots.values():
        target = root.field.target
        names = tuple(member.name for member in target.family) if target is not None else ()
        kind = value_annotation(root.field) + (" | None" if root.field.nillable else "")
        infos.append(RootInfo(root.xml, root.name, names, root.main, kind))
    return tuple(infos)

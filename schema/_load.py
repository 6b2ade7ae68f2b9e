"""The parts of a schema that is compiled at run time: source text is made and executed in memory."""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from lxml import etree

from schema._base import RootInfo
from schema.codegen import classes
from schema.codegen.plan import Plan, make_plan
from schema.codegen.units import UNITS, root_infos
from schema.errors import Problem, SchemaError
from schema.model.build import build, refuse_ambiguous
from schema.model.sources import Bundle, gather
from schema.runtime.judge import compile_bundle

__all__ = ["LoadedParts", "load_parts"]

_number = itertools.count()


class LoadedParts:
    """Parts made of a plan."""

    def __init__(self, bundle: Bundle, plan: Plan, judge: etree.XMLSchema) -> None:
        name = bundle.name
        self.name = name
        self.roots: tuple[RootInfo, ...] = root_infos(plan)
        self._plan = plan
        self._bundle = bundle
        self._judge: etree.XMLSchema | None = judge
        # A module, since msgspec looks up the names in annotations there. It lives as long as the process.
        module = ModuleType(f"schema.loaded.{name}_{next(_number)}")
        sys.modules[module.__name__] = module
        self._execute(classes.emit(plan, f"Classes of {name}."), "classes", module.__dict__)
        self.classes: Mapping[str, Any] = module.__dict__

    def _execute(self, source: str, what: str, scope: dict[str, Any]) -> None:
        exec(compile(source, f"<{self.name}: {what}>", "exec"), scope)

    def plan(self) -> Plan:
        """The plan."""
        return self._plan

    def judge(self) -> etree.XMLSchema:
        """libxml2's compiled schema: another one each time."""
        made, self._judge = self._judge, None
        return made if made is not None else compile_bundle(self._bundle)

    def unit(self, name: str) -> dict[str, Any]:
        """Makes one of the parts."""
        scope = {c.name: self.classes[c.name] for c in self._plan.classes if not c.abstract}
        self._execute(UNITS[name](self._plan), name, scope)
        return scope


def load_parts(
    source: str | os.PathLike[str] | bytes,
    *,
    roots: Iterable[str] | None = None,
    locations: Mapping[str, str | Path] | None = None,
    allow: Sequence[str | os.PathLike[str]] | None = None,
    unsafe_patterns: bool = False,
) -> LoadedParts:
    """Compiles; see ``schema.load``."""
    bundle = gather(source, locations=locations, allow=allow)
    components, judge = build(bundle)
    if not components.elements:
        message = "the schema declares no global element, so nothing could start a document"
        raise SchemaError([Problem("schema-unsupported", message, source=bundle.origin(bundle.main))])
    if not unsafe_patterns:
        refuse_ambiguous(components, bundle)
    return LoadedParts(bundle, make_plan(components, roots), judge)

"""What a Schema is made of: its parts, made on first use; its roots; the rules that go with it.

The parts come from ``Parts``: made on the spot by ``load`` (``schema/_load.py``), or imported from the package that
``evschema compile`` has written (``schema/_compiled.py``).
"""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar

from lxml import etree

from schema.errors import Problem, ValidationError
from schema.runtime.judge import MAX_BYTES, Judge
from schema.runtime.offload import begin

if TYPE_CHECKING:
    from schema.codegen.plan import Plan
    from schema.json.lua_schema import LuaSchema
    from schema.json.natural import Natural
    from schema.rules import RuleSet

__all__ = ["Base", "Parts", "RootInfo"]

MAX_ERRORS = 100
T = TypeVar("T")


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


class Base:
    """Parts, roots and rules of a ``Schema``."""

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

    def prepare(self) -> Self:
        """Makes what is needed for XML now, instead of on first use: for servers, before they serve. Returns itself."""
        self.judge.prepare()
        for name in ("xml_reader", "xml_reader_paced", "xml_writer", "xml_writer_paced"):
            self.unit(name)
        return self

    # --- rules ---------------------------------------------------------------------------------------------------

    def with_rules(self, *sets: RuleSet, context: Any = None, additional: Any = None) -> Self:
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

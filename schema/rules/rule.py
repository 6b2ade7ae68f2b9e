"""Rules declared in Python, and how they are run.

::

    rules = RuleSet("order")

    @rules.rule(at="total")
    def total_is_that_of_the_lines(order):
        expected = sum(line.price * line.qty for line in order.lines)
        return order.total == expected or f"the total is {order.total}, the lines make {expected}"

    @rules.rule(on="lines", each=True, at="qty", dependent=True)
    def in_stock(line, scope):
        return scope.context.stock[line.name] >= line.qty or "out of stock"

The order is that of schemarules: first all *independent* rules, whose faults are all collected; if there is none, the
*dependent* ones as they were declared, up to the first that is broken, since each may rely on those before it. A rule
set that is included in another one is a single rule of it. Nothing is shared between two runs, so rule sets may be used
from any thread or greenlet, and rules may wait for whatever they like.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias, TypeVar

import msgspec

from schema.errors import Problem, ValidationError
from schema.rules.fields import field_of, member_path
from schema.runtime.offload import pace

__all__ = ["Broken", "Check", "Rule", "RuleSet", "Scope"]


@dataclass(frozen=True, slots=True)
class Broken:
    """A broken rule. ``at`` is where, from what the rule is about (None: where the rule's own ``at`` says); so is
    ``code``.
    """

    message: str
    at: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Scope:
    """What a rule may know besides the value that it is about.

    ``obj`` is the object of the rule set, ``root`` that of the whole document; ``index`` counts from 0 where a rule is
    about each item of a list; ``path`` leads to the value; ``context`` and ``additional`` are what the caller gave.
    """

    value: Any
    obj: Any
    root: Any
    context: Any = None
    additional: Any = None
    index: int | None = None
    path: str = ""


Outcome: TypeAlias = "bool | str | Broken | Iterable[str | Broken] | None"
Check: TypeAlias = Callable[[Scope], Any]
F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule. ``of`` gives the value that it is about, ``path`` where that is; see ``RuleSet.rule`` for the rest."""

    name: str
    check: Check
    of: Check = lambda scope: scope.obj
    path: str = ""
    each: bool = False
    at: str = ""
    when: Check | None = None  # whether the rule applies at all
    which: Check | None = None  # to which items it applies
    dependent: bool = False
    code: str = "rule"
    message: str = ""
    nested: RuleSet | None = None
    additional: Check | None = None  # for the nested one


def _takes_scope(function: Callable[..., Any]) -> Check:
    """The function of a value, or of a value and a Scope, as one of a Scope."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in inspect.signature(function).parameters.values() if p.kind in kinds and p.default is p.empty]
    if len(needed) == 2:
        return lambda scope: function(scope.value, scope)
    if len(needed) == 1:
        return lambda scope: function(scope.value)
    raise TypeError(f"{function!r} takes {len(needed)} arguments; a rule takes the value, or the value and a Scope")


def _follow(steps: list[str]) -> Check:
    def of(scope: Scope) -> Any:
        value = scope.obj
        for step in steps:
            value = field_of(value, step)
        return value

    return of


@dataclass(slots=True)
class RuleSet:
    """Rules about one kind of object. ``root``: the only root element (Clark or local name) that they are about."""

    name: str = "rules"
    root: str | None = None
    rules: list[Rule] = field(default_factory=list)

    def rule(
        self,
        *,
        on: str = "",
        each: bool = False,
        at: str = "",
        when: Callable[..., object] | None = None,
        which: Callable[..., object] | None = None,
        dependent: bool = False,
        code: str = "rule",
        message: str = "",
    ) -> Callable[[F], F]:
        """A decorator for functions of the value, or of the value and a Scope.

        ``on`` leads to the value by field names (``"header.lines"``; by default the object itself); a rule whose value
        is absent is not run. ``each``: the value is a list and the rule about each item. ``at`` is the field at fault,
        from the value. ``when``, of the object like a rule, says whether the rule applies, ``which`` to which items.

        The function returns True or None where all is well; False (then ``message`` says what is wrong), a message, a
        Broken, or several of these as a list or generator where it is not. ``code`` is that of the Problem. What it
        raises is a fault of the program and goes through, with a note that names the rule.
        """

        def decorate(function: F) -> F:
            self.rules.append(
                Rule(
                    name=getattr(function, "__name__", "rule"),
                    check=_takes_scope(function),
                    of=_follow(on.split(".")) if on else lambda scope: scope.obj,
                    path=on,
                    each=each,
                    at=at,
                    when=None if when is None else _takes_scope(when),
                    which=None if which is None else _takes_scope(which),
                    dependent=dependent,
                    code=code,
                    message=message,
                )
            )
            return function

        return decorate

    def assertion(self, test: Callable[..., object], message: str, **options: Any) -> None:
        """A rule as an expression: ``rules.assertion(lambda o: o.start <= o.end, "ends before it starts", at="end")``.
        ``options`` are those of ``rule``.
        """
        self.rule(message=message, **options)(_truth(test))

    def include(self, other: RuleSet, *, on: str = "", each: bool = False, dependent: bool = False) -> None:
        """All rules of another set, about what ``on`` leads to."""
        of = _follow(on.split(".")) if on else lambda scope: scope.obj
        self.rules.append(
            Rule(other.name, lambda _: None, of, on, each=each, dependent=dependent, nested=other),
        )

    # --- running -------------------------------------------------------------------------------------------------

    def problems(self, value: Any, *, context: Any = None, additional: Any = None) -> list[Problem]:
        """Everything that is wrong with an object; the paths are those of its JSON (``lines[3].qty``)."""
        scope = Scope(value, value, value, context, additional)
        return list(self._run(scope))

    def check(self, value: Any, *, context: Any = None, additional: Any = None) -> None:
        """Raises ValidationError unless the object obeys all rules."""
        problems = self.problems(value, context=context, additional=additional)
        if problems:
            raise ValidationError(problems)

    def _run(self, scope: Scope) -> Iterator[Problem]:
        found = False
        for rule in self.rules:
            if not rule.dependent:
                for problem in self._apply(rule, scope):
                    found = True
                    yield problem
        for rule in self.rules:
            if found:
                return
            if rule.dependent:
                for problem in self._apply(rule, scope):
                    found = True
                    yield problem

    def _apply(self, rule: Rule, outer: Scope) -> Iterator[Problem]:
        path = outer.path
        try:
            if rule.when is not None and not rule.when(outer):
                return
            value = rule.of(outer)
            if value is None or value is msgspec.UNSET:
                return
            path = _join(path, member_path(outer.obj, rule.path))
            for scope in self._scopes(rule, outer, value, path):
                path = scope.path
                if rule.which is not None and not rule.which(scope):
                    continue
                if rule.nested is not None:
                    yield from rule.nested._run(scope)
                else:
                    yield from _outcome(rule, scope)
        except Exception as error:
            error.add_note(f"in rule {rule.name!r} of rule set {self.name!r}, at {path or 'the root'}")
            raise

    @staticmethod
    def _scopes(rule: Rule, outer: Scope, value: Any, path: str) -> Iterator[Scope]:
        def scope(one: Any, index: int | None, at: str) -> Scope:
            made = replace(outer, value=one, index=index, path=at)
            if rule.nested is None:
                return made
            additional = outer.additional if rule.additional is None else rule.additional(made)
            return replace(made, obj=one, additional=additional)

        if not rule.each:
            yield scope(value, outer.index, path)
            return
        for index, one in enumerate(pace(value)):
            if one is not None:
                yield scope(one, index, f"{path}[{index}]")


def _truth(test: Callable[..., object]) -> Callable[..., bool]:
    if len(inspect.signature(test).parameters) == 1:
        return lambda value: bool(test(value))
    return lambda value, scope: bool(test(value, scope))


def _outcome(rule: Rule, scope: Scope) -> Iterator[Problem]:
    result = rule.check(scope)
    if result is None or result is True:
        return
    if result is False:
        result = rule.message or f"the rule {rule.name!r} is broken"
    for one in [result] if isinstance(result, str | Broken) else result:
        broken = one if isinstance(one, Broken) else Broken(one)
        at = rule.at if broken.at is None else broken.at
        yield Problem(broken.code or rule.code, broken.message, _join(scope.path, member_path(scope.value, at)))


def _join(path: str, more: str) -> str:
    return f"{path}.{more}" if path and more and more[0] != "[" else path + more

"""Lines that are there only under a condition: ``#if``, ``#elif``, ``#else``, ``#endif``, each alone on its line.

::

    select * from item
    where true
    #if name
      and name = :name
    #elif prefix and len(prefix) > 2
      and name like :prefix
    #endif

The conditions are a small part of Python's expressions: names (the parameters; None when one is not given), constants,
``and``, ``or``, ``not``, comparisons, ``in``, ``is None``, ``len(...)``. They choose among texts that are there;
nothing that is given becomes part of the text.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from service_utils.sql.errors import SQLError

__all__ = ["Conditional", "conditional"]

_DIRECTIVE = re.compile(r"^[ \t]*#(if|elif|else|endif)\b[ \t]*(.*?)[ \t]*$", re.MULTILINE)
_COMPARE: dict[type[ast.cmpop], Any] = {
    ast.Eq: operator.eq, ast.NotEq: operator.ne, ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt,
    ast.GtE: operator.ge, ast.Is: operator.is_, ast.IsNot: operator.is_not, ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip


class _Condition:
    """One expression."""

    def __init__(self, text: str, line: int) -> None:
        self.text, self.line = text, line
        try:
            self.tree = ast.parse(text, mode="eval").body
        except SyntaxError:
            raise SQLError(f"line {line}: {text!r} is not a condition") from None
        self._check(self.tree)

    def _check(self, node: ast.expr) -> None:
        match node:
            case ast.Name() | ast.Constant():
                parts: list[ast.expr] = []
            case ast.BoolOp(values=parts) | ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
                pass
            case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
                parts = [operand]
            case ast.Compare(left=left, comparators=others):
                parts = [left, *others]
            case ast.Call(func=ast.Name(id="len"), args=[argument], keywords=[]):
                parts = [argument]
            case _:
                text = ast.unparse(node)
                raise SQLError(
                    f"line {self.line}: {text!r} cannot stand in a condition; see service_utils.sql.conditions"
                )
        for part in parts:
            self._check(part)

    def holds(self, given: Mapping[str, Any]) -> bool:
        try:
            return bool(_evaluate(self.tree, given))
        except TypeError as error:
            raise SQLError(f"line {self.line}: the condition {self.text!r} cannot be evaluated: {error}") from None


def _evaluate(node: ast.expr, given: Mapping[str, Any]) -> Any:
    match node:
        case ast.Name(id=name):
            return given.get(name)
        case ast.Constant(value=value):
            return value
        case ast.BoolOp(op=joined, values=parts):
            result: Any = None
            for part in parts:
                result = _evaluate(part, given)
                if bool(result) is isinstance(joined, ast.Or):
                    return result
            return result
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return not _evaluate(operand, given)
        case ast.UnaryOp(operand=operand):
            return -_evaluate(operand, given)
        case ast.Compare(left=left, ops=ops, comparators=others):
            before = _evaluate(left, given)
            for op, other in zip(ops, others, strict=True):
                after = _evaluate(other, given)
                if not _COMPARE[type(op)](before, after):
                    return False
                before = after
            return True
        case ast.Call(args=[argument]):
            return len(_evaluate(argument, given))
        case ast.Tuple(elts=parts) | ast.List(elts=parts) | ast.Set(elts=parts):
            return [_evaluate(part, given) for part in parts]
    raise AssertionError(ast.dump(node))


class Conditional:
    """A text with conditions. What is left out leaves empty lines, so that the lines keep their numbers."""

    def __init__(self, text: str) -> None:
        # A list of (conditions, text): it is there if all of them hold; each is (condition or None, wanted truth).
        self._pieces: list[tuple[tuple[tuple[_Condition, bool], ...], str]] = []
        outer: list[tuple[int, list[_Condition], bool]] = []  # line of the #if, conditions so far, whether #else was
        position = 0
        for match in _DIRECTIVE.finditer(text):
            self._add(outer, text[position : match.start()])
            position = match.end()
            word, rest = match.groups()
            line = text.count("\n", 0, match.start()) + 1
            if word in ("if", "elif") and not rest:
                raise SQLError(f"line {line}: #{word} needs a condition")
            if word == "if":
                outer.append((line, [_Condition(rest, line)], False))
                continue
            if not outer:
                raise SQLError(f"line {line}: #{word} without #if")
            begun, conditions, closed = outer[-1]
            if word == "endif":
                outer.pop()
            elif closed:
                raise SQLError(f"line {line}: #{word} after #else")
            elif word == "elif":
                conditions.append(_Condition(rest, line))
            else:
                outer[-1] = (begun, conditions, True)
        if outer:
            raise SQLError(f"line {outer[-1][0]}: #if without #endif")
        self._add(outer, text[position:])

    def _add(self, outer: list[tuple[int, list[_Condition], bool]], text: str) -> None:
        needed: list[tuple[_Condition, bool]] = []
        for _, conditions, closed in outer:
            needed += [(c, False) for c in (conditions if closed else conditions[:-1])]
            if not closed:
                needed.append((conditions[-1], True))
        self._pieces.append((tuple(needed), text))

    def choose(self, given: Mapping[str, Any]) -> str:
        """The text for these parameters."""
        known: dict[_Condition, bool] = {}

        def holds(condition: _Condition) -> bool:
            if condition not in known:
                known[condition] = condition.holds(given)
            return known[condition]

        return "".join(
            text if all(holds(condition) is wanted for condition, wanted in needed) else "\n" * text.count("\n")
            for needed, text in self._pieces
        )


@lru_cache(maxsize=1000)
def conditional(text: str) -> Conditional | None:
    """The conditions of a text; None when it has none."""
    return Conditional(text) if _DIRECTIVE.search(text) else None

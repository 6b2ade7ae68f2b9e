"""Expressions in rules that are written in XML: a part of Python that can look and compare, and do nothing else.

Names, fields (``obj.lines``), items, numbers, strings, arithmetic, comparisons, ``and``, ``or``, ``not``, ``x if c else
y``, comprehensions, and calls of the functions in ``FUNCTIONS``. No methods, no lambda, no names with an underscore in
front, so there is no way out of the objects at hand.

So that conditions of schemarules, which are Lua, mostly work as they are, ``nil``, ``true``, ``false`` and ``~=`` are
known, too, and so is ``obj._attr.name``. A field of something absent is absent, instead of an error.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from schema.rules.fields import field_of

__all__ = ["FUNCTIONS", "Expression", "compile_expression", "plain_path"]

FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs, "all": all, "any": any, "bool": bool, "int": int, "len": len, "max": max, "min": min, "round": round,
    "set": set, "sorted": sorted, "str": str, "sum": sum, "Decimal": Decimal,
}  # fmt: skip
_LUA = {"nil": None, "true": True, "false": False}
_ALLOWED = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Store, ast.Attribute, ast.Subscript, ast.Slice, ast.Tuple,
    ast.List, ast.Set, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add,
    ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt,
    ast.GtE, ast.Is, ast.IsNot, ast.In, ast.NotIn, ast.IfExp, ast.GeneratorExp, ast.ListComp, ast.SetComp,
    ast.comprehension, ast.Call,
)  # fmt: skip
_STRING = re.compile(r"('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\")", re.DOTALL)
_KEYWORD = re.compile(rf"\.\s*({'|'.join(keyword.kwlist)})\b")
_PATH = re.compile(r"\(*\s*obj((?:\.\w+)*)\s*\)*")

Expression = Callable[[Mapping[str, Any]], Any]


def _python(text: str) -> str:
    """What Lua writes otherwise, and fields whose names are Python's words (``obj.from``, a field called ``from_``)."""
    for lua, python in (("~=", "!="), ("._attr.", "."), ("._contained_value", ".value")):
        text = text.replace(lua, python)
    return _KEYWORD.sub(r".\1_", text)


class _Fields(ast.NodeTransformer):
    def visit_Attribute(self, node: ast.Attribute) -> ast.AST:
        inner = self.visit(node.value)
        call = ast.Call(ast.Name("_field", ast.Load()), [inner, ast.Constant(node.attr)], [])
        return ast.copy_location(call, node)


def compile_expression(text: str, names: frozenset[str]) -> Expression:
    """An expression as a function of the values of ``names``. Raises ValueError with what is wrong in it."""
    parts = _STRING.split(text.strip())
    source = "".join(part if number % 2 else _python(part) for number, part in enumerate(parts))
    try:
        tree = ast.parse(source, "<rule>", "eval")
    except SyntaxError as error:
        raise ValueError(f"{text!r} is no expression: {error.msg}") from None
    bound = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    known = names | bound | FUNCTIONS.keys() | _LUA.keys()
    for node in ast.walk(tree):
        if not isinstance(node, _ALLOWED):
            raise ValueError(f"{text!r}: {type(node).__name__} is not allowed in a rule's expression")
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and node.func.id in FUNCTIONS):
            raise ValueError(f"{text!r} may call only {', '.join(FUNCTIONS)}; say validation for anything else")
        if isinstance(node, ast.Name) and (node.id not in known or node.id.startswith("_")):
            raise ValueError(f"{text!r}: {node.id!r} is none of {', '.join(sorted(names | FUNCTIONS.keys()))}")
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            raise ValueError(f"{text!r}: {node.attr!r} is out of reach")
    code = compile(ast.fix_missing_locations(_Fields().visit(tree)), f"<rule: {text}>", "eval")
    fixed: dict[str, Any] = {"__builtins__": {}, "_field": field_of, **FUNCTIONS, **_LUA}
    return lambda values: eval(code, {**fixed, **values})


def plain_path(text: str) -> str | None:
    """``a.b`` for ``obj.a.b``, "" for ``obj``; None for any other expression."""
    found = _PATH.fullmatch(text.strip())
    return found[1].lstrip(".") if found else None

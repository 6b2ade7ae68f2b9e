"""A statement made ready for one kind of database: native text once, values for each call.

Values never become part of the text: what travels is the text with places in it, and beside it the values. Identifiers
do, quoted by the rules of the database, whatever they contain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from service_utils.sql.conditions import Conditional, conditional
from service_utils.sql.errors import SQLError
from service_utils.sql.lexer import Identifier, Piece, Value, ValueList, parameters
from service_utils.sql.macros import Macros

__all__ = ["DIALECTS", "ConditionalPlan", "Parameters", "Plan", "plan", "quote_identifier"]

Parameters = Mapping[str, Any] | Sequence[Any]
DIALECTS = ("sqlite", "postgresql", "mysql")
LISTS = (list, tuple, set, frozenset, range)
MOST_VALUES = {"sqlite": 32766, "postgresql": 65535, "mysql": 65535}  # of one statement


def quote_identifier(name: Any, dialect: str) -> str:
    """A name, or several that are joined by dots when it is a tuple. SQLError when it cannot be one."""
    if isinstance(name, tuple):
        return ".".join(quote_identifier(part, dialect) for part in name)
    if not isinstance(name, str) or not name or "\0" in name:
        raise SQLError(f"{name!r} is not a name: give text, or a tuple of texts for schema and table")
    quote = "`" if dialect == "mysql" else '"'
    return quote + name.replace(quote, quote + quote) + quote


class Plan:
    """A statement for one dialect.

    ``text`` and ``names`` are what there is to know when the text is the same for all values; else ``text`` is None.
    """

    __slots__ = ("dialect", "names", "pieces", "positional", "text")

    def __init__(self, pieces: Sequence[Piece], dialect: str) -> None:
        if dialect not in DIALECTS:
            raise SQLError(f"there is no dialect {dialect!r}; there are {', '.join(DIALECTS)}")
        self.dialect = dialect
        self.pieces = tuple(pieces)
        kinds = {isinstance(piece.name, int) for piece in pieces if not isinstance(piece, str)}
        if len(kinds) > 1:
            raise SQLError(f"the statement has both :name and ? parameters; use one kind{self._hint()}")
        self.positional = kinds == {True}
        self.text: str | None = None
        self.names: tuple[str | int, ...] = ()
        if all(isinstance(piece, str | Value) for piece in pieces):
            self.names, self.text = _static(self.pieces, dialect)

    def bind(self, given: Parameters | None) -> tuple[str, tuple[Any, ...]]:
        """Native text and values. SQLError for a parameter that is missing or makes no sense."""
        text = self.text
        if text is not None:
            if not self.names:
                if given and not isinstance(given, Mapping):
                    raise SQLError(f"{len(given)} values were given for a statement without parameters")
                return text, ()
            if self.positional:
                if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != len(self.names):
                    raise self._wrong_count(given)
                return text, tuple(given)
            try:
                return text, tuple([given[name] for name in self.names])  # type: ignore[index]
            except (KeyError, TypeError, IndexError):
                raise self._missing(given) from None
        return self._bind_slowly(given)

    def _bind_slowly(self, given: Parameters | None) -> tuple[str, tuple[Any, ...]]:
        if self.positional:
            places = sum(not isinstance(piece, str) for piece in self.pieces)
            if not isinstance(given, Sequence) or isinstance(given, str) or len(given) != places:
                raise self._wrong_count(given)
        out = _Out(self.dialect)
        for piece in self.pieces:
            if isinstance(piece, str):
                out.literal(piece)
                continue
            try:
                value = given[piece.name]  # type: ignore[index]
            except (KeyError, TypeError, IndexError):
                raise self._missing(given) from None
            if isinstance(piece, Identifier):
                out.literal(quote_identifier(value, self.dialect))
            elif isinstance(piece, ValueList) and isinstance(value, LISTS):
                out.list(value, piece.negated)
            elif isinstance(piece, ValueList):
                out.literal("(")
                out.value(None, value)
                out.literal(")")
            else:
                out.value(piece.name, value)
        if len(out.values) > MOST_VALUES[self.dialect]:
            raise SQLError(f"{len(out.values)} values; {self.dialect} takes {MOST_VALUES[self.dialect]} at most")
        return out.text(), tuple(out.values)

    def _missing(self, given: Any) -> SQLError:
        names = [piece.name for piece in self.pieces if not isinstance(piece, str)]
        if given is not None and not isinstance(given, Mapping):
            return SQLError(f"the parameters have names (:{names[0]}): give a dict, or keywords")
        known = given or {}
        lacking = [str(name) for name in dict.fromkeys(names) if name not in known]
        return SQLError(f"no value for the parameter {', '.join(lacking)}; given are {', '.join(known) or 'none'}")

    def _hint(self) -> str:
        return " (PostgreSQL's operator ? is written jsonb_exists(a, b))" if self.dialect == "postgresql" else ""

    def _wrong_count(self, given: Any) -> SQLError:
        n = sum(not isinstance(piece, str) for piece in self.pieces)
        if not isinstance(given, Sequence) or isinstance(given, str):
            return SQLError(
                f"the statement has {n} parameters by position (?): give a list or tuple of {n} values{self._hint()}"
            )
        return SQLError(f"the statement has {n} parameters (?), given are {len(given)} values")


class _Out:
    """Native text in the making."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.parts: list[tuple[bool, str]] = []  # (whether it is literal, text)
        self.values: list[Any] = []
        self.numbers: dict[str | int, int] = {}

    def literal(self, text: str) -> None:
        self.parts.append((True, text))

    def value(self, name: str | int | None, value: Any) -> None:
        if self.dialect == "mysql":
            self.values.append(value)
            self.parts.append((False, "%s"))
            return
        number = self.numbers.get(name) if name is not None else None
        if number is None:
            self.values.append(value)
            number = len(self.values)
            if name is not None:
                self.numbers[name] = number
        self.parts.append((False, f"${number}" if self.dialect == "postgresql" else f"?{number}"))

    def list(self, values: Any, negated: bool) -> None:
        if not len(values):
            # Nothing is in an empty list: false, and true after "not", never null.
            self.literal("(null) is not false" if negated else "(null) is true")
            return
        self.literal("(")
        for i, value in enumerate(values):
            if i:
                self.literal(", ")
            self.value(None, value)
        self.literal(")")

    def text(self) -> str:
        if self.dialect == "mysql" and self.values:  # the driver puts values in by %
            return "".join(text.replace("%", "%%") if literal else text for literal, text in self.parts)
        return "".join(text for _, text in self.parts)


def _static(pieces: Sequence[Piece], dialect: str) -> tuple[tuple[str | int, ...], str]:
    out = _Out(dialect)
    for piece in pieces:
        if isinstance(piece, str):
            out.literal(piece)
        else:
            out.value(piece.name, piece.name)
    return tuple(out.values), out.text()


class ConditionalPlan:
    """A statement whose text depends on its parameters by ``#if``. They have names."""

    __slots__ = ("_conditions", "_dialect", "_macros")
    text = None

    def __init__(self, conditions: Conditional, dialect: str, macros: Macros) -> None:
        self._conditions, self._dialect, self._macros = conditions, dialect, macros

    def bind(self, given: Parameters | None) -> tuple[str, tuple[Any, ...]]:
        """As Plan.bind, for the lines that are chosen."""
        if given is not None and not isinstance(given, Mapping):
            raise SQLError("a statement with #if has parameters by name: give a dict, or keywords")
        chosen = self._conditions.choose(given or {})
        return plan(chosen, self._dialect, self._macros).bind(given)


NO_MACROS = Macros()


@lru_cache(maxsize=2000)
def plan(text: str, dialect: str, macros: Macros = NO_MACROS) -> Plan | ConditionalPlan:
    """The plan for a text; those used last are remembered. SQLError when the text makes no sense."""
    if not isinstance(text, str):
        raise SQLError(f"a statement is text, not {type(text).__name__}: {text!r:.80}")
    if "#" in text and (conditions := conditional(text)) is not None:
        return ConditionalPlan(conditions, dialect, macros)
    return Plan(parameters(macros.expand(text, dialect), dialect), dialect)

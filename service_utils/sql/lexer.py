"""Where in a text of SQL the parameters are: not in strings, comments and quoted names, and not in PostgreSQL's casts.

* ``:name`` is a value, ``::name`` an identifier, ``?`` a value by position, ``??`` an identifier by position.
* ``::`` directly after an expression (word, closing bracket, quote, parameter) is PostgreSQL's cast: ``id::text``,
  ``:day::date``. After anything else, it is an identifier: ``from ::table``.
* ``in :ids`` and ``in (:ids)``, with nothing else between the brackets, take a list.
* Strings: ``'it''s'``, PostgreSQL's ``E'\\''``, ``$$...$$`` and ``$tag$...$tag$``, in MySQL also with backslashes and
  in double quotes. Comments: ``--`` to the end of the line, ``/* */`` (nested in PostgreSQL), in MySQL also ``#``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from service_utils.sql.errors import SQLError

__all__ = ["Identifier", "Piece", "Value", "ValueList", "parameters"]


@dataclass(frozen=True)
class Value:
    """A place for a value; ``name`` is a number when it is given by position."""

    name: str | int


@dataclass(frozen=True)
class ValueList:
    """A place for a list in brackets, after ``in``."""

    name: str | int
    negated: bool  # after "not in"


@dataclass(frozen=True)
class Identifier:
    """A place for a name of a table, a column ..."""

    name: str | int


Piece = str | Value | ValueList | Identifier

_TOKEN = re.compile(
    r"""
    (?P<line>--[^\n]*) | (?P<block>/\*) | (?P<hash>\#[^\n]*)
    | (?P<string>(?<![\w$])[eE]'|') | (?P<quoted>") | (?P<backtick>`[^`]*`) | (?P<bracket>\[[^\]\n:?]*\])
    | (?P<dollar>(?<![\w$])\$(?:[A-Za-z_]\w*)?\$)
    | (?P<colons>::) (?P<identifier>[A-Za-z_]\w*)? | (?<![\w:]):(?P<value>[A-Za-z_]\w*) | (?P<mark>\?\??)
    """,
    re.VERBOSE,
)
_IN = re.compile(r"\b(not\s+)?in\s*(\(\s*)?\Z", re.IGNORECASE)
_CLOSING = re.compile(r"\s*\)")
_ENDS_EXPRESSION = re.compile(r"[\w)\]'\"`$]\Z")


def parameters(text: str, dialect: str = "") -> list[Piece]:
    """The text in pieces; parameters stand between them. SQLError for a string or comment without an end."""
    pieces: list[Piece] = []
    start = position = marks = 0
    after_parameter = False
    while (match := _TOKEN.search(text, position)) is not None:
        kind = match.lastgroup
        at, position = match.span()
        name: str | int | None = None
        if kind in ("line", "bracket", "backtick"):
            continue
        if kind == "hash":
            if dialect != "mysql":
                position = at + 1
            continue
        if kind == "block":
            position = _end_of_comment(text, at, nested=dialect == "postgresql")
            continue
        if kind in ("string", "quoted"):
            quote = match.group()[-1]
            escapes = len(match.group()) > 1 or dialect == "mysql"
            position = _end_of_string(text, match.end(), quote, escapes, at)
            continue
        if kind == "dollar":
            if dialect != "mysql":
                position = _end_of_dollar(text, match.end(), match.group(), at)
            continue
        if kind in ("colons", "identifier"):
            cast = (at == start and after_parameter) or _ENDS_EXPRESSION.search(text, 0, at)
            if kind == "colons" or cast:
                continue
            name, make = match.group("identifier"), Identifier
        elif kind == "value":
            name, make = match.group("value"), Value  # type: ignore[assignment]
        else:
            name, make = marks, Identifier if match.group() == "??" else Value  # type: ignore[assignment]
            marks += 1
        before = text[start:at]
        piece: Piece = make(name)
        if isinstance(piece, Value) and (found := _IN.search(before)):
            closing = _CLOSING.match(text, position) if found.group(2) else None
            if closing or not found.group(2):
                before = before[: found.start(2)] if closing else before
                position = closing.end() if closing else position
                piece = ValueList(name, bool(found.group(1)))
        if before:
            pieces.append(before)
        pieces.append(piece)
        start, after_parameter = position, True
    if start < len(text):
        pieces.append(text[start:])
    return pieces


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _end_of_string(text: str, position: int, quote: str, escapes: bool, at: int) -> int:
    while position < len(text):
        character = text[position]
        if character == "\\" and escapes:
            position += 2
        elif character == quote:
            if text.startswith(quote, position + 1):
                position += 2
            else:
                return position + 1
        else:
            position += 1
    raise SQLError(f"line {_line(text, at)}: the text that begins with {text[at : at + 20]!r} has no end")


def _end_of_comment(text: str, at: int, nested: bool) -> int:
    depth, position = 1, at + 2
    for match in re.compile(r"/\*|\*/").finditer(text, position):
        if match.group() == "*/":
            depth -= 1
        elif nested:
            depth += 1
        if not depth:
            return match.end()
    raise SQLError(f"line {_line(text, at)}: the comment that begins with {text[at : at + 20]!r} has no end")


def _end_of_dollar(text: str, position: int, tag: str, at: int) -> int:
    end = text.find(tag, position)
    if end < 0:
        raise SQLError(f"line {_line(text, at)}: the text that begins with {text[at : at + 20]!r} has no end")
    return end + len(tag)

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

__all__ = ["Identifier", "Piece", "Value", "ValueList", "next_token", "parameters"]


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
    | (?P<string>(?<![\w$])[eE]'|') | (?P<quoted>") | (?P<backtick>`[^`]*`) | (?P<bracket>\[[^\]]*\])
    | (?P<dollar>(?<![\w$])\$(?:[A-Za-z_]\w*)?\$) | (?<![\w$])\$(?P<macro>[A-Za-z_]\w*)
    | (?P<colons>::) (?P<identifier>[A-Za-z_]\w*)? | (?<![\w:]):(?P<value>[A-Za-z_]\w*) | (?P<mark>\?\??)
    """,
    re.VERBOSE,
)
# Elsewhere they are operators, or what stands in them is read as everything else: PostgreSQL's arrays.
_WHERE = {
    "hash": ("mysql",), "dollar": ("postgresql", "sqlite"), "backtick": ("mysql", "sqlite"), "bracket": ("sqlite",),
}  # fmt: skip
_NO_COMMENT = re.compile(r"--(?![\s\0-\x1f]|\Z)")  # in MySQL: 5--1
_IN = re.compile(r"\b(not\s+)?in\s*(\(\s*)?\Z", re.IGNORECASE)
_CLOSING = re.compile(r"\s*\)")
_ENDS_EXPRESSION = re.compile(r"[\w)\]'\"`$]\Z")


Token = tuple[str, int, int, str]  # kind, begin, end, name


def next_token(text: str, position: int, dialect: str) -> Token | None:
    """The next place where something other than plain text begins: what it is, where it ends, and its name if it has
    one.

    Kinds: "skip" (a string, a comment, a quoted name), "value", "colons" (``::`` without a name), "identifier", "mark"
    (``?``, ``??``), "macro" (``$name``).
    """
    while (match := _TOKEN.search(text, position)) is not None:
        kind = str(match.lastgroup)
        at, end = match.span()
        if dialect not in _WHERE.get(kind, (dialect,)) or (dialect == "mysql" and _NO_COMMENT.match(text, at)):
            position = at + 1  # means nothing here
        elif kind in ("line", "bracket", "backtick", "hash"):
            return "skip", at, end, ""
        elif kind == "block":
            return "skip", at, _end_of_comment(text, at, nested=dialect == "postgresql"), ""
        elif kind in ("string", "quoted"):
            escapes = len(match.group()) > 1 or dialect == "mysql"
            return "skip", at, _end_of_string(text, end, match.group()[-1], escapes, at), ""
        elif kind == "dollar":
            return "skip", at, _end_of_dollar(text, end, match.group(), at), ""
        elif kind == "mark":
            return kind, at, end, match.group()
        else:
            return kind, at, end, match.group(kind) if kind != "colons" else ""
    return None


def parameters(text: str, dialect: str = "") -> list[Piece]:
    """The text in pieces; parameters stand between them. SQLError for a string or comment without an end."""
    pieces: list[Piece] = []
    start = position = marks = 0
    after_parameter = False
    while (token := next_token(text, position, dialect)) is not None:
        kind, at, position, name = token
        if kind in ("skip", "colons"):
            continue
        if kind == "macro":
            raise SQLError(f"line {_line(text, at)}: there are no macros here, but ${name}")
        piece: Piece
        if kind == "identifier":
            if (at == start and after_parameter) or _ENDS_EXPRESSION.search(text, 0, at):
                continue  # a cast
            piece = Identifier(name)
        elif kind == "value":
            piece = Value(name)
        else:
            piece = Identifier(marks) if name == "??" else Value(marks)
            marks += 1
        before = text[start:at]
        if isinstance(piece, Value) and (found := _IN.search(before)):
            closing = _CLOSING.match(text, position) if found.group(2) else None
            if closing or not found.group(2):
                before = before[: found.start(2)] if closing else before
                position = closing.end() if closing else position
                piece = ValueList(piece.name, bool(found.group(1)))
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

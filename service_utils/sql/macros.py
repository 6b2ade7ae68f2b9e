"""Pieces of SQL with a name: fragments (``$active``) and macros with arguments (``$between(price, :low, :high)``).

::

    macros = Macros({"active": "not deleted and state = '1'", "like(column, text)": "lower($column) like lower($text)"})

Arguments are text of the statement itself, put in place of ``$column`` and ``$text`` as they stand; they may contain
parameters. Macros may use others. Both are written by whoever writes the program: what is given for parameters never
gets here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from service_utils.sql.errors import SQLError
from service_utils.sql.lexer import next_token

__all__ = ["Macros"]

_HEADER = re.compile(r"\s*([A-Za-z_]\w*)\s*(?:\(\s*((?:[A-Za-z_]\w*\s*(?:,\s*[A-Za-z_]\w*\s*)*)?)\))?\s*\Z")
DEEPEST = 20


class Macros:
    """Named pieces: ``{"name": text}`` or ``{"name(argument, ...)": text}``. They cannot be changed afterwards."""

    def __init__(self, pieces: Mapping[str, str] | None = None) -> None:
        self._pieces: dict[str, tuple[tuple[str, ...] | None, str]] = {}
        for header, text in (pieces or {}).items():
            match = _HEADER.match(header)
            if match is None:
                raise SQLError(f"{header!r} is not the name of a macro: write name or name(argument, ...)")
            name, arguments = match.groups()
            if name in self._pieces:
                raise SQLError(f"the macro ${name} is defined twice")
            names = None if arguments is None else tuple(a.strip() for a in arguments.split(",") if a.strip())
            self._pieces[name] = (names, text)

    def __or__(self, other: Macros) -> Macros:
        """Those of both; the second one's where names are the same."""
        both = Macros()
        both._pieces = self._pieces | other._pieces
        return both

    def expand(self, text: str, dialect: str) -> str:
        """The text with its macros replaced. SQLError for one that is not known or not used as it is defined."""
        return self._expand(text, dialect, {}, ()) if "$" in text else text

    def _expand(self, text: str, dialect: str, arguments: Mapping[str, str], within: tuple[str, ...]) -> str:
        out: list[str] = []
        start = position = 0
        while (token := next_token(text, position, dialect)) is not None:
            kind, at, position, value = token
            if kind != "macro":
                continue
            out.append(text[start:at])
            if value in arguments:
                out.append(arguments[value])
            else:
                replacement, position = self._call(text, value, at, position, dialect, arguments, within)
                out.append(replacement)
            start = position
        out.append(text[start:])
        return "".join(out)

    def _call(
        self, text: str, name: str, at: int, position: int, dialect: str, outer: Mapping[str, str],
        within: tuple[str, ...],
    ) -> tuple[str, int]:  # fmt: skip
        line = text.count("\n", 0, at) + 1
        if name not in self._pieces:
            known = ", ".join(f"${known}" for known in self._pieces) or "none"
            raise SQLError(f"line {line}: there is no macro ${name}; there are {known}")
        if name in within or len(within) >= DEEPEST:
            raise SQLError(f"the macro ${name} uses itself: {' -> '.join((*within, name))}")
        names, body = self._pieces[name]
        if names is None:
            return self._expand(body, dialect, {}, (*within, name)), position
        if not text.startswith("(", position):
            raise SQLError(f"line {line}: ${name} needs its arguments: ${name}({', '.join(names)})")
        given, position = _arguments(text, position + 1, dialect, line, name)
        if len(given) != len(names):
            raise SQLError(
                f"line {line}: ${name} has {len(names)} arguments ({', '.join(names)}), {len(given)} are given"
            )
        given = [self._expand(argument, dialect, outer, within) for argument in given]
        return self._expand(body, dialect, dict(zip(names, given, strict=True)), (*within, name)), position


def _arguments(text: str, position: int, dialect: str, line: int, name: str) -> tuple[list[str], int]:
    """Texts between commas, up to the bracket that closes; what is in strings and brackets does not count."""
    found: list[str] = []
    start, depth = position, 0
    while position < len(text):
        token = next_token(text, position, dialect)
        end = token[1] if token is not None else len(text)
        for i in range(position, end):
            character = text[i]
            if character in "([":
                depth += 1
            elif character in ")]" and depth:
                depth -= 1
            elif character == ")":
                last = text[start:i].strip()
                return [*found, last] if last or found else [], i + 1
            elif character == "," and not depth:
                found.append(text[start:i].strip())
                start = i + 1
        position = token[2] if token is not None else end
    raise SQLError(f"line {line}: the arguments of ${name} have no closing bracket")

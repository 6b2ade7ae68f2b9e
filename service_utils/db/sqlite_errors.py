"""What the sqlite3 module raises, as the errors of all engines."""

from __future__ import annotations

import re
import sqlite3

from service_utils.db.errors import DatabaseError, error_for

__all__ = ["translated"]

# https://www.sqlite.org/rescode.html to SQLSTATE; extended codes first, then the primary ones (the lowest 8 bits).
_STATES = {
    2067: "23505", 1555: "23505", 2579: "23505", 787: "23503", 1811: "23503", 1299: "23502", 275: "23514", 3091:
    "22000", 517: "40001", 5: "55P03", 6: "55P03", 8: "25006", 9: "57014", 11: "XX001", 13: "53100", 14: "08001", 18:
    "22001", 19: "23000", 20: "22000", 23: "42501", 25: "22023", 26: "08001", 3: "42501", 10: "58030",
}  # fmt: skip
# An SQLITE_ERROR (1) is told apart by SQLite's own texts, which are English everywhere.
_TEXTS = (
    (re.compile(r"no such table: (?P<table>.*)"), "42P01"),
    (re.compile(r"(no such column: |has no column named )(?P<column>.*)"), "42703"),
    (re.compile(r"syntax error|incomplete input|unrecognized token"), "42601"),
    (re.compile(r"table (?P<table>.*) already exists"), "42P07"),
    (re.compile(r"one statement at a time|contains a null character"), "42601"),
    (re.compile(r"type '.*' is not supported"), "22023"),
)
_CONSTRAINT = re.compile(
    r"constraint failed: (?:index '(?P<index>[^']*)'|(?P<table>[^.,]*)\.(?P<column>[^,]*)|(?P<name>.*))"
)


def translated(error: sqlite3.Error | OverflowError | UnicodeEncodeError) -> DatabaseError:
    if not isinstance(error, sqlite3.Error):  # a value that SQLite has no place for
        return error_for("22003" if isinstance(error, OverflowError) else "22021", str(error), "sqlite")
    code = getattr(error, "sqlite_errorcode", None) or 0
    state = _STATES.get(code) or _STATES.get(code & 0xFF, "")
    message = str(error)
    found: dict[str, str | None] = {}
    if code & 0xFF == 19 and (match := _CONSTRAINT.search(message)):
        groups = match.groupdict()
        found = {"table": groups["table"], "column": groups["column"], "constraint": groups["index"] or groups["name"]}
    elif not state:
        for pattern, its in _TEXTS:
            if match := pattern.search(message):
                state, found = its, match.groupdict()
                break
        else:
            state = "42000" if code == 1 else "HY000"
    return error_for(state, message, "sqlite", **found)

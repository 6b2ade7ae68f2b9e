"""The errors of databases: one tree by SQLSTATE, the same for all engines.

::

    EvpyError
    └── DatabaseError              sqlstate, engine, constraint, table, column; the driver's error is its __cause__
        ├── ConnectionLost         08xxx 57P01 57P02 57P03   broken, or never made; what was under way may have happened
        │   ├── CannotConnect      08001 08004 3D000   also an HTTPError: 503
        │   └── TooManyConnections 53300               also an HTTPError: 503
        ├── AuthenticationFailed   28xxx
        ├── IntegrityError         23xxx
        │   ├── UniqueViolation       23505
        │   ├── ForeignKeyViolation   23503
        │   ├── NotNullViolation      23502
        │   ├── CheckViolation        23514
        │   └── ExclusionViolation    23P01
        ├── DataError              22xxx   a value does not fit
        ├── StatementError         42xxx 0A000   the statement is wrong
        │   ├── SyntaxError           42601
        │   ├── UndefinedTable        42P01
        │   ├── UndefinedColumn       42703
        │   ├── DuplicateTable        42P07
        │   └── InsufficientPrivilege 42501
        ├── TransactionRollback    40xxx   all of it may be run again: see ``retry``
        │   ├── SerializationFailure  40001
        │   └── DeadlockDetected      40P01
        ├── StatementTimeout       57014
        ├── LockTimeout            55P03
        ├── ReadOnlyViolation      25006
        ├── TransactionAborted     25P02   an earlier error has ended it; also: commit was asked for after that
        ├── RowError               (none)  NoRow, TooManyRows, RowMismatch: the answer is not what was expected
        └── MisuseError            (none)  TransactionOver, ConcurrentUse: the caller's mistake

Codes: PostgreSQL's documentation, appendix A; those of the other engines are translated (``sqlite_errors.py``,
``mysql_errors.py``).
"""

from __future__ import annotations

from typing import ClassVar

from evpy.errors import EvpyError, HTTPError

__all__ = [
    "AuthenticationFailed",
    "CannotConnect",
    "CheckViolation",
    "ConcurrentUse",
    "ConnectionLost",
    "DataError",
    "DatabaseError",
    "DeadlockDetected",
    "DuplicateTable",
    "ExclusionViolation",
    "ForeignKeyViolation",
    "InsufficientPrivilege",
    "IntegrityError",
    "LockTimeout",
    "MisuseError",
    "NoRow",
    "NotNullViolation",
    "ReadOnlyViolation",
    "RowError",
    "RowMismatch",
    "SerializationFailure",
    "StatementError",
    "StatementTimeout",
    "SyntaxError",
    "TooManyConnections",
    "TooManyRows",
    "TransactionAborted",
    "TransactionOver",
    "TransactionRollback",
    "UndefinedColumn",
    "UndefinedTable",
    "UniqueViolation",
    "error_for",
]


class DatabaseError(EvpyError):
    """Whatever a database, or the way to it, has to complain about."""

    codes: ClassVar[tuple[str, ...]] = ()  # SQLSTATEs, or their first two characters
    sqlstate: str = ""
    engine: str = ""
    constraint: str | None = None
    table: str | None = None
    column: str | None = None


class ConnectionLost(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("08", "57P01", "57P02", "57P03", "57P05")


class _Unavailable(HTTPError):
    """Nobody's fault who has asked: a handler that does not catch it answers 503. Its text is for the log alone."""

    def __init__(self, explanation: str) -> None:
        HTTPError.__init__(self, 503, "busy, try again later", {"Retry-After": "1"})
        self.args = (explanation,)

    def __str__(self) -> str:
        return str(self.args[0])


class CannotConnect(ConnectionLost, _Unavailable):
    codes: ClassVar[tuple[str, ...]] = ("08001", "08004", "3D000")


class TooManyConnections(ConnectionLost, _Unavailable):
    codes: ClassVar[tuple[str, ...]] = ("53300",)


class AuthenticationFailed(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("28",)


class IntegrityError(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("23",)


class UniqueViolation(IntegrityError):
    codes: ClassVar[tuple[str, ...]] = ("23505",)


class ForeignKeyViolation(IntegrityError):
    codes: ClassVar[tuple[str, ...]] = ("23503",)


class NotNullViolation(IntegrityError):
    codes: ClassVar[tuple[str, ...]] = ("23502",)


class CheckViolation(IntegrityError):
    codes: ClassVar[tuple[str, ...]] = ("23514",)


class ExclusionViolation(IntegrityError):
    codes: ClassVar[tuple[str, ...]] = ("23P01",)


class DataError(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("22",)


class StatementError(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("42", "0A")


class SyntaxError(StatementError):
    codes: ClassVar[tuple[str, ...]] = ("42601",)


class UndefinedTable(StatementError):
    codes: ClassVar[tuple[str, ...]] = ("42P01",)


class UndefinedColumn(StatementError):
    codes: ClassVar[tuple[str, ...]] = ("42703",)


class DuplicateTable(StatementError):
    codes: ClassVar[tuple[str, ...]] = ("42P07",)


class InsufficientPrivilege(StatementError):
    codes: ClassVar[tuple[str, ...]] = ("42501",)


class TransactionRollback(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("40",)


class SerializationFailure(TransactionRollback):
    codes: ClassVar[tuple[str, ...]] = ("40001",)


class DeadlockDetected(TransactionRollback):
    codes: ClassVar[tuple[str, ...]] = ("40P01",)


class StatementTimeout(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("57014",)


class LockTimeout(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("55P03",)


class ReadOnlyViolation(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("25006",)


class TransactionAborted(DatabaseError):
    codes: ClassVar[tuple[str, ...]] = ("25P02",)


class RowError(DatabaseError):
    """The answer is not what was expected."""


class NoRow(RowError):
    """One row was expected."""


class TooManyRows(RowError):
    """One row was expected."""


class RowMismatch(RowError):
    """The columns or values of a row do not fit the class that was asked for."""


class MisuseError(DatabaseError):
    """A mistake of the caller, found before the database was asked."""


class TransactionOver(MisuseError):
    """It was committed or rolled back before."""


class ConcurrentUse(MisuseError):
    """Two greenlets or threads use one transaction at the same time."""


def _all(kind: type[DatabaseError]) -> list[type[DatabaseError]]:
    return [kind, *(below for sub in kind.__subclasses__() for below in _all(sub))]


_BY_CODE = {code: kind for kind in _all(DatabaseError) for code in kind.codes}


def error_for(
    sqlstate: str, message: str, engine: str, *, constraint: str | None = None, table: str | None = None,
    column: str | None = None,
) -> DatabaseError:  # fmt: skip
    """The error for an SQLSTATE; its class by the whole code, else by the first two characters."""
    kind = _BY_CODE.get(sqlstate) or _BY_CODE.get(sqlstate[:2]) or DatabaseError
    error = kind(f"{message} [{sqlstate}]" if sqlstate else message)
    error.sqlstate, error.engine = sqlstate, engine
    error.constraint, error.table, error.column = constraint, table, column
    return error

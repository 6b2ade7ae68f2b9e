"""What one can ask a database, and a transaction in the same words."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, overload

from service_utils.db.errors import NoRow, RowError, TooManyRows
from service_utils.db.explain import explaining, table
from service_utils.db.rows import Result, make_rows
from service_utils.sql import Macros, SQLError
from service_utils.sql.plans import Parameters, plan

__all__ = ["Queries"]

T = TypeVar("T")


class Queries(ABC):
    """Statements with parameters by name (``:name``; ``::name`` for identifiers) or by position (``?``).

    Parameters are given as keywords, as one dict, or as one list or tuple for those by position. ``into`` says what
    rows become: ``dict``, ``tuple``, a dataclass, a ``msgspec.Struct``, or a function of the columns. Errors:
    ``SQLError`` for parameters that do not fit the text, ``DatabaseError`` (see errors.py) for everything else.
    """

    dialect: str
    macros: Macros

    @abstractmethod
    def _run(self, text: str, values: Sequence[Any]) -> Result: ...
    @abstractmethod
    def _run_many(self, text: str, values: Iterable[Sequence[Any]]) -> int: ...
    @abstractmethod
    def _run_together(self, text: str, values: Sequence[Sequence[Any]]) -> list[Result]: ...
    @abstractmethod
    def _copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> int: ...
    @abstractmethod
    def _copy_out(self, text: str) -> Iterator[bytes]: ...
    @abstractmethod
    def _stream(self, text: str, values: Sequence[Any], batch: int) -> Iterator[Result]: ...

    @overload
    def query(
        self, sql: str, params: Parameters | None = None, /, *, into: Callable[..., T], **named: Any
    ) -> list[T]: ...
    @overload
    def query(self, sql: str, params: Parameters | None = None, /, **named: Any) -> list[dict[str, Any]]: ...
    def query(self, sql: str, params: Parameters | None = None, /, *, into: Any = dict, **named: Any) -> list[Any]:
        """All rows."""
        text, values = plan(sql, self.dialect, self.macros).bind(params if not named else _only(params, named))
        result = self._run(text, values)
        return make_rows(into, result.columns, result.rows)

    def execute(self, sql: str, params: Parameters | None = None, /, **named: Any) -> int:
        """How many rows were changed (or, for a query, found); -1 where that means nothing."""
        text, values = plan(sql, self.dialect, self.macros).bind(params if not named else _only(params, named))
        return self._run(text, values).affected

    @overload
    def first(
        self, sql: str, params: Parameters | None = None, /, *, into: Callable[..., T], **named: Any
    ) -> T | None: ...
    @overload
    def first(self, sql: str, params: Parameters | None = None, /, **named: Any) -> dict[str, Any] | None: ...
    def first(self, sql: str, params: Parameters | None = None, /, *, into: Any = dict, **named: Any) -> Any:
        """The first row, or None."""
        rows = self.query(sql, params, into=into, **named)
        return rows[0] if rows else None

    @overload
    def one(self, sql: str, params: Parameters | None = None, /, *, into: Callable[..., T], **named: Any) -> T: ...
    @overload
    def one(self, sql: str, params: Parameters | None = None, /, **named: Any) -> dict[str, Any]: ...
    def one(self, sql: str, params: Parameters | None = None, /, *, into: Any = dict, **named: Any) -> Any:
        """The only row; NoRow or TooManyRows."""
        rows = self.query(sql, params, into=into, **named)
        if len(rows) != 1:
            kind = TooManyRows if rows else NoRow
            raise kind(f"one row was expected, there are {len(rows) or 'none'}: {_short(sql)}")
        return rows[0]

    def value(self, sql: str, params: Parameters | None = None, /, **named: Any) -> Any:
        """The only column of the only row; NoRow, TooManyRows, or RowError for more columns."""
        row = self.one(sql, params, into=tuple, **named)
        if len(row) != 1:
            raise RowError(f"one column was expected, there are {len(row)}: {_short(sql)}")
        return row[0]

    def execute_many(self, sql: str, rows: Iterable[Parameters], /) -> int:
        """The same statement for each of the rows, in as few round trips as the engine allows; all or none in SQLite.

        How many rows were changed. No lists and no identifiers as parameters.
        """
        made = plan(sql, self.dialect, self.macros)
        if made.text is None:
            raise RowError("execute_many takes values alone; neither lists (in :names) nor identifiers (::name)")
        return self._run_many(made.text, (made.bind(row)[1] for row in rows))

    def query_many(self, sql: str, params: Sequence[Parameters], /, *, into: Any = dict) -> list[list[Any]]:
        """The rows of the same query for each set of parameters; in one round trip with PostgreSQL."""
        made = plan(sql, self.dialect, self.macros)
        if made.text is None:
            raise RowError("query_many takes values alone; neither lists (in :names) nor identifiers (::name)")
        results = self._run_together(made.text, [made.bind(each)[1] for each in params])
        return [make_rows(into, result.columns, result.rows) for result in results]

    @overload
    def stream(
        self, sql: str, params: Parameters | None = None, /, *, into: Callable[..., T], batch: int = 1000, **named: Any
    ) -> Iterator[T]: ...
    @overload
    def stream(
        self, sql: str, params: Parameters | None = None, /, *, batch: int = 1000, **named: Any
    ) -> Iterator[dict[str, Any]]: ...
    def stream(
        self, sql: str, params: Parameters | None = None, /, *, into: Any = dict, batch: int = 1000, **named: Any
    ) -> Iterator[Any]:
        """Row by row, ``batch`` of them in memory at a time."""
        text, values = plan(sql, self.dialect, self.macros).bind(params if not named else _only(params, named))
        for result in self._stream(text, values, batch):
            yield from make_rows(into, result.columns, result.rows)

    def copy_in(self, table: str | tuple[str, ...], columns: Sequence[str], rows: Iterable[Sequence[Any]], /) -> int:
        """Many rows into a table, each with the values of ``columns`` in their order; how many.

        By COPY in PostgreSQL, by statements with a thousand rows each elsewhere.
        """
        return self._copy_in(table, columns, rows)

    def copy_out(self, sql: str, /) -> Iterator[bytes]:
        """What ``copy ... to stdout`` gives, piece by piece. PostgreSQL alone. No parameters, by PostgreSQL's rules."""
        return self._copy_out(sql)

    def explain(self, sql: str, params: Parameters | None = None, /, *, analyze: bool = False, **named: Any) -> str:
        """How the database would do it, in its own words; with ``analyze`` it is done (not in SQLite), and measured."""
        text, values = plan(sql, self.dialect, self.macros).bind(params if not named else _only(params, named))
        result = self._run(explaining(text, self.dialect, analyze), values)
        return table(result.columns or (), result.rows)

    def insert(self, table: str | tuple[str, ...], row: Mapping[str, Any], /) -> int:
        """Inserts one row, given by column."""
        names = list(row)
        if not names:
            raise RowError(f"insert into {table!r}: the row has no columns")
        columns = ", ".join(f"::c{i}" for i in range(len(names)))
        places = ", ".join(f":v{i}" for i in range(len(names)))
        given = {
            "table": table,
            **{f"c{i}": n for i, n in enumerate(names)},
            **{f"v{i}": row[n] for i, n in enumerate(names)},
        }
        return self.execute(f"insert into ::table ({columns}) values ({places})", given)


def _only(params: Parameters | None, named: Mapping[str, Any]) -> Mapping[str, Any]:
    if params is not None:
        raise SQLError(f"parameters are given twice: beside the first ones there is {next(iter(named))}=")
    return named


def _short(sql: str) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= 80 else text[:77] + "..."

"""What rows become: dicts, tuples, dataclasses, msgspec Structs, or whatever a function makes of the columns."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from service_utils.db.errors import RowMismatch

__all__ = ["Result", "make_rows"]

Row = tuple[Any, ...]


class Result:
    """An answer: names of the columns (none: the statement has no rows), the rows, and how many were affected."""

    __slots__ = ("affected", "columns", "rows")

    def __init__(self, columns: tuple[str, ...] | None, rows: list[Row], affected: int) -> None:
        self.columns = columns
        self.rows = rows
        self.affected = affected


def make_rows(into: Any, columns: tuple[str, ...] | None, rows: Sequence[Row]) -> list[Any]:
    """Rows as ``into``: dict, tuple, a dataclass, a Struct, or a function of the columns by name.

    RowMismatch when columns are missing, unknown to the class, or twice; for Structs also when a value is of another
    type.
    """
    if columns is None:
        return []
    if into is dict:
        if len(_unique(columns)) == 2:
            a, b = columns
            return [{a: x, b: y} for x, y in rows]  # the usual short row, a little faster
        return [dict(zip(columns, row)) for row in rows]  # noqa: B905 - as long as the columns, by the protocol
    if into is tuple:
        return list(rows)
    return _maker(into, columns)(rows)


@lru_cache(maxsize=1000)
def _unique(columns: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(columns)) < len(columns):
        twice = next(name for name in columns if columns.count(name) > 1)
        raise RowMismatch(
            f"the column {twice!r} is there twice: give one of them another name with AS, or ask for tuples"
        )
    return columns


@lru_cache(maxsize=1000)
def _maker(into: Any, columns: tuple[str, ...]) -> Callable[[Sequence[Row]], list[Any]]:
    _unique(columns)
    if isinstance(into, type) and issubclass(into, msgspec.Struct):
        return _struct_maker(into, columns)
    if isinstance(into, type) and dataclasses.is_dataclass(into):
        fields = {f.name: f for f in dataclasses.fields(into) if f.init}
        required = [
            f.name for f in fields.values()
            if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        ]  # fmt: skip
        _compare(into.__qualname__, columns, list(fields), required)
        positional = [f.name for f in fields.values() if not f.kw_only]
        if list(columns) == positional[: len(columns)]:
            return lambda rows: [into(*row) for row in rows]
    elif not callable(into):
        raise RowMismatch(f"into={into!r}: give dict, tuple, a dataclass, a msgspec.Struct or a function")
    return lambda rows: [into(**dict(zip(columns, row))) for row in rows]  # noqa: B905


def _struct_maker(into: Any, columns: tuple[str, ...]) -> Callable[[Sequence[Row]], list[Any]]:
    info = msgspec.structs.fields(into)
    required = [f.encode_name for f in info if f.required]
    _compare(into.__qualname__, columns, [f.encode_name for f in info], required)
    convert = msgspec.convert

    def make(rows: Sequence[Row]) -> list[Any]:
        try:
            # Not strict: SQLite has 0 and 1 for booleans, and text for dates.
            return [convert(dict(zip(columns, row)), into, strict=False) for row in rows]  # noqa: B905
        except msgspec.ValidationError as error:
            raise RowMismatch(f"{into.__qualname__}: {error}") from None

    return make


def _compare(name: str, columns: Sequence[str], known: Sequence[str], required: Sequence[str]) -> None:
    if strange := [c for c in columns if c not in known]:
        raise RowMismatch(f"{name} has no field {strange[0]!r}; it has {', '.join(known)}")
    if missing := [f for f in required if f not in columns]:
        raise RowMismatch(f"{name} needs the column {missing[0]!r}; there are {', '.join(columns)}")

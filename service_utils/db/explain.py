"""What a database says about how it would answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

__all__ = ["explaining", "table"]


def explaining(text: str, dialect: str, analyze: bool) -> str:
    """The statement that explains another one."""
    if dialect == "sqlite":
        return f"explain query plan {text}"
    if dialect == "postgresql":
        return f"explain ({'analyze, buffers, ' if analyze else ''}verbose) {text}"
    return f"{'analyze' if analyze else 'explain'} {text}"


def table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Rows as text; the bare lines when there is one column."""
    if len(columns) == 1:
        return "\n".join(str(row[0]) for row in rows)
    cells = [tuple(columns), *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells
    )

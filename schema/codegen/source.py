"""Python source, line by line with indentation."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Source"]


class Source:
    """Collects lines."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._indent = ""

    def line(self, text: str) -> None:
        """One line, or several, at the current indentation."""
        self._lines += [self._indent + part for part in text.split("\n")] if "\n" in text else [self._indent + text]

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A line, and what follows one step further in."""
        self.line(head)
        before, self._indent = self._indent, self._indent + "    "
        start = len(self._lines)
        yield
        if len(self._lines) == start:
            self.line("pass")
        self._indent = before

    def text(self) -> str:
        """All of it."""
        return "\n".join(self._lines) + "\n"

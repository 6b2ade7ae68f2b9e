"""Deadlines of evpy that end a wait below a library.

``evpy.DeadlineExceeded`` is a TimeoutError, and so an OSError. A library that waits on a socket of ours takes it for an
error of the network and raises one of its own, which a client would report, or try again, while the request is over
long since. What is behind such an error stands in its chain of causes and contexts.
"""

from __future__ import annotations

import sys
from types import TracebackType

from evpy.errors import DeadlineExceeded

__all__ = ["DeadlinesPass", "deadline_behind"]


def deadline_behind(error: BaseException, before: BaseException | None) -> DeadlineExceeded | None:
    """The deadline that a library has made ``error`` of. ``before``: what was being handled when it was called
    (``sys.exception()``): that, and what is behind that, is nobody's business here."""
    behind: BaseException | None = error
    while behind is not None and behind is not before:
        if isinstance(behind, DeadlineExceeded):
            return behind
        behind = behind.__cause__ or behind.__context__
    return None


class DeadlinesPass:
    """``with DeadlinesPass():`` a deadline that ends the block is raised as what it is."""

    __slots__ = ("_before",)

    def __enter__(self) -> None:
        self._before = sys.exception()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is not None and (deadline := deadline_behind(error, self._before)) is not None:
            if deadline is error:
                return
            raise deadline from None

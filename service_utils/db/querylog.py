"""What was asked, how long it took, and what came of it: in the log.

Every statement on level DEBUG by the logger ``service_utils.db.queries``; those that took ``slow`` seconds or longer
as a WARNING by ``service_utils.db.slow``, with the request for which it was. Texts are shown, values only if that is
wanted: they may be secrets.
"""

from __future__ import annotations

import logging
import sys
from time import monotonic
from typing import Any

from service_utils.db.rows import Result

__all__ = ["QueryLog"]

queries = logging.getLogger("service_utils.db.queries")
slow_queries = logging.getLogger("service_utils.db.slow")
LONGEST = 2000  # characters of a text or of values


class QueryLog:
    """Of one database. ``slow``: seconds, None: nothing is slow. May be changed while it is used."""

    def __init__(self, name: str, *, slow: float | None = 1.0, values: bool = False) -> None:
        self.name = name
        self.slow = slow
        self.values = values

    def begin(self) -> float:
        """When a statement begins; 0 when nobody wants to know."""
        return monotonic() if self.slow is not None or queries.isEnabledFor(logging.DEBUG) else 0.0

    def end(self, started: float, arguments: tuple[Any, ...], outcome: Any) -> None:
        """With the text (and values) of the statement, and its result or error."""
        seconds = monotonic() - started
        slow = self.slow is not None and seconds >= self.slow
        if not (slow or queries.isEnabledFor(logging.DEBUG)) or not isinstance(arguments[0], str):
            return
        text = " ".join(arguments[0].split())[:LONGEST]
        if self.values and len(arguments) > 1 and isinstance(arguments[1], tuple | list):
            text += f" {list(arguments[1])!r}"[:LONGEST]
        what = _outcome(outcome)
        queries.debug("%s: %.2f ms, %s: %s", self.name, seconds * 1e3, what, text)
        if slow:
            request = _request()
            slow_queries.warning("%s: slow: %.3f s, %s%s: %s", self.name, seconds, what, request, text)


def _outcome(outcome: Any) -> str:
    if isinstance(outcome, Result):
        return f"{len(outcome.rows)} rows" if outcome.columns is not None else f"{outcome.affected} changed"
    if isinstance(outcome, BaseException):
        return type(outcome).__name__
    return f"{len(outcome)} results" if isinstance(outcome, list) else f"{outcome} changed"


def _request() -> str:
    module = sys.modules.get("evpy.http.request")
    request = module._current.get(None) if module is not None else None
    return f" for {request.method} {request.path}" if request is not None else ""

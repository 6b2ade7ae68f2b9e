"""What a handler leaves open ends with its request.

A transaction that is begun while a request is handled is noted with that request. When the request is finished, evpy
drops it, and its weak reference tells: whatever is still open then is rolled back by ending its connection, and
reported in the log. So neither a forgotten ``commit()`` nor a transaction that was put into a global variable reaches
another request.
"""

from __future__ import annotations

import logging
import sys
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service_utils.db.transaction import Transaction

__all__ = ["current_scope"]

log = logging.getLogger("service_utils.db")


class Scope:
    """The open transactions of one request."""

    __slots__ = ("_description", "_reference", "open")

    def __init__(self, request: Any) -> None:
        self.open: set[Transaction] = set()
        self._reference = weakref.ref(request, self._end)
        self._description = f"{request.method} {request.path}"
        _scopes[self._reference] = self

    def holds(self, request: Any) -> bool:
        return self._reference() is request

    def _end(self, reference: weakref.ref[Any]) -> None:
        """Runs where the request is dropped: nothing is sent from here."""
        _scopes.pop(reference, None)
        for transaction in list(self.open):
            log.warning(
                "%s left a transaction open on %s: rolled back", self._description, transaction.database.name
            )  # fmt: skip
            transaction._forsake()
        self.open.clear()


_scopes: dict[Any, Scope] = {}  # as long as their requests live
_scope: ContextVar[Scope | None] = ContextVar("service_utils.db.scope", default=None)


def current_scope() -> Scope | None:
    """That of the request that is being handled, if one is."""
    module = sys.modules.get("evpy.http.request")
    if module is None:
        return None
    request = module._current.get(None)
    if request is None:
        return None
    scope = _scope.get()
    if scope is None or not scope.holds(request):
        scope = Scope(request)
        _scope.set(scope)
    return scope

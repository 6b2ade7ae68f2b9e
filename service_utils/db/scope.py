"""What a handler leaves open ends with its request.

Each request has a context of its own (contextvars), which evpy drops when the request is finished. The first
transaction of a request puts a ``Scope`` into it; when nothing holds the context any more, neither the request nor a
greenlet that was spawned by it, the scope's destructor runs: whatever is still open is rolled back by ending its
connection, and reported in the log. So neither a forgotten ``commit()`` nor a transaction that was put into a global
variable reaches another request.
"""

from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from service_utils.db.transaction import Transaction

__all__ = ["Scope", "current_scope"]

log = logging.getLogger("service_utils.db")


class Scope:
    """The open transactions of one request. Only its context holds it; transactions know it by a weak reference."""

    __slots__ = ("__weakref__", "_description", "open")

    def __init__(self, request: Any) -> None:
        self.open: set[Transaction] = set()
        self._description = f"{request.method} {request.path}"

    def __del__(self) -> None:
        # Wherever this runs, nothing may be sent from here.
        for transaction in list(self.open):
            log.warning("%s left a transaction open on %s: rolled back", self._description, transaction.database.name)
            transaction._forsake()


_scope: ContextVar[Scope] = ContextVar("service_utils.db.scope")


def current_scope() -> Scope | None:
    """That of the request that is being handled, if one is."""
    module = sys.modules.get("evpy.http.request")
    request = module._current.get(None) if module is not None else None
    if request is None:
        return None
    scope = _scope.get(None)
    if scope is None:
        scope = Scope(request)
        _scope.set(scope)
    return scope

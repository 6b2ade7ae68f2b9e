"""What every line of a request carries without anybody passing it on: its id, and the fields that were bound.

Fields live in a context variable: each request has a context of its own, and greenlets that it spawns begin with a
copy. So what one request binds is never seen in another one.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["bind", "bound", "fields_of"]

_bound: ContextVar[dict[str, object] | None] = ContextVar("service_utils_logging", default=None)
_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {
    "message",
    "asctime",
    "taskName",
    "fields",
    "color_message",
}


def bind(**fields: object) -> None:
    """Adds fields to all lines of this request (or greenlet, task, thread) from now on."""
    _bound.set({**(_bound.get() or {}), **fields})


@contextmanager
def bound(**fields: object) -> Iterator[None]:
    """The same for the lines of a block."""
    token = _bound.set({**(_bound.get() or {}), **fields})
    try:
        yield
    finally:
        _bound.reset(token)


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    """The request's id, what was bound, and what the call gave as ``extra``; the later wins."""
    found: dict[str, object] = {}
    module = sys.modules.get("evpy.http.request")
    request = module._current.get(None) if module is not None else None
    if request is not None:
        try:
            found["request"] = request.id
        except Exception:  # noqa: BLE001 - its response is complete: a greenlet that outlived it
            found["request"] = "over"
    fields = _bound.get()
    if fields:
        found |= fields
    for name, value in record.__dict__.items():
        if name not in _STANDARD:
            found[name] = value
    return found

"""evpy: write plain, blocking-looking Python; it runs event-driven on every core.

What handler scripts and programs under evrun import. Names are loaded when they are first used: ``import evpy`` alone
costs next to nothing and loads neither gevent nor the native core.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from evpy.errors import BodyTooLarge, ClientDisconnected, DeadlineExceeded, EvpyError, HTTPError
    from evpy.http.events import Event
    from evpy.http.request import Request, current_request
    from evpy.http.response import Response
    from evpy.http.router import Router
    from evpy.runtime.background import background, every
    from evpy.runtime.tasks import gather, sleep, spawn, timeout
    from evpy.runtime.threads import run_on_any
    from evpy.server.appsettings import app_settings

__all__ = [
    "BodyTooLarge",
    "ClientDisconnected",
    "DeadlineExceeded",
    "Event",
    "EvpyError",
    "HTTPError",
    "Request",
    "Response",
    "Router",
    "app_settings",
    "background",
    "current_request",
    "every",
    "gather",
    "run_on_any",
    "sleep",
    "spawn",
    "timeout",
]

_HOME = {
    **dict.fromkeys(
        ("BodyTooLarge", "ClientDisconnected", "DeadlineExceeded", "EvpyError", "HTTPError"), "evpy.errors"
    ),
    **dict.fromkeys(("Request", "current_request"), "evpy.http.request"),
    "Event": "evpy.http.events",
    "Response": "evpy.http.response",
    "Router": "evpy.http.router",
    **dict.fromkeys(("background", "every"), "evpy.runtime.background"),
    **dict.fromkeys(("gather", "sleep", "spawn", "timeout"), "evpy.runtime.tasks"),
    "run_on_any": "evpy.runtime.threads",
    "app_settings": "evpy.server.appsettings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'evpy' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

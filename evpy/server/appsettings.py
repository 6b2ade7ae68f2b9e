"""The application's own settings: the ``[app]`` table of evserver.toml, as handlers see it.

::

    from evpy.server.appsettings import app_settings

    def on_start():
        database.connect(app_settings()["database"])

The server sets it before the application is loaded, in each worker; elsewhere (under evrun, in tests of handlers) it is
empty until ``provide`` is called. It never changes during the life of a worker: a reload starts new ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

__all__ = ["app_settings", "provide"]

_table: Mapping[str, Any] = MappingProxyType({})


def app_settings() -> Mapping[str, Any]:
    """The table, read-only: text, numbers, booleans, dates, lists and nested tables, as TOML has them."""
    return _table


def provide(table: Mapping[str, Any]) -> None:
    """Makes this the table that ``app_settings`` returns; for the server, and for tests of applications."""
    global _table  # noqa: PLW0603 - one per process, as the configuration file is
    _table = MappingProxyType(dict(table))

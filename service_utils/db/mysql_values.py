"""Values as PyMySQL knows them: times in UTC, UUIDs as text, lists and dicts as JSON."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any

import msgspec

from service_utils.db.errors import error_for
from service_utils.db.values import adapter

__all__ = ["adapted"]


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        return value.astimezone(datetime.UTC).replace(tzinfo=None)
    if isinstance(value, enum.Enum):
        return _adapt(value.value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    kinds: tuple[Any, ...] = (int, float, str, bytes)
    for kind in kinds:  # the driver goes by the very type
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return value
    # The driver would send what str() makes of it.
    raise error_for("22023", f"cannot send values of type {type(value).__name__!r}", "mysql")


adapted = adapter(frozenset({int, float, str, bytes, bool, type(None), decimal.Decimal}), _adapt)

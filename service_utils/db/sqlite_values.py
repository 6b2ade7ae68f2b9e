"""Values as SQLite has them: dates and times in ISO 8601, decimals and UUIDs as text, lists and dicts as JSON."""

from __future__ import annotations

import datetime
import decimal
import enum
import uuid
from typing import Any

import msgspec

from service_utils.db.values import adapter

__all__ = ["adapted"]


def _adapt(value: Any) -> Any:
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, enum.Enum):
        return _adapt(value.value)
    if isinstance(value, decimal.Decimal | uuid.UUID):
        return str(value)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, dict | list | tuple):
        return msgspec.json.encode(value).decode()
    return value


adapted = adapter(frozenset({int, float, str, bytes, bool, type(None)}), _adapt)

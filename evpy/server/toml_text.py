"""Python values as TOML 1.0 text: what ``tomllib`` reads, written back.

The standard library reads TOML and does not write it. We need one line per key for ``--print-config``, and an exact
carrier for the ``[app]`` table on its way to the workers, since JSON knows neither dates nor infinity. Nested tables
are written as inline tables, so that one key is always one line. Invariant: ``tomllib.loads(dump_table(t)) == t`` for
every table that ``tomllib`` can produce.
"""

from __future__ import annotations

import datetime
import json
import math
import re
from collections.abc import Mapping

__all__ = ["dump_table", "dump_value"]

BARE_KEY = re.compile(r"[A-Za-z0-9_-]+\Z")


def dump_table(table: Mapping[str, object]) -> str:
    """``key = value`` lines, without a header. TypeError names a value that TOML cannot hold."""
    return "".join(f"{_key(key)} = {dump_value(value)}\n" for key, value in table.items())


def dump_value(value: object) -> str:
    """One value on one line. TypeError for a type that TOML does not have."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, int):
        return str(value) if value < 1 << 63 else hex(value)  # Python does not write thousands of decimal digits
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else {"inf": "inf", "-inf": "-inf"}.get(str(value), "nan")
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(dump_value(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(str(key))} = {dump_value(item)}" for key, item in value.items()) + "}"
    raise TypeError(f"TOML has no {type(value).__name__}: {value!r}")


def _key(key: str) -> str:
    return key if BARE_KEY.match(key) else _string(key)


def _string(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped too.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")

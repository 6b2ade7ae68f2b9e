"""Log records as lines: text for people, JSON for machines.

One event is one line, whatever a client has put into a path or a header: control characters, line separators and the
marks that reverse the reading direction are escaped. Only a traceback takes more lines in text form, each indented by
two spaces, so that nothing in it can pass for an event; in JSON it is the field ``traceback``. Texts are clipped, and
values that cannot be shown are replaced: formatting never raises and its output is bounded.

::

    2026-01-31T12:00:00.123Z INFO     [worker-3 4711] evpy.server.worker: ready threads=1 took=0.2
    {"time": "2026-01-31T12:00:00.123Z", "level": "info", "role": "worker-3", "pid": 4711, "logger": ...}
"""

from __future__ import annotations

import json
import logging
import math
import re
import time
import traceback
from collections.abc import Mapping
from itertools import islice
from typing import Any

__all__ = ["JsonFormatter", "TextFormatter", "bounded", "escape"]

MAX_MESSAGE = 8192  # characters
MAX_FIELD = 2048
MAX_FIELDS = 64
MAX_NAME = 256
MAX_BITS = 1024  # of a number; Python refuses to write one of more than 4300 digits
MAX_TRACEBACK = 32768

_UNSAFE = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x2028,  # line and paragraph separator
    0x2029,
    *range(0x202A, 0x202F),  # bidirectional overrides and isolates
    *range(0x2066, 0x206A),
]
_ESCAPES = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSAFE}
_ESCAPES |= {ord("\n"): "\\n", ord("\r"): "\\r", ord("\t"): "\\t"}
_NO_KEY = re.compile(r'[\s"=\\]')
_PLAIN = re.compile(r'[^\s"=\\]+')


def escape(text: str) -> str:
    """The text on one line, with nothing in it that a terminal would obey."""
    return text.translate(_ESCAPES)


class _Formatter(logging.Formatter):
    """What both forms share. ``role`` says which of our processes writes: supervisor, gateway, worker-3."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self.role = role

    def message_of(self, record: logging.LogRecord) -> str:
        try:
            return _clip(record.getMessage(), MAX_MESSAGE)
        except Exception:  # noqa: BLE001  # '%d' % "x" somewhere in an application must not cost the event
            return _clip(f"{_text(record.msg)} (arguments that do not fit: {_text(record.args)})", MAX_MESSAGE)

    def fields_of(self, record: logging.LogRecord) -> dict[str, object]:
        fields = getattr(record, "fields", None)
        if not isinstance(fields, Mapping):
            return {}
        return bounded(fields, without="traceback")

    def traceback_of(self, record: logging.LogRecord) -> str:
        """The exception, the stack or the field ``traceback`` of the event, whichever there are."""
        parts = []
        fields = getattr(record, "fields", None)
        if isinstance(fields, Mapping) and fields.get("traceback"):
            parts.append(_text(fields["traceback"]))
        if record.exc_info and record.exc_info[1] is not None:
            try:
                parts.append("".join(traceback.format_exception(*record.exc_info)))  # its traceback may be cut short
            except Exception as error:  # noqa: BLE001  # formatting never raises
                parts.append(f"{record.exc_info[0]} (its traceback cannot be shown: {type(error).__name__})")
        if record.stack_info:
            parts.append(record.stack_info)
        return _clip("\n".join(part.rstrip("\n") for part in parts), MAX_TRACEBACK)


class TextFormatter(_Formatter):
    """``time LEVEL [role pid] logger: message key=value``"""

    def format(self, record: logging.LogRecord) -> str:
        head = f"{_iso(record.created)} {record.levelname:<8} [{self.role} {record.process}] {record.name}: "
        line = escape(head) + escape(self.message_of(record))
        for key, value in self.fields_of(record).items():
            line += f" {_NO_KEY.sub('_', escape(key))}={_shown(value)}"
        for part in self.traceback_of(record).split("\n"):
            line += f"\n  {escape(part)}" if part else ""
        return line


class JsonFormatter(_Formatter):
    """One JSON object: ours and the event's fields side by side; one of theirs that collides gets an underscore."""

    def format(self, record: logging.LogRecord) -> str:
        event: dict[str, object] = {
            "time": _iso(record.created),
            "level": record.levelname.lower(),
            "role": self.role,
            "pid": record.process,
            "logger": record.name,
            "message": self.message_of(record),
        }
        reserved = {*event, "traceback"}
        for key, value in self.fields_of(record).items():
            event[f"{key}_" if key in reserved else key] = _plain(value)
        trace = self.traceback_of(record)
        if trace:
            event["traceback"] = trace
        return json.dumps(event)  # ASCII only, so also one line by anybody's idea of lines


def bounded(fields: Mapping[Any, object], without: str = "") -> dict[str, object]:
    """As many fields as a line has, the first ones, with names that are texts and not too long."""
    found = ((_clip(_text(key), MAX_NAME), value) for key, value in islice(fields.items(), MAX_FIELDS))
    return {name: value for name, value in found if name != without}


def _iso(created: float) -> str:
    """Seconds since the epoch as ISO 8601 in UTC with milliseconds."""
    seconds, millis = divmod(int(created * 1000), 1000)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{millis:03d}Z"


def _clip(text: str, limit: int) -> str:
    """The head and, because the last line of a traceback says most, the tail of a text that is too long."""
    if len(text) <= limit:
        return text
    head = limit // 4
    return f"{text[:head]}...[{len(text) - limit} characters left out]...{text[head - limit :]}"


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001  # a broken __str__ of the application
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _shown(value: object) -> str:
    """A field's value in text form: quoted where it would not be told from what follows."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    raw = _clip(_text(value), MAX_FIELD)
    text = escape(raw)
    if _PLAIN.fullmatch(text):
        return text
    return '"' + escape(raw.replace("\\", "\\\\").replace('"', '\\"')) + '"'


def _plain(value: object) -> object:
    """A field's value in JSON form: as it is where JSON can hold it and it is small, else its text."""
    if isinstance(value, str):
        return _clip(_text(value), MAX_FIELD)
    if value is None or (isinstance(value, float) and math.isfinite(value)):
        return value
    if isinstance(value, int) and value.bit_length() <= MAX_BITS:
        return value
    if isinstance(value, (list, tuple, dict)):
        try:
            if len(json.dumps(value, allow_nan=False)) <= MAX_FIELD:
                return value
        except (TypeError, ValueError, RecursionError):
            pass
    return _clip(_text(value), MAX_FIELD)

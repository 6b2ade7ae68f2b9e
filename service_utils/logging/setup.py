"""``configure``: sends what is logged through the standard logging module to sinks, as text or JSON.

::

    configure("info,shop.db=debug", [ConsoleSink(), FileSink("shop.log", max_bytes=50_000_000, every="day")])
    log = logging.getLogger("shop")
    log.info("sold", extra={"item": 5})

The lines are those of evserver (evpy/server/log_formats.py): one for each event, whatever is in the message; long texts
are clipped, and formatting never raises.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from typing import Any

from evpy.server.log_formats import JsonFormatter, TextFormatter, bounded
from service_utils.logging.context import fields_of
from service_utils.logging.files import ConsoleSink
from service_utils.logging.sinks import Sink

__all__ = ["SinkHandler", "configure", "set_level"]

_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}


class _WithContext:
    def fields_of(self, record: logging.LogRecord) -> dict[str, object]:
        found = bounded(fields_of(record))
        found.update(super().fields_of(record))  # type: ignore[misc]
        return found


class _Text(_WithContext, TextFormatter):
    pass


class _Json(_WithContext, JsonFormatter):
    pass


class SinkHandler(logging.Handler):
    """A handler without a lock: formats where the event happens, whose context that is, and puts the line into a sink.

    ``service`` names the program in each line.
    """

    def __init__(self, sink: Sink, service: str = "app") -> None:
        super().__init__()
        self.sink = sink
        self.setFormatter(_Json(service) if sink.form == "json" else _Text(service))
        sink.render = self._drop_report

    def createLock(self) -> None:  # noqa: N802 - logging calls it so
        self.lock = None

    def acquire(self) -> None:
        pass

    def release(self) -> None:
        pass

    def handle(self, record: logging.LogRecord) -> Any:
        kept: Any = self.filter(record)  # since 3.12 a filter may put another record in the place of this one
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return kept

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self._line(record)
        except Exception as error:  # noqa: BLE001 - whatever a value does: who logs must not come upon it
            line = self._report("an event that cannot be shown", {"from": record.name, "why": type(error).__name__})
        self.sink.put(line)

    def close(self) -> None:
        self.sink.close()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        line = (self.format(record) + "\n").encode("utf-8", "backslashreplace")
        return self.sink.wrap(line, record)

    def _drop_report(self, lost: int) -> bytes:
        return self._report("log lines were dropped", {"lines": lost})

    def _report(self, text: str, fields: dict[str, object]) -> bytes:
        """A line of ours."""
        values = {"name": __name__, "levelno": logging.WARNING, "levelname": "WARNING", "fields": fields}
        return self._line(logging.makeLogRecord(values | {"msg": text}))


def configure(
    levels: str = "", sinks: Iterable[Sink] | None = None, *, service: str = "app", keep_others: bool = False
) -> list[SinkHandler]:
    """Sends all that is logged to the sinks (by default stderr, as text); closes what an earlier call has set up.

    ``levels``: one for all and some for modules, "info,shop.db=debug"; by default what the environment variable
    LOG_LEVELS says, else info. ``keep_others``: other handlers of the root logger stay, such as that of evserver, which
    otherwise goes on with its own events alone. ValueError for a level that there is not.
    """
    wanted = _parse(levels or os.environ.get("LOG_LEVELS", "") or "info")
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, SinkHandler):
            root.removeHandler(handler)
            handler.close()
        elif not keep_others:
            root.removeHandler(handler)
    handlers = [SinkHandler(sink, service) for sink in ([ConsoleSink()] if sinks is None else sinks)]
    for handler in handlers:
        root.addHandler(handler)
    for name, level in wanted.items():
        logging.getLogger(name).setLevel(level)
    return handlers


def set_level(level: str, module: str = "") -> None:
    """Changes the level of a module and those below it, or the general one, while the program runs. ValueError."""
    logging.getLogger(module).setLevel(_level(level))


def _parse(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        name, _, level = part.strip().rpartition("=")
        found[name.strip()] = _level(level)
    return found


def _level(name: str) -> int:
    level = _LEVELS.get(name.strip().lower())
    if level is None:
        raise ValueError(f"{name!r} is no level; write it as info,shop.db=debug with {', '.join(_LEVELS)}")
    return level

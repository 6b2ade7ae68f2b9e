"""Logging of evserver: one line per event, through the standard logging module, never in the way of the server.

Everything of ours logs below ``evpy``; in workers the application's own loggers go the same way (``root=True``). An
event is a constant message plus fields, so that it can be searched for::

    log = logging.getLogger("evpy.server.supervisor")
    logs.event(log, logging.INFO, "worker ready", slot=3, took=0.21)

The form of a line is in log_formats.py, how it is written without locks and without waiting in log_sink.py. The
handler takes no lock either: logging's own handler lock would become a gevent lock in patched processes, and a hub
that waits for one held in another OS thread, or a signal handler for one held below it on the same stack, would wait
for ever.
"""

from __future__ import annotations

import logging
from types import TracebackType

from evpy.errors import StartupError
from evpy.server.log_formats import JsonFormatter, TextFormatter
from evpy.server.log_sink import LineSink

__all__ = ["LineHandler", "configure", "dropped_lines", "event", "reopen"]

ExcInfo = (
    bool
    | BaseException
    | tuple[type[BaseException], BaseException, TracebackType | None]
    | tuple[None, None, None]
    | None
)

_installed: list[LineHandler] = []  # at most one
_replaced: list[int] = []  # lines that each handler before it has dropped


class LineHandler(logging.Handler):
    """A logging handler without a lock: formats a record, then writes it with one system call."""

    def __init__(self, sink: LineSink, formatter: logging.Formatter) -> None:
        super().__init__()
        self.sink = sink
        self.setFormatter(formatter)

    def createLock(self) -> None:  # noqa: N802  # logging calls it so
        self.lock = None

    def acquire(self) -> None:
        pass

    def release(self) -> None:
        pass

    def handle(self, record: logging.LogRecord) -> bool:
        kept: object = self.filter(record)  # since 3.12 a filter may put another record in the place of this one
        if kept:
            self.emit(kept if isinstance(kept, logging.LogRecord) else record)
        return bool(kept)

    def emit(self, record: logging.LogRecord) -> None:
        if self.sink.write(self._line(record)):
            self.sink.report(self._drop_report)

    def close(self) -> None:
        self.sink.close()
        super().close()

    def _line(self, record: logging.LogRecord) -> bytes:
        return (self.format(record) + "\n").encode("utf-8", "backslashreplace")

    def _drop_report(self, lost: int) -> bytes:
        return self._line(
            logging.makeLogRecord(
                {
                    "name": __name__,
                    "levelno": logging.WARNING,
                    "levelname": "WARNING",
                    "msg": "log lines were dropped because they could not be written at once",
                    "fields": {"lines": lost},
                }
            )
        )


def configure(
    *, role: str, level: str = "info", form: str = "text", path: str | None = None, root: bool = False
) -> LineHandler:
    """Sends the ``evpy`` loggers to a file, or to stderr when ``path`` is None or "-"; a second call replaces it.

    ``role`` names the process in each line; ``level`` is debug, info, warning, error or critical; ``form`` is text or
    json; ``root`` takes the loggers of the application along. StartupError when the file cannot be opened.
    """
    try:
        sink = LineSink(None if path in (None, "-") else path)
    except OSError as error:
        raise StartupError(f"cannot write the log to {path!r}: {error.strerror}; choose another --log-file") from None
    handler = LineHandler(sink, JsonFormatter(role) if form == "json" else TextFormatter(role))
    ours = logging.getLogger("evpy")
    ours.propagate = False
    for logger in (ours, logging.getLogger()):
        for old in _installed:
            logger.removeHandler(old)
        if root or logger is ours:
            logger.addHandler(handler)
            logger.setLevel(level.upper())
    while _installed:
        old = _installed.pop()
        _replaced.append(old.sink.dropped)
        old.close()
    _installed.append(handler)
    return handler


def event(logger: logging.Logger, level: int, message: str, /, *, exc_info: ExcInfo = None, **fields: object) -> None:
    """Logs one event: a constant message and its fields. A field ``traceback``, a text of many lines, is set apart."""
    if logger.isEnabledFor(level):
        logger.log(level, message, exc_info=exc_info, extra={"fields": fields}, stacklevel=2)


def dropped_lines() -> int:
    """Log lines of this process that were lost because they could not be written at once."""
    return sum(_replaced) + sum(handler.sink.dropped for handler in _installed)


def reopen() -> None:
    """Opens the log file anew after a rotation, also from a signal handler. A failure is logged to the old file."""
    for handler in _installed:
        try:
            handler.sink.reopen()
        except OSError as error:
            event(
                logging.getLogger(__name__),
                logging.WARNING,
                "the log file cannot be reopened, the old one stays in use",
                file=handler.sink.path,
                error=error.strerror,
            )

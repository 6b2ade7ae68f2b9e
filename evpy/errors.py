"""The errors of evpy, one tree, split by whose fault it is.

::

    Exception
    └── EvpyError                    everything that evpy raises on purpose
        ├── ExitError                ends evserver; its text is the one line the operator sees
        │   ├── UsageError           exit 2   the command line, the environment or evserver.toml is wrong
        │   ├── StartupError         exit 3   the address, the log file, the target ... cannot be had
        │   └── CrashError           exit 1   the server ran and cannot go on
        ├── HTTPError                4xx/5xx  raised by a handler: the answer is this status
        │   └── BodyTooLarge         413      the request body is longer than the limit
        ├── ClientDisconnected       (none)   nobody is left to read the answer; also a ConnectionError
        ├── DeadlineExceeded         504      the request's time is over; also a TimeoutError
        └── InternalError            exit 1   a bug in evpy itself, never the fault of its user

The text of an ``ExitError`` names the thing, the place and the way out, in one line and without a traceback. Everything
here is an ``Exception`` and not merely a ``BaseException``, so that ``except Exception`` in a handler cleans up after a
deadline as it does after any other timeout. Error objects survive pickling, because they cross process borders.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import ClassVar

__all__ = [
    "BodyTooLarge",
    "ClientDisconnected",
    "CrashError",
    "DeadlineExceeded",
    "EvpyError",
    "ExitCode",
    "ExitError",
    "HTTPError",
    "InternalError",
    "StartupError",
    "UsageError",
]


class ExitCode(enum.IntEnum):
    """Exit status of evserver."""

    DONE = 0
    CRASHED = 1
    USAGE = 2
    STARTUP = 3
    INTERRUPTED = 130  # 128 + SIGINT, as shells count: Ctrl-C before the server had taken over the signals


class EvpyError(Exception):
    """Base of everything that evpy raises on purpose."""


class ExitError(EvpyError):
    """Ends the program with ``exit_code``; ``str(error)`` is the line shown to the operator."""

    exit_code: ClassVar[ExitCode] = ExitCode.CRASHED


class UsageError(ExitError):
    """What the operator wrote cannot be meant: unknown option or key, wrong value, no target."""

    exit_code = ExitCode.USAGE


class StartupError(ExitError):
    """What the operator wrote is fine, but it cannot be had: address in use, missing file, failing ``on_start``."""

    exit_code = ExitCode.STARTUP


class CrashError(ExitError):
    """The server was up and cannot go on."""

    exit_code = ExitCode.CRASHED


class InternalError(EvpyError):
    """A broken invariant of evpy: please report it."""


class HTTPError(EvpyError):
    """Raise it in a handler to answer with an error status.

    ``status`` is 400 to 599 (ValueError otherwise); ``detail`` is text for the client, by default the reason phrase of
    the status (RFC 9110 section 15); ``headers`` are added to the response, as a mapping or as name-value pairs.
    """

    status: int
    detail: str
    headers: tuple[tuple[str, str], ...]

    def __init__(
        self, status: int, detail: str = "", headers: Mapping[str, str] | Iterable[tuple[str, str]] = ()
    ) -> None:
        if not 400 <= status <= 599:
            raise ValueError(f"HTTPError({status}): the status of an error is 400 to 599")
        self.status = int(status)
        self.detail = detail or reason_phrase(self.status)
        self.headers = tuple(headers.items() if isinstance(headers, Mapping) else headers)
        super().__init__(self.status, self.detail, self.headers)

    def __str__(self) -> str:
        return f"{self.status} {self.detail}"


class BodyTooLarge(HTTPError):
    """The request body is longer than ``limit`` bytes (RFC 9110 section 15.5.14)."""

    limit: int

    def __init__(self, limit: int, detail: str = "") -> None:
        super().__init__(413, detail or f"the request body is longer than {limit} bytes")
        self.limit = limit

    def __reduce__(self) -> tuple[type[BodyTooLarge], tuple[int, str]]:
        return type(self), (self.limit, self.detail)


class ClientDisconnected(EvpyError, ConnectionError):
    """The client has gone; whatever the handler still returns is dropped."""

    def __init__(self, message: str = "the client closed the connection") -> None:
        super().__init__(message)


class DeadlineExceeded(EvpyError, TimeoutError):
    """Time is up: that of ``evpy.timeout``, or the request's deadline, for which the client has already got 504."""

    status: ClassVar[int] = 504

    def __init__(self, message: str = "the deadline of the request is over") -> None:
        super().__init__(message)


# Renamed by RFC 9110 section 15.5; http.HTTPStatus has the old names before Python 3.13.
_RFC9110 = {413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable", 422: "Unprocessable Content"}


def reason_phrase(status: int) -> str:
    """The reason phrase of an HTTP status; that of its class (400, 500) for a status without a name of its own."""
    if status in _RFC9110:
        return _RFC9110[status]
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return HTTPStatus(status // 100 * 100).phrase

"""The errors of the HTTP client.

::

    EvpyError
    └── HttpClientError
        ├── InvalidRequest          also a ValueError: what was asked cannot be sent (URL, header, body)
        ├── StatusError             the answer's status is 4xx or 5xx; raised by ``raise_for_status`` alone
        ├── CircuitOpen             not sent: the origin has failed too often just now
        ├── ConnectFailed           not sent: no such name, refused, unreachable; also a ConnectionError
        │   ├── ConnectTimedOut         also a TimeoutError
        │   └── CertificateRefused      the server is not the one that it should be
        ├── ConnectionLost          ended or reset before the answer was complete; also a ConnectionError
        ├── TimedOut                no answer in time; also a TimeoutError
        ├── ProtocolError           the answer is not HTTP, or not what its head says
        ├── BodyTooLarge            the (decompressed) body is longer than the limit
        └── RedirectRefused         too many, in a circle, to http, to somewhere without a host

When all of a pool's connections are in use for too long, ``service_utils.pool.PoolExhausted`` is raised (503).
``error.url`` is where it happened, without credentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from evpy.errors import EvpyError

if TYPE_CHECKING:
    from service_utils.http.response import Response

__all__ = [
    "BodyTooLarge",
    "CertificateRefused",
    "CircuitOpen",
    "ConnectFailed",
    "ConnectTimedOut",
    "ConnectionLost",
    "HttpClientError",
    "InvalidRequest",
    "ProtocolError",
    "RedirectRefused",
    "StatusError",
    "TimedOut",
]


class HttpClientError(EvpyError):
    """Base of what the HTTP client raises on purpose."""

    url: str = ""


class InvalidRequest(HttpClientError, ValueError):
    """What was asked cannot be sent."""


class CircuitOpen(HttpClientError):
    """The origin is left alone for a while."""


class ConnectFailed(HttpClientError, ConnectionError):
    """No connection could be made; nothing was sent."""


class ConnectTimedOut(ConnectFailed, TimeoutError):
    """No connection could be made in time; nothing was sent."""


class CertificateRefused(ConnectFailed):
    """The certificate of the server is expired, for another host, or signed by nobody who is trusted."""


class ConnectionLost(HttpClientError, ConnectionError):
    """The connection ended before the answer did."""


class TimedOut(HttpClientError, TimeoutError):
    """The server did not answer in time."""


class ProtocolError(HttpClientError):
    """What came is not an answer."""


class BodyTooLarge(HttpClientError):
    """The body is longer than ``max_size``; after decompression, if it was compressed."""


class RedirectRefused(HttpClientError):
    """A redirect that is not followed."""


class StatusError(HttpClientError):
    """The answer's status is 400 or above."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"{response.method} {response.url}: {response.status} {response.reason}".rstrip())
        self.response = response

    @property
    def status(self) -> int:
        return self.response.status

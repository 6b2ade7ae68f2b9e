"""An HTTP client for handlers: pooled, with deadlines, cooperative, the same from greenlets and threads.

::

    from service_utils import http

    client = http.Client("https://api.example.com", timeouts=5)
    for user in client.get("/users", params={"page": 2}).raise_for_status().json(): ...
"""

try:
    import httptools as _needed  # noqa: F401
except ImportError as missing:
    raise ImportError(f"service_utils.http needs httptools: pip install 'evpy[http]' ({missing})") from missing

from service_utils.http.bodies import File
from service_utils.http.client import Client
from service_utils.http.errors import (
    BodyTooLarge,
    CertificateRefused,
    CircuitOpen,
    ConnectFailed,
    ConnectionLost,
    ConnectTimedOut,
    HttpClientError,
    InvalidRequest,
    ProtocolError,
    RedirectRefused,
    StatusError,
    TimedOut,
)
from service_utils.http.policy import BreakerPolicy, Retries, Timeouts
from service_utils.http.proxies import environment_proxy
from service_utils.http.response import Response
from service_utils.names import Resolver

__all__ = [
    "BodyTooLarge",
    "BreakerPolicy",
    "CertificateRefused",
    "CircuitOpen",
    "Client",
    "ConnectFailed",
    "ConnectTimedOut",
    "ConnectionLost",
    "File",
    "HttpClientError",
    "InvalidRequest",
    "ProtocolError",
    "RedirectRefused",
    "Resolver",
    "Response",
    "Retries",
    "StatusError",
    "TimedOut",
    "Timeouts",
    "environment_proxy",
]

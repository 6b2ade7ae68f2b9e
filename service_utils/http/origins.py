"""Origins: the pool of connections and the circuit breaker of each (scheme, host, port).

A client has its own. Whether the client's certificate is shown makes a difference, too: after a redirect to another
host it is not, and those connections are never mixed.
"""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from time import monotonic
from typing import Any

from evpy.errors import DeadlineExceeded
from service_utils.dialing import dial
from service_utils.http.connection import Connection
from service_utils.http.errors import (
    CertificateRefused,
    ConnectFailed,
    ConnectTimedOut,
    HttpClientError,
    InvalidRequest,
)
from service_utils.http.policy import Breaker, BreakerPolicy
from service_utils.http.transport import PlainStream, SecureStream
from service_utils.http.urls import Url
from service_utils.names import Resolver
from service_utils.pool import Connector, Pool, PoolClosed
from service_utils.pool.native import native_lock
from service_utils.sockets import client_context

__all__ = ["Origin", "Origins", "Tls", "basic"]

MAX_ORIGINS = 1000  # of which a client remembers something


def basic(user: str, password: str) -> str:
    """RFC 7617. InvalidRequest."""
    try:
        pair = f"{user}:{password}".encode()
    except UnicodeEncodeError:  # its text has the password in it
        raise InvalidRequest("user or password have characters that cannot be sent as UTF-8") from None
    return "Basic " + base64.b64encode(pair).decode("ascii")


class Tls:
    """The client's settings, and contexts made from them when they are first needed. OSError, ssl.SSLError.

    ``verify``: True (the system's authorities), the path of a file or folder of authorities, or a context.
    ``certificate``: paths of the client's certificate and key, and the key's password.
    """

    def __init__(self, verify: bool | str | ssl.SSLContext, certificate: tuple[str, ...] | str | None) -> None:
        if verify is False or verify is None:
            raise ValueError(
                "verify=False: certificates are always verified; give the path of the authority's certificate, "
                "or an ssl.SSLContext of your own"
            )
        self._verify = verify
        self.certificate = (certificate,) if isinstance(certificate, str) else certificate
        self._contexts: dict[bool, ssl.SSLContext] = {}

    def context(self, certified: bool) -> ssl.SSLContext:
        """With the client's certificate or without."""
        if isinstance(self._verify, ssl.SSLContext):
            return self._verify
        context = self._contexts.get(certified)
        if context is None:
            try:
                context = client_context(**self._authorities())
            except OSError as error:  # ssl.SSLError is one
                raise InvalidRequest(f"verify={self._verify!r} cannot be used: {error}") from error
            context.set_alpn_protocols(["http/1.1"])
            if certified and self.certificate:
                try:
                    context.load_cert_chain(*self.certificate)
                except OSError as error:
                    paths = ", ".join(self.certificate[:2])
                    raise InvalidRequest(f"certificate={paths} cannot be used: {error}") from error
            self._contexts[certified] = context
        return context

    def _authorities(self) -> dict[str, Any]:
        import os

        if self._verify is True:
            return {}
        return {"capath" if os.path.isdir(str(self._verify)) else "cafile": self._verify}


class _Opener(Connector[Connection]):
    """Makes the connections of one origin."""

    def __init__(self, url: Url, proxy: Url | None, tls: Tls, resolver: Resolver, certified: bool) -> None:
        self._url = url
        self._proxy = proxy
        self._tls = tls
        self._resolver = resolver
        self._certified = certified

    def connect(self, timeout: float) -> Connection:
        deadline = monotonic() + timeout
        url, where = self._url, self._proxy or self._url
        via = f" through the proxy {where.netloc}" if self._proxy else ""
        stream: PlainStream | SecureStream | None = None
        try:
            # A context is made before connecting: the authorities may have to be read.
            context = self._tls.context(self._certified) if url.scheme == "https" else None
            addresses = self._resolver.resolve(where.host, where.port, timeout)
            stream = PlainStream(dial(addresses, deadline))
            stream.deadline = deadline
            if context is not None:
                if self._proxy is not None:
                    _tunnel(stream, url, self._proxy, deadline)
                stream = SecureStream(stream, context, url.host)
            connection, stream = Connection(stream), None
            return connection
        except ssl.SSLCertVerificationError as error:
            raise CertificateRefused(
                f"{url.netloc}: its certificate is not accepted: {error.verify_message or error.reason}"
            ) from error
        except DeadlineExceeded:
            raise
        except TimeoutError as error:
            raise ConnectTimedOut(f"{url.netloc}: no connection{via} within {timeout:.3g} s") from error
        except OSError as error:
            if isinstance(error, HttpClientError):
                raise
            raise ConnectFailed(f"{url.netloc}: cannot connect{via}: {error.strerror or error}") from error
        finally:
            if stream is not None:
                stream.close()

    def close(self, connection: Connection) -> None:
        connection.close()

    def is_clean(self, connection: Connection) -> bool:
        return connection.ready

    def is_alive(self, connection: Connection, timeout: float) -> bool:
        return not connection.is_stale()


def _tunnel(stream: PlainStream, url: Url, proxy: Url, deadline: float) -> None:
    """RFC 9110 section 9.3.6."""
    host = f"[{url.host}]" if ":" in url.host else url.host
    lines = [f"CONNECT {host}:{url.port} HTTP/1.1", f"Host: {host}:{url.port}"]
    if proxy.user is not None:
        lines.append(f"Proxy-Authorization: {basic(proxy.user, proxy.password)}")
    connection = Connection(stream)
    connection.begin("HEAD", deadline)  # an answer without a body
    stream.send("\r\n".join([*lines, "", ""]).encode("ascii"))
    connection.read_head(1e9, 1e9, deadline)
    connection.parser = None
    if connection.extra or not 200 <= connection.status < 300:
        reason = connection.reason.decode("latin-1")
        raise ConnectFailed(f"{url.netloc}: the proxy {proxy.netloc} refuses: {connection.status} {reason}")


class Origin:
    """What is known about one."""

    def __init__(
        self, url: Url, proxy: Url | None, tls: Tls, resolver: Resolver, certified: bool,
        breaker: BreakerPolicy, pool: dict[str, Any],
    ) -> None:  # fmt: skip
        name = f"{url.scheme}://{url.netloc}"
        self.absolute = proxy is not None and url.scheme == "http"  # targets are whole URLs
        self.proxy = proxy
        self.pool: Pool[Connection] = Pool(_Opener(url, proxy, tls, resolver, certified), name=name, **pool)
        self.breaker = Breaker(breaker, name)
        self.common = b""  # fields of every request; the client's


class Origins:
    """All origins of a client. When there are too many, those that are not in use are forgotten, oldest first."""

    def __init__(self, make: Callable[[Url, bool], Origin]) -> None:
        self._make = make
        self._known: dict[tuple[Any, ...], Origin] = {}
        self._lock = native_lock()
        self.closed = False

    def get(self, url: Url, certified: bool) -> Origin:
        key = (url.scheme, url.host, url.port, certified)
        origin = self._known.get(key)
        if origin is None:
            fresh = self._make(url, certified)
            dropped: list[Origin] = []
            with self._lock:
                if self.closed:
                    fresh.pool.close()
                    raise PoolClosed(f"{fresh.pool.name}: the client is closed")
                origin = self._known.setdefault(key, fresh)
                if len(self._known) > MAX_ORIGINS:
                    for old, other in list(self._known.items()):
                        if other is not origin and not other.pool.statistics().held:
                            dropped.append(self._known.pop(old))
                            break
            if origin is not fresh:
                dropped.append(fresh)
            for other in dropped:
                other.pool.close()
        return origin

    def __iter__(self) -> Any:
        return iter(list(self._known.values()))

    def close(self, timeout: float) -> bool:
        with self._lock:
            self.closed = True
        return sum(not origin.pool.close(timeout) for origin in self) == 0

"""redis-py on this house's sockets and pool.

redis-py knows the protocol and the commands; what it knows of sockets, waiting and pools is replaced: connections may
be used by greenlets of any hub and by threads in turn, the pool is that of every client here (bounded, first come first
served, with a deadline), and nothing is sent twice behind the caller's back.

Invariant: a connection goes back to the pool only if every command that was sent on it has been answered; one that was
interrupted in between is ended. One that has something to read before anything was sent is ended, too.
"""

from __future__ import annotations

import ssl
import sys
from _socket import MSG_PEEK
from typing import Any

import redis
import redis.backoff
import redis.retry

from service_utils.deadlines import DeadlinesPass, deadline_behind
from service_utils.near import NearWaits
from service_utils.pool import Connector, Lease, Pool
from service_utils.sockets import Stream, TlsStream, client_context, connect
from service_utils.waiting import READ

__all__ = ["Connections", "PlainConnection", "TlsConnection", "UnixConnection"]


class _Talk:
    """What redis-py asks of a socket, beyond what a ``Stream`` has."""

    timeout: float | None
    _raw: Any
    _waits: Any

    def settimeout(self, timeout: float | None) -> None:
        self.timeout = timeout

    def shutdown(self, how: int) -> None:
        self._raw.shutdown(how)

    def pending(self) -> int:
        """Bytes that were decrypted already."""
        return 0


class _Plain(_Talk, Stream):
    waits: type[NearWaits] = NearWaits
    _waits: NearWaits

    def _await(self, events: int) -> int:
        return self._waits.answer(self.timeout) if events == READ else self._waits.wait(events, self.timeout)


class _Tls(_Talk, TlsStream):
    def pending(self) -> int:
        return self._tls.pending()


class _Cooperative:
    """Mixed into redis-py's connections."""

    unanswered = 0  # sent, and not yet answered

    def _connect(self: Any) -> Any:
        path = getattr(self, "path", None)
        plain = connect(path or self.host, 0 if path else int(self.port), self.socket_connect_timeout or 5.0)
        plain._waits.close()
        stream: Any = _Plain(plain._raw)
        stream.timeout = self.socket_connect_timeout
        if isinstance(self, redis.SSLConnection):
            try:
                stream = _Tls(stream, _context(self), self.host)
            except BaseException:
                stream.close()
                raise
        stream.timeout = self.socket_timeout
        return stream

    def disconnect(self: Any, *args: Any, **more: Any) -> None:
        self.unanswered = 0
        super().disconnect(*args, **more)  # type: ignore[misc]

    def send_packed_command(self, command: Any, check_health: bool = True) -> None:
        self.unanswered += 1
        with DeadlinesPass():
            super().send_packed_command(command, check_health)  # type: ignore[misc]

    def read_response(self, *args: Any, **more: Any) -> Any:
        before = sys.exception()
        try:
            response = super().read_response(*args, **more)  # type: ignore[misc]
        except redis.ResponseError:
            self.unanswered = 0
            raise
        except redis.RedisError as error:
            if (deadline := deadline_behind(error, before)) is not None:
                raise deadline from None
            raise
        self.unanswered = 0
        return response

    def can_read(self: Any, timeout: float | None = 0) -> bool:
        """As redis-py's, which would block the thread. ConnectionError when the server has closed it."""
        if self._sock is None:
            self.connect()
        sock = self._sock
        if self._parser._reader.has_data() or sock.pending():
            return True
        if timeout != 0:
            sock._waits.wait(READ, timeout)
        try:
            if sock._raw.recv(1, MSG_PEEK):
                return True
        except BlockingIOError:
            return False
        except OSError:
            pass
        self.disconnect()
        raise redis.ConnectionError("the server has closed the connection")


def _context(connection: Any) -> ssl.SSLContext:
    """From the ssl_... settings, as redis-py understands them; TLS 1.2 or later."""
    context = client_context(cafile=connection.ca_certs, capath=connection.ca_path, cadata=connection.ca_data)
    context.minimum_version = connection.ssl_min_version or ssl.TLSVersion.TLSv1_2
    context.check_hostname = connection.check_hostname
    context.verify_mode = connection.cert_reqs
    if connection.certfile or connection.keyfile:
        context.load_cert_chain(connection.certfile, connection.keyfile, connection.certificate_password)
    if connection.ssl_ciphers:
        context.set_ciphers(connection.ssl_ciphers)
    return context


class PlainConnection(_Cooperative, redis.Connection):
    """TCP."""


class TlsConnection(_Cooperative, redis.SSLConnection):
    """TLS over TCP."""


class UnixConnection(_Cooperative, redis.UnixDomainSocketConnection):
    """A Unix socket."""


class _Opener(Connector[Any]):
    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def connect(self, timeout: float) -> Any:
        owner = self._connections
        kwargs = {**owner.connection_kwargs, **owner.where(timeout)}
        kwargs["socket_connect_timeout"] = min(timeout, kwargs.get("socket_connect_timeout") or timeout)
        connection = owner.connection_class(**kwargs)
        try:
            with DeadlinesPass():
                connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return connection

    def close(self, connection: Any) -> None:
        connection.disconnect()

    def is_clean(self, connection: Any) -> bool:
        return connection._sock is not None and not connection.unanswered

    def is_alive(self, connection: Any, timeout: float) -> bool:
        return not is_stale(connection)


def is_stale(connection: Any) -> bool:
    """Whether the server has closed it, or said something unasked."""
    try:
        return bool(connection.can_read())
    except (redis.RedisError, OSError):
        return True


class Connections(redis.ConnectionPool):
    """A pool as redis-py wants it, over ``service_utils.pool``."""

    def __init__(self, *, settings: dict[str, Any], connection_class: Any = PlainConnection, **kwargs: Any) -> None:
        # What was sent may have been done: it is not sent again. And pauses of redis-py would block a hub.
        kwargs["retry"] = redis.retry.Retry(redis.backoff.NoBackoff(), 0)
        super().__init__(connection_class=connection_class, **kwargs)
        self._leases: dict[int, Lease[Any]] = {}
        self.pool: Pool[Any] = Pool(_Opener(self), **settings)

    def where(self, timeout: float) -> dict[str, Any]:
        """Overrides of the address, asked for each connection."""
        return {}

    def get_connection(self, command_name: Any = None, *keys: Any, **options: Any) -> Any:
        while True:
            lease = self.pool.acquire()
            connection = lease.connection
            if not is_stale(connection):
                self._leases[id(connection)] = lease
                return connection
            lease.discard(suspect=True)

    def release(self, connection: Any) -> None:
        lease = self._leases.pop(id(connection), None)
        if lease is not None:
            lease.release()

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.pool.retire()

    def close(self) -> None:
        self.pool.close()

    def __del__(self) -> None:
        pass  # the pool sees to its connections

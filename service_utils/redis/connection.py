"""redis-py on this house's sockets and pool.

redis-py knows the protocol and the commands; what it knows of sockets, waiting and pools is replaced: connections may
be used by greenlets of any hub and by threads in turn, the pool is that of every client here (bounded, first come first
served, with a deadline), and nothing is sent twice behind the caller's back.

Invariant: a connection goes back to the pool only if every command that was sent on it has been answered (they are
counted, since those of a pipeline are sent together) and none has left something behind (commands.py); one that was
interrupted in between is ended. One that has something to read before anything was sent is ended, too.

Connecting, with all that is said before the first command, has one deadline; so has each answer, however slowly it
comes: ``socket_timeout``, and what a blocking command was told to wait.
"""

from __future__ import annotations

import math
import ssl
import sys
from _socket import MSG_PEEK
from time import monotonic
from typing import Any

import redis
import redis.backoff
import redis.retry
from redis.client import NEVER_DECODE

from service_utils.deadlines import DeadlinesPass, deadline_behind
from service_utils.near import NearWaits
from service_utils.pool import Connector, Lease, Pool
from service_utils.redis.commands import leaves, patience
from service_utils.sockets import Stream, TlsStream, client_context, connect
from service_utils.waiting import READ

__all__ = ["BINARY", "Connections", "PlainConnection", "TlsConnection", "UnixConnection"]

BINARY: dict[str, Any] = {
    NEVER_DECODE: True
}  #: for ``execute_command``: the answer is bytes, whatever the client's are


class _Talk:
    """What redis-py asks of a socket, beyond what a ``Stream`` has."""

    timeout: float | None
    until = math.inf  #: when connecting, or an answer, must be done
    _raw: Any
    _waits: Any

    def _left(self) -> float | None:
        if self.until == math.inf:
            return self.timeout
        left = max(0.0, self.until - monotonic())
        return left if self.timeout is None else min(left, self.timeout)

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
        return self._waits.answer(self._left()) if events == READ else self._waits.wait(events, self._left())


class _Tls(_Talk, TlsStream):
    waits: type[NearWaits] = NearWaits
    _waits: NearWaits

    def __init__(self, plain: _Plain, context: ssl.SSLContext, name: str) -> None:
        self.until = plain.until
        self._shaken = False
        super().__init__(plain, context, name)
        self._shaken = True  # hands: those take long

    def _await(self, events: int) -> int:
        near = events == READ and self._shaken
        return self._waits.answer(self._left()) if near else self._waits.wait(events, self._left())

    def pending(self) -> int:
        return self._tls.pending()


class _Cooperative:
    """Mixed into redis-py's connections."""

    unanswered = 0  # commands that were sent, less the answers
    changed = watched = demoted = False  # something of a command is left on the connection; its server is no master
    _coming = 1  # commands that are sent next
    _patience = 0.0  # seconds that the last one may block
    _connecting = False

    def _connect(self: Any) -> Any:
        path = getattr(self, "path", None)
        most = self.socket_connect_timeout or 5.0
        until = monotonic() + most
        plain = connect(path or self.host, 0 if path else int(self.port), most)
        plain._waits.close()
        stream: Any = _Plain(plain._raw)
        stream.timeout, stream.until = most, until
        if isinstance(self, redis.SSLConnection):
            try:
                stream = _Tls(stream, _context(self), self.host)
            except BaseException:
                stream.close()
                raise
        stream.timeout = self.socket_timeout
        return stream

    def connect_check_health(self: Any, *args: Any, **more: Any) -> None:
        if self._sock is not None:
            return
        self._connecting = True
        try:
            super().connect_check_health(*args, **more)  # type: ignore[misc]
        finally:
            self._connecting = False
        sock: Any = self._sock
        sock.until = math.inf
        self.changed = False  # user and database are as they should be

    def disconnect(self: Any, *args: Any, **more: Any) -> None:
        self.unanswered = 0
        self.changed = self.watched = False
        super().disconnect(*args, **more)  # type: ignore[misc]

    def send_command(self: Any, *args: Any, **more: Any) -> None:
        left = leaves((args,), self.watched)
        super().send_command(*args, **more)  # type: ignore[misc]
        self._patience = patience(args)
        self.changed, self.watched = self.changed or left[0], left[1]

    def pack_commands(self: Any, commands: Any) -> Any:
        commands = list(commands)
        self._coming = len(commands)
        changed, self.watched = leaves(commands, self.watched)
        self.changed = self.changed or changed
        return super().pack_commands(commands)  # type: ignore[misc]

    def send_packed_command(self: Any, command: Any, check_health: bool = True) -> None:
        coming, self._coming, self._patience = self._coming, 1, 0.0
        if self._sock is not None and not self._connecting:
            self._sock.until = math.inf
        self.unanswered += coming
        with DeadlinesPass():
            super().send_packed_command(command, check_health)  # type: ignore[misc]

    def read_response(self: Any, *args: Any, **more: Any) -> Any:
        before = sys.exception()
        if (sock := self._sock) is not None and not self._connecting:
            self._set_deadline(sock, more)
        try:
            response = super().read_response(*args, **more)  # type: ignore[misc]
        except redis.ResponseError as error:
            self.unanswered -= 1
            self.demoted = isinstance(error, redis.ReadOnlyError)
            raise
        except redis.RedisError as error:
            if (deadline := deadline_behind(error, before)) is not None:
                raise deadline from None
            raise
        self.unanswered -= 1
        return response

    def _set_deadline(self: Any, sock: Any, more: dict[str, Any]) -> None:
        """Of one answer, unless somebody else has set one."""
        if "timeout" in more:
            sock.until = math.inf
            return
        most = self.socket_timeout
        if self._patience:
            most = more["timeout"] = None if most is None or self._patience == math.inf else most + self._patience
        sock.until = math.inf if most is None else monotonic() + most

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
        return connection._sock is not None and not (connection.unanswered or connection.changed or connection.watched)

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

    guided = False  #: whether somebody knows where the master is, when it is here no more

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
            if connection.demoted and self.guided:
                self.pool.retire()
            lease.release()

    def disconnect(self, inuse_connections: bool = True) -> None:
        self.pool.retire()

    def close(self) -> None:
        self.pool.close()

    def __del__(self) -> None:
        pass  # the pool sees to its connections

"""``connect``: every command of redis-py, cooperative, on a bounded pool."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import redis
import redis.backoff
import redis.connection
import redis.maint_notifications
import redis.retry
import redis.sentinel

from service_utils.pool import PoolStatistics
from service_utils.redis.connection import Connections, PlainConnection, TlsConnection, UnixConnection

__all__ = ["Cluster", "Redis", "connect", "connect_cluster"]

Address = tuple[str, int]
_CLASSES: dict[Any, Any] = {redis.SSLConnection: TlsConnection, redis.UnixDomainSocketConnection: UnixConnection}


class Redis(redis.Redis):
    """redis-py's client, from greenlets of any hub and from threads. Nothing is sent twice: what fails, raises."""

    connection_pool: Connections

    def statistics(self) -> PoolStatistics:
        """Of its connections."""
        return self.connection_pool.pool.statistics()

    def close(self) -> None:
        """Ends its connections; it cannot be used any more."""
        self.connection_pool.close()

    def __del__(self) -> None:
        pass  # the pool sees to its connections


def connect(
    url: str = "redis://127.0.0.1:6379/0",
    *,
    size: int = 20,
    timeout: float = 5.0,
    pool_timeout: float = 10.0,
    text: bool = False,
    protocol: int = 3,
    sentinels: Sequence[Address] = (),
    service: str = "mymaster",
    **settings: Any,
) -> Redis:
    """A client with up to ``size`` connections. Nothing is connected yet. ValueError for a URL that is none, and for
    settings that nobody knows.

    ``url``: redis://user:password@host:port/database, rediss:// for TLS (verified), unix:///path?db=0; its query and
    ``settings`` may say what redis-py's connections know, such as ``ssl_ca_certs``. ``timeout``: seconds for
    connecting, and for each answer, in addition to what a blocking command was told to wait; ``pool_timeout``: for a
    free connection. ``text``: answers are str instead of bytes.
    ``sentinels``: who knows where the master of ``service`` is; host and port of the URL are not used then.
    """
    parsed = _parsed(url)
    given = parsed.pop("connection_class", None)
    kwargs: dict[str, Any] = {
        "host": "127.0.0.1", "port": 6379, "socket_timeout": timeout, "socket_connect_timeout": timeout,
        "decode_responses": text, "protocol": protocol, **parsed, **settings,
    }  # fmt: skip
    class_: Any = PlainConnection if given is None else _CLASSES[given]
    if class_ is UnixConnection:
        del kwargs["host"], kwargs["port"]
    else:
        kwargs["maint_notifications_config"] = redis.maint_notifications.MaintNotificationsConfig(enabled=False)
    name = f"redis://{kwargs.get('path') or '{host}:{port}'.format(**kwargs)}/{kwargs.get('db', 0)}"
    pool = {"size": size, "timeout": pool_timeout, "name": name}
    try:
        class_(**kwargs)  # connects nothing
    except TypeError as error:
        raise ValueError(f"{name} cannot be connected with these settings: {error}") from None
    if sentinels:
        kwargs |= {"host": service, "port": 0}
        return Redis(connection_pool=_Guided(sentinels, service, settings=pool, connection_class=class_, **kwargs))
    return Redis(connection_pool=Connections(settings=pool, connection_class=class_, **kwargs))


def _parsed(url: str) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = redis.connection.parse_url(url)  # type: ignore[no-untyped-call]
        path = urlsplit(url).path.strip("/")
    except ValueError as error:
        if "scheme" in str(error):
            raise
        # The text of other ones may have the password in it.
        raise ValueError("the URL of Redis cannot be understood: special characters are percent-encoded") from None
    if path and "path" not in parsed and not (path.isascii() and path.isdecimal()):
        raise ValueError(f"the URL of Redis ends with {path!r}: give the number of a database, such as /0")
    return parsed


class Cluster(redis.RedisCluster):
    """redis-py's client of a cluster, on our pools."""

    def close(self) -> None:
        """Ends the connections to all nodes; it cannot be used any more."""
        for node in self.get_nodes():  # type: ignore[no-untyped-call]
            if node.redis_connection is not None:
                node.redis_connection.connection_pool.close()
        super().close()


def connect_cluster(
    url: str, *, size: int = 20, timeout: float = 5.0, pool_timeout: float = 10.0, text: bool = False, **settings: Any
) -> Cluster:
    """A client of a cluster, of which ``url`` is one node: redis-py's, with up to ``size`` connections to each node.

    Connects at once, to learn which node has what: redis.RedisError when that fails. What is sent to a node that has
    moved it is sent to the right one; what was lost is not sent again.
    """

    def pool(**kwargs: Any) -> Connections:
        kwargs["connection_class"] = _CLASSES.get(kwargs.get("connection_class"), PlainConnection)
        name = "redis://{host}:{port} (cluster)".format(**kwargs)
        return Connections(settings={"size": size, "timeout": pool_timeout, "name": name}, **kwargs)

    cluster: Any = Cluster.from_url(
        url, connection_pool_class=pool, retry=redis.retry.Retry(redis.backoff.NoBackoff(), 0), socket_timeout=timeout,
        socket_connect_timeout=timeout, decode_responses=text, protocol=settings.pop("protocol", 3),
        maint_notifications_config=redis.maint_notifications.MaintNotificationsConfig(enabled=False), **settings,
    )  # fmt: skip
    made: Cluster = cluster
    return made


class _Guided(Connections):
    """Asks the sentinels for each new connection where the master is; makes all anew when it is one no more."""

    guided = True

    def __init__(self, sentinels: Sequence[Address], service: str, **more: Any) -> None:
        super().__init__(**more)
        self._service = service
        self._sentinel: Any = redis.sentinel.Sentinel([])  # type: ignore[no-untyped-call]
        self._sentinel.sentinels = [
            connect(f"redis://{host}:{port}", size=2, timeout=2.0, protocol=2) for host, port in sentinels
        ]

    def where(self, timeout: float) -> dict[str, Any]:
        host, port = self._sentinel.discover_master(self._service)
        return {"host": host, "port": port}

    def close(self) -> None:
        super().close()
        for one in self._sentinel.sentinels:
            one.close()

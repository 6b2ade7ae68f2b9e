"""``connect``: a client of Tarantool, for greenlets of all hubs and for threads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from evpy.errors import EvpyError
from service_utils.db.errors import RowMismatch, error_for
from service_utils.db.rows import make_rows
from service_utils.db.url import Address, parse_network_url
from service_utils.pool import Connector, Pool, PooledClient
from service_utils.tarantool.errors import lost, refused
from service_utils.waiting import READ, poll

try:
    import tarantool
    from tarantool.error import NetworkError
except ImportError as missing:
    raise ImportError(
        f"service_utils.tarantool needs tarantool: pip install 'evpy[tarantool]' ({missing})"
    ) from missing

from service_utils.tarantool.wire import SchemaChanged, Wire, template

__all__ = ["Tarantool", "connect"]

T = TypeVar("T")
Key = Any  #: of a tuple: a value, or a sequence of the values of its parts
EVERYTHING = 0xFFFFFFFF
SCHEMAS = 10  # tries while the schema changes


class _Connector(Connector[Wire]):
    def __init__(self, address: Address, connect_timeout: float) -> None:
        self.name = f"tarantool://{address.user}@{address.host}:{address.port}"
        self._connect_timeout = connect_timeout
        self._template = template(address.host, address.port, address.user, address.password)

    def connect(self, timeout: float) -> Wire:
        try:
            return self._template.open(min(timeout, self._connect_timeout))
        except EvpyError:  # a deadline of evpy
            raise
        except (tarantool.Error, OSError) as error:
            raise _translated(error, self.name) from error

    def close(self, connection: Wire) -> None:
        connection.end()

    def is_clean(self, connection: Wire) -> bool:
        return not connection.busy

    def glance(self, connection: Wire) -> bool:
        assert connection.stream is not None
        return not poll(connection.stream.fileno(), READ, 0)

    def is_alive(self, connection: Wire, timeout: float) -> bool:
        assert connection.stream is not None
        connection.stream.timeout = timeout
        connection.ping()
        return True


class Tarantool(PooledClient[Wire]):
    """A server and the connections to it. Tuples are what ``into`` says: ``tuple``, or, by the names of the space's
    format, ``dict``, a dataclass, a ``msgspec.Struct``, or a function of the fields.

    Every method takes ``timeout``, in seconds (-1: the client's), after which StatementTimeout is raised and the
    connection ended; the server may still do what it was told. Errors are those of ``service_utils.db.errors``.
    A function at the server is the way to do several things in one transaction: ``call``, or ``eval`` with
    ``box.atomic``.
    """

    def __init__(self, pool: Pool[Wire], timeout: float) -> None:
        self.pool = pool
        self.timeout = timeout

    # --- functions

    def call(self, function: str, *arguments: Any, timeout: float = -1) -> list[Any]:
        """Calls a stored function; what it returns, one item for each value."""
        return self._do(timeout, lambda wire: list(wire.call(function, *arguments)))

    def eval(self, expression: str, *arguments: Any, timeout: float = -1) -> list[Any]:
        """Runs Lua: ``eval("return box.info.version")``, with ``...`` for the arguments.

        Never put data into the expression.
        """
        return self._do(timeout, lambda wire: list(wire.eval(expression, *arguments)))

    def ping(self, *, timeout: float = -1) -> None:
        self._do(timeout, lambda wire: wire.ping())

    # --- spaces

    def select(
        self, space: str, key: Key = None, *, index: str | int = 0, limit: int = EVERYTHING, offset: int = 0,
        iterator: str = "", into: Any = tuple, timeout: float = -1,
    ) -> list[Any]:  # fmt: skip
        """Tuples with this key (all without one), by an index. ``iterator``: EQ, REQ, GT, GE, LT, LE, ALL ... ."""
        if iterator and (number := _ITERATORS.get(iterator.upper())) is None:
            raise ValueError(f"iterator={iterator!r}: there are {', '.join(_ITERATORS)}")
        chosen = {"iterator": number} if iterator else {}

        def ask(wire: Wire) -> list[Any]:
            return _rows(wire, space, into, wire.select(space, key, index=index, limit=limit, offset=offset, **chosen))

        return self._do(timeout, ask)

    def first(self, space: str, key: Key, *, index: str | int = 0, into: Any = tuple, timeout: float = -1) -> Any:
        """The tuple with this key, or None."""
        found = self.select(space, key, index=index, limit=1, into=into, timeout=timeout)
        return found[0] if found else None

    def insert(self, space: str, values: Sequence[Any], *, into: Any = tuple, timeout: float = -1) -> Any:
        """A new tuple; as it was stored. UniqueViolation."""
        return self._one(timeout, space, into, lambda wire: wire.insert(space, list(values)))

    def replace(self, space: str, values: Sequence[Any], *, into: Any = tuple, timeout: float = -1) -> Any:
        """A new tuple in the place of the one with its key, if there is one; as it was stored."""
        return self._one(timeout, space, into, lambda wire: wire.replace(space, list(values)))

    def update(
        self, space: str, key: Key, operations: Sequence[Sequence[Any]], *, index: str | int = 0, into: Any = tuple,
        timeout: float = -1,
    ) -> Any:  # fmt: skip
        """Changes a tuple: ``[("=", "name", "tea"), ("+", 2, 1)]``, fields by name or by number from 0.

        None: there is no such key.
        """
        changes = [tuple(each) for each in operations]
        return self._one(timeout, space, into, lambda wire: wire.update(space, key, changes, index=index))

    def upsert(
        self, space: str, values: Sequence[Any], operations: Sequence[Sequence[Any]], *, timeout: float = -1
    ) -> None:
        """Inserts, or changes the tuple that is there."""
        changes = [tuple(each) for each in operations]
        self._do(timeout, lambda wire: wire.upsert(space, list(values), changes))

    def delete(self, space: str, key: Key, *, index: str | int = 0, into: Any = tuple, timeout: float = -1) -> Any:
        """What was deleted, or None."""
        return self._one(timeout, space, into, lambda wire: wire.delete(space, key, index=index))

    # --- the whole

    def _one(self, timeout: float, space: str, into: Any, ask: Callable[[Wire], Any]) -> Any:
        found = self._do(timeout, lambda wire: _rows(wire, space, into, ask(wire)))
        return found[0] if found else None

    def _do(self, timeout: float, ask: Callable[[Wire], T]) -> T:
        timeout = self.timeout if timeout < 0 else timeout
        with self.pool.acquire() as wire:
            assert wire.stream is not None
            wire.stream.timeout = timeout
            try:
                for _ in range(SCHEMAS):
                    try:
                        return ask(wire)
                    except SchemaChanged:
                        pass
                raise error_for("55000", "the schema changes all the time", "tarantool")
            except (tarantool.Error, OSError) as error:
                if wire.stream.interruption is not None:
                    raise wire.stream.interruption from None
                raise _translated(error, self.pool.name, timeout) from error

    def __repr__(self) -> str:
        return f"<Tarantool {self.pool.name}>"


def connect(
    url: str = "tarantool://127.0.0.1:3301",
    *,
    size: int = 10,
    timeout: float = 10.0,
    connect_timeout: float = 5.0,
    pool_timeout: float = 10.0,
    **pool_options: Any,
) -> Tarantool:
    """A client with up to ``size`` connections; nothing is connected yet. ValueError for a URL that is none.

    ``url``: tarantool://user:password@host:port, or tarantool://%2Fpath%2Fof.socket; without a user it is guest.
    ``timeout``: seconds for a request; ``connect_timeout`` and ``pool_timeout``: for a connection, and for a free one.
    """
    if not url.startswith("tarantool://"):
        raise ValueError("the URL of a Tarantool server begins with tarantool://")
    address = parse_network_url(url, 3301)
    if address.more or address.options or address.database:
        raise ValueError("the URL of a Tarantool server has one host, no path and no options")
    connector = _Connector(address, connect_timeout)
    pool = Pool(connector, **{"size": size, "timeout": pool_timeout, "name": connector.name, **pool_options})
    return Tarantool(pool, timeout)


_ITERATORS = {
    "EQ": 0, "REQ": 1, "ALL": 2, "LT": 3, "LE": 4, "GE": 5, "GT": 6, "BITS_ALL_SET": 7, "BITS_ANY_SET": 8,
    "BITS_ALL_NOT_SET": 9, "OVERLAPS": 10, "NEIGHBOR": 11,
}  # fmt: skip


def _rows(wire: Wire, space: str, into: Any, answer: Any) -> list[Any]:
    rows = [tuple(row) for row in answer]
    if into is tuple:
        return rows
    format_ = wire.schema.get_space(space).format
    columns = tuple(format_[number]["name"] for number in range(len(format_) // 2))
    if any(len(row) > len(columns) for row in rows):
        raise RowMismatch(f"the space {space!r} has tuples with more fields than its format has names: ask for tuples")
    return make_rows(into, columns, [row + (None,) * (len(columns) - len(row)) for row in rows])


def _translated(error: Exception, name: str, timeout: float | None = None) -> Exception:
    """``timeout``: of the request; None: this was about connecting."""
    connecting = timeout is None
    if isinstance(error, TimeoutError) and not connecting:
        return error_for("57014", f"{name} has not answered within {timeout:.3g} s", "tarantool")
    if isinstance(error, NetworkError | OSError):
        return lost(f"cannot connect to {name}: {error}" if connecting else f"{name}: {error}", connecting=connecting)
    if isinstance(error, tarantool.SchemaError):
        text = str(error)
        kind = next((state for word, state in _MISSING.items() if f"no {word}" in text), "42000")
        return error_for(kind, text, "tarantool")
    if isinstance(error, tarantool.DatabaseError):
        return refused(error.code, error.message)
    return error


_MISSING = {"space": "42P01", "index": "42704", "field": "42703"}

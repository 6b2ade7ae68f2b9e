"""The official driver on this house's sockets.

The driver knows the protocol (IPROTO), the schema and the types; its sockets, its waiting and its reconnecting are
replaced: a connection waits on the hub of whoever uses it, has a deadline for each request, and what was sent is never
sent again. What the server has refused because its schema has changed meanwhile is made anew, with names looked up
again (``SchemaChanged``): a number may stand for another space now. A connection is ``busy`` from the first byte of a
request to the last one of the answer: whoever leaves it in between leaves it to be ended.
"""

from __future__ import annotations

import copy
import io
from time import monotonic
from typing import Any

import tarantool
from tarantool.error import NetworkError
from tarantool.schema import Schema

from evpy.errors import EvpyError
from service_utils.sockets import Stream, connect

__all__ = ["SchemaChanged", "Wire", "template"]

GREETING = 128  # bytes
MOST = 256 << 20  # bytes of an answer


class SchemaChanged(Exception):
    """The request was refused; the schema is known anew, and the request can be made again."""


class _Stream(Stream):
    """One whose waits are all over at the same time."""

    deadline = float("inf")

    @property
    def timeout(self) -> float | None:
        return None if self.deadline == float("inf") else max(0.001, self.deadline - monotonic())

    @timeout.setter
    def timeout(self, seconds: float | None) -> None:
        self.deadline = float("inf") if seconds is None else monotonic() + seconds


class Wire(tarantool.Connection):  # type: ignore[misc]
    """One connection."""

    schema_version: int
    busy = True
    known = False  # the schema
    greeting = b""
    stream: _Stream | None = None
    _reader: io.BufferedReader

    def open(self, timeout: float) -> Wire:
        """A connection like this one; this one is the pattern and never connected itself."""
        one = copy.copy(self)  # the driver's constructor looks for libc each time, in other processes
        one._features = dict(self._features)
        deadline = monotonic() + timeout
        plain = connect(self.host, self.port, timeout)
        plain._waits.close()
        stream = one.stream = one._socket = _Stream(plain._raw)
        stream.deadline = deadline
        one._reader = stream.makefile("rb")
        try:
            one.connect()
        except BaseException as error:
            stream.close()
            if isinstance(error, tarantool.Error | OSError | EvpyError) or not isinstance(error, Exception):
                raise
            raise ConnectionError(f"an answer cannot be understood: {error!r}") from error
        one.busy = False
        one.known = True
        return one

    def connect(self) -> None:
        """Greeting, login, schema. As the driver's, which makes a NetworkError of everything."""
        greeting = self._recv(GREETING)
        if not (greeting.startswith(b"Tarantool ") and b"(Binary)" in greeting):
            raise ConnectionError(f"what answers there is no Tarantool: it says {greeting[:20]!r}")
        self.greeting = greeting
        self.connected = True
        self.handshake()
        self.schema = Schema(self)
        self.load_schema()

    def _opt_reconnect(self) -> None:
        if self.stream is None or not self.connected:
            raise NetworkError("the connection was closed")

    def _sendall(self, bytes_to_send: bytes) -> None:
        assert self.stream is not None
        self.stream.sendall(bytes_to_send)

    def _recv(self, to_read: int) -> bytes:
        if to_read > MOST:
            raise ConnectionError(f"an answer of {to_read} bytes; at most {MOST} are read")
        data, self.greeting = self.greeting or self._reader.read(to_read), b""
        if len(data) < to_read:
            raise ConnectionResetError("the server has closed the connection")
        return data

    def _send_request(self, request: Any, on_push: Any = None, on_push_ctx: Any = None) -> Any:
        before, self.busy = self.busy, True
        try:
            response = super()._send_request(request, on_push, on_push_ctx)
        except SchemaChanged:
            self.busy = before
            raise
        except tarantool.DatabaseError as error:
            self.busy = before or isinstance(error, NetworkError)
            raise
        except (tarantool.Error, OSError, EvpyError):
            raise
        except Exception as error:
            raise ConnectionError(f"an answer cannot be understood: {error!r}") from error
        if response.sync != request.sync:
            raise ConnectionResetError("the server has answered something that was not asked")
        self.busy = before
        if not self.schema_version:
            # From now on it is sent along, so that the server refuses what is meant for another schema.
            self.schema_version = response.schema_version
        return response

    def update_schema(self, schema_version: int) -> None:
        super().update_schema(schema_version)
        if self.known:
            raise SchemaChanged

    def end(self) -> None:
        self.connected = False
        if self.stream is not None:
            self.stream.close()


def template(host: str, port: int, user: str, password: str) -> Wire:
    """What all connections of a client have in common."""
    return Wire(host, port, user=user or None, password=password or None, connect_now=False)

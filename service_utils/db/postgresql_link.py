"""One connection to PostgreSQL by psycopg 3, which waits on the hub of whoever uses it.

libpq's protocol, as psycopg has it, is a generator that says for what it waits; ``Link.wait`` drives it with the
watchers of a ``Waits``. So a connection works in greenlets of any hub and in plain threads, without monkey patching.
"""

from __future__ import annotations

from time import monotonic
from typing import Any

import psycopg
from psycopg import generators
from psycopg.rows import tuple_row
from psycopg.types.json import JsonbDumper

from service_utils.db.errors import DatabaseError, error_for
from service_utils.waiting import Waits, poll

__all__ = [
    "Link",
    "Silence",
    "ask_to_cancel",
    "cancellation",
    "milliseconds",
    "open_link",
    "patience_for",
    "translated",
]

CANCELLING = 5.0  # seconds that it may take to tell the server to stop
GRACE = 5.0  # seconds that the server gets beyond the time after which it should have given up by itself


class Silence(Exception):
    """The server has said nothing for too long."""


class Link(psycopg.Connection[Any]):
    """A psycopg connection that waits as efio does."""

    waits: Waits
    patience: float | None = None  # seconds of silence

    def wait(self, gen: Any, interval: float = 0.0, timeout: float | None = None) -> Any:
        try:
            wanted = next(gen)
            wait, patience = self.waits.wait, self.patience if timeout is None else timeout
            while True:
                ready = wait(wanted, patience)
                if not ready:
                    raise Silence
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value


def open_link(conninfo: str, timeout: float) -> Link:
    """As Connection.connect, with our way of waiting."""
    deadline = monotonic() + timeout
    gen = Link._connect_gen(conninfo)
    try:
        fd, wanted = next(gen)
        while True:
            waits = Waits(fd)
            try:
                ready = waits.wait(wanted, max(0.0, deadline - monotonic()))
            finally:
                waits.close()
            if not ready or monotonic() > deadline:
                gen.close()
                raise error_for("08001", f"no answer within {timeout:.3g} s", "postgresql")
            fd, wanted = gen.send(ready)
    except StopIteration as end:
        connection: Link = end.value
    connection.waits = Waits(connection.pgconn.socket)
    connection._autocommit = True
    connection.row_factory = tuple_row
    connection.adapters.register_dumper(dict, JsonbDumper)
    return connection


def milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


def patience_for(timeout: float | None) -> float | None:
    return None if timeout is None else timeout + GRACE


def cancellation(pgconn: Any) -> Any:
    """What ``ask_to_cancel`` takes, for the statement that runs on this connection; None if libpq is older than 17."""
    return pgconn.cancel_conn() if psycopg.capabilities.has_cancel_safe() else None


def ask_to_cancel(cancel: Any) -> None:
    """Asks the server, over a connection of its own; waits some seconds at most.

    The function that libpq had before (PQcancel) waits without letting go of the interpreter, and for as long as a
    server likes that accepts and does not answer: the whole process would stand still.
    """
    deadline = monotonic() + CANCELLING
    try:
        cancel.start()
        asking = generators.cancel(cancel)
        fd, wanted = next(asking)
        while ready := poll(fd, wanted, deadline - monotonic()):
            fd, wanted = asking.send(ready)
    except (StopIteration, psycopg.Error):
        pass
    finally:
        cancel.finish()


def translated(error: Exception, lost: bool, connecting: bool = False) -> DatabaseError:
    state: str = getattr(error, "sqlstate", None) or ""
    if not state and lost:
        state = "08001" if connecting else "08006"
        text = str(error)
        if connecting and ("password authentication failed" in text or "no password supplied" in text):
            state = "28P01"  # libpq does not tell the code of what ends a connection attempt
        elif connecting and "too many clients" in text:
            state = "53300"
    message = str(error).strip()
    if not state and message.startswith("cannot adapt type"):
        state, message = "22023", message.partition(" using ")[0].replace("adapt", "send values of")
    elif not state and isinstance(error, psycopg.DataError | UnicodeError):
        state = "22021"
    diag = getattr(error, "diag", None)
    return error_for(
        state, message, "postgresql", constraint=getattr(diag, "constraint_name", None),
        table=getattr(diag, "table_name", None), column=getattr(diag, "column_name", None),
    )  # fmt: skip

"""One request, one answer, over a connection of the origin's pool."""

from __future__ import annotations

from time import monotonic

from evpy.errors import DeadlineExceeded
from service_utils.http.bodies import Body
from service_utils.http.connection import Connection
from service_utils.http.errors import ConnectionLost, InvalidRequest, TimedOut
from service_utils.http.origins import Origin
from service_utils.http.request import LIMITED_PART, Call, Usual
from service_utils.http.response import Response
from service_utils.http.transport import EarlyAnswer
from service_utils.turns import Turns

__all__ = ["Limits", "exchange"]

Limits = tuple[int | None, int | None]  #: bytes of a body: read as a whole, in pieces


def exchange(origin: Origin, call: Call, usual: Usual, cookie: str, limits: Limits) -> Response:
    """One request, one answer. A connection that the server has closed meanwhile is replaced."""
    timeouts = call.timeouts
    while True:
        lease = origin.pool.acquire(max(0.001, min(timeouts.connect, call.left())))
        try:
            connection = lease.connection
            used = connection.uses > 0
            if used and connection.is_stale():
                lease.discard()
                continue
            _send(connection, call, usual.head(origin, call, cookie))
            connection.read_head(timeouts.first_byte, timeouts.read, call.deadline)
            deadline = float("inf") if call.stream else call.deadline
            response = Response(connection, lease, call.method, call.url.text, timeouts.read, deadline, *limits)
            if not call.stream:
                response.read()
            elif connection.complete and not connection.chunks:
                response.close()
            return response
        except TimeoutError as error:
            lease.discard()
            if isinstance(error, (TimedOut, DeadlineExceeded)):
                raise
            raise TimedOut(_late(call, error)) from error
        except OSError as error:
            answered = connection.head_done
            lease.discard(suspect=used)
            again = call.body is None or call.body.replayable or not call.sent
            if used and not answered and not connection.status and call.idempotent and again and call.left() > 0:
                continue  # it was closed just when the request came
            if isinstance(error, ConnectionLost):
                raise
            raise ConnectionLost(f"the connection was lost: {error.strerror or error}") from error
        except BaseException:
            lease.discard()
            raise


def _send(connection: Connection, call: Call, head: bytes) -> None:
    body = call.body
    connection.begin(call.method, min(monotonic() + call.timeouts.read, call.deadline))
    if body is None:
        connection.stream.send(head)
        return
    call.sent = True
    try:
        if body.data is not None and len(body.data) <= LIMITED_PART:
            connection.stream.send(head + body.data)
            return
        connection.stream.send(head)
        _send_body(connection, call, body)
    except (EarlyAnswer, BrokenPipeError, ConnectionResetError) as error:
        connection.ready = False
        _early(connection, error)


def _send_body(connection: Connection, call: Call, body: Body) -> None:
    stream, pause = connection.stream, call.timeouts.read
    left = body.length
    turns = Turns()
    for piece in body.pieces():
        turns.take()
        if not piece:
            continue
        stream.deadline = min(monotonic() + pause, call.deadline)
        if left is None:
            stream.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            continue
        left -= len(piece)
        if left < 0:
            raise InvalidRequest(f"the body is longer than the {body.length} bytes that were announced")
        stream.send(piece)
    if left is None:
        stream.send(b"0\r\n\r\n")
    elif left:
        raise InvalidRequest(f"the body is {left} bytes shorter than the {body.length} that were announced")


def _early(connection: Connection, error: Exception) -> None:
    """The server stopped reading: what it says, if anything, is the answer, and the last one."""
    connection.last = True
    if not isinstance(error, EarlyAnswer) and connection.stream.is_silent():
        raise error


def _late(call: Call, error: TimeoutError) -> str:
    if call.left() <= 0:
        return f"not done within {call.timeouts.total:.3g} s"
    return f"no answer within {call.timeouts.first_byte:.3g} s"

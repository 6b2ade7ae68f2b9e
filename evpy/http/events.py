"""Server-sent events (WHATWG HTML standard, section 9.2 "Server-sent events"): the text format and its response.

With a heart-beat the application's iterator runs in a greenlet of its own and hands over one event at a time, while the
request's greenlet writes and, when nothing comes, sends comments. That way round, because a write that fails must stop
the iterator: killing the producer interrupts whatever it waits for, and its generator is closed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextvars import copy_context
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evpy.http.headers import HeadersLike
from evpy.http.response import Response, Unsendable

if TYPE_CHECKING:
    from evpy.http.request import RequestMixin

_line_break = re.compile(r"\r\n|\r|\n")  # section 9.2.5: end-of-line

HEARTBEAT = b":\n\n"  # a comment: no event for the client
KILL_TIMEOUT = 1.0  # seconds; an iterator that survives GreenletExit for longer is left to itself


@dataclass(frozen=True, slots=True)
class Event:
    """One event. ``data`` is text (any number of lines), or a dict or list that is sent as JSON.

    ``event`` is its type ("message" when empty); ``id`` comes back as ``request.last_event_id`` when the client
    reconnects; ``retry`` is the time in milliseconds that the client is to wait before it does. ValueError for line
    breaks in ``event`` and ``id``, NUL in ``id`` and a negative ``retry``.
    """

    data: str | dict[Any, Any] | list[Any] = ""
    event: str = ""
    id: str | None = None
    retry: int | None = None

    def __post_init__(self) -> None:
        for name, value in (("event", self.event), ("id", self.id or "")):
            if _line_break.search(value) or (name == "id" and "\0" in value):
                raise ValueError(f"the {name} of an event cannot hold a line break (or, in an id, NUL): {value[:80]!r}")
        if self.retry is not None and self.retry < 0:
            raise ValueError(f"retry is a time in milliseconds, not {self.retry}")

    def encode(self) -> bytes:
        """The event as it goes over the wire, its closing blank line included."""
        if isinstance(self.data, str):
            data = self.data
        else:
            import msgspec

            data = msgspec.json.encode(self.data).decode()
        lines = []
        if self.event:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        lines.extend(f"data: {line}" for line in _line_break.split(data))
        return ("\n".join(lines) + "\n\n").encode()


Item = str | dict[Any, Any] | list[Any] | Event


class EventResponse(Response):
    """See ``Response.events``."""

    __slots__ = ("heartbeat", "items")

    def __init__(self, events: Iterable[Item], *, heartbeat: float | None = 15.0, headers: HeadersLike = ()) -> None:
        if heartbeat is not None and heartbeat <= 0:
            raise ValueError(f"heartbeat is a time in seconds or None, not {heartbeat}")
        if isinstance(events, (str, bytes, dict)):
            raise TypeError(f"events must be an iterable of events, not one {type(events).__name__}")
        super().__init__(None, 200, headers, content_type="text/event-stream")
        self.headers.setdefault("Cache-Control", "no-store")
        self.headers.setdefault("X-Accel-Buffering", "no")  # nginx in front would collect events otherwise
        self.headers.pop("Content-Length")
        self.items = iter(events)
        self.heartbeat = heartbeat

    def _send(self, request: RequestMixin) -> None:
        try:
            request.start_response(200, self.headers.pairs(), None)
            if request.method != "HEAD":
                if self.heartbeat is None:
                    for item in self.items:
                        request.write(_encode(item, self.items))
                else:
                    self._send_with_heartbeat(request, self.heartbeat)
            request.end()
        finally:
            close = getattr(self.items, "close", None)
            if close is not None:
                close()

    def _send_with_heartbeat(self, request: RequestMixin, interval: float) -> None:
        import gevent
        from gevent.queue import Channel, Empty

        channel: Any = Channel()  # holds nothing: the producer waits until its event is taken
        producer = gevent.spawn(copy_context().run, _produce, self.items, channel)
        try:
            while True:
                try:
                    item, error = channel.get(timeout=interval)
                except Empty:
                    request.write(HEARTBEAT)
                    continue
                if error is not None:
                    raise error
                if item is None:
                    return
                request.write(item)
        finally:
            producer.kill(timeout=KILL_TIMEOUT)


def _produce(events: Iterator[Item], channel: Any) -> None:
    from gevent import GreenletExit

    try:
        for item in events:
            channel.put((_encode(item, events), None))
    except GreenletExit:  # from the finally above
        raise
    except BaseException as error:  # noqa: BLE001 - also SystemExit: the request fails, not the process
        channel.put((None, error))
    else:
        channel.put((None, None))


def _encode(item: object, source: object) -> bytes:
    if isinstance(item, Event):
        return item.encode()
    if isinstance(item, (str, dict, list)):
        return Event(item).encode()
    raise Unsendable(f"an event is a str, dict, list or Event, this one is {type(item).__name__}", source)

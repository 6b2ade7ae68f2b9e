from __future__ import annotations

import gevent
import gevent.event
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import ClientDisconnected
from evpy.http.events import HEARTBEAT, Event
from evpy.http.request import _current, current_request
from evpy.http.response import Response, Unsendable


def parse(stream: str) -> list[tuple[str, str, str]]:
    """(type, data, last event id) of each event, after the algorithm of section 9.2.6."""
    events, data, kind, last_id = [], "", "", ""
    for line in stream.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        if line == "":
            if data:
                events.append((kind or "message", data.removesuffix("\n"), last_id))
            data, kind = "", ""
            continue
        if line.startswith(":"):
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "data":
            data += value + "\n"
        elif name == "id" and "\0" not in value:
            last_id = value
    return events


@pytest.mark.parametrize(
    ("event", "wire"),
    [
        (Event("x"), b"data: x\n\n"),
        (Event("a\nb\r\nc\rd"), b"data: a\ndata: b\ndata: c\ndata: d\n\n"),
        (Event(""), b"data: \n\n"),
        (Event({"a": "\xe9\n"}), 'data: {"a":"\xe9\\n"}\n\n'.encode()),
        (Event([1]), b"data: [1]\n\n"),
        (Event("x", "tick", "7", 1500), b"event: tick\nid: 7\nretry: 1500\ndata: x\n\n"),
        (Event("x", id=""), b"id: \ndata: x\n\n"),
    ],
)
def test_format(event: Event, wire: bytes) -> None:
    assert event.encode() == wire


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"))


@given(st.lists(st.tuples(TEXT, LINE, LINE), max_size=5))
def test_a_client_gets_what_was_sent(items: list[tuple[str, str, str]]) -> None:
    stream = b"".join(Event(data, kind, id).encode() for data, kind, id in items).decode()
    expected = [(kind or "message", data.replace("\r\n", "\n").replace("\r", "\n"), id) for data, kind, id in items]
    assert parse(stream) == expected


@pytest.mark.parametrize("field", [{"event": "a\nb"}, {"event": "\r"}, {"id": "a\nb"}, {"id": "a\0"}, {"retry": -1}])
def test_what_an_event_cannot_hold(field) -> None:
    with pytest.raises(ValueError, match=r"of an event cannot hold|retry is a time"):
        Event("x", **field)


@pytest.mark.parametrize("heartbeat", [None, 60.0])
def test_a_stream_of_events(fake, heartbeat: float | None) -> None:
    r = fake()
    Response.events(["a", {"b": 1}, Event("c", "tick")], heartbeat=heartbeat, headers={"X": "y"})._send(r)
    assert r.answer == b'data: a\n\ndata: {"b":1}\n\nevent: tick\ndata: c\n\n'
    assert (r.status, r.declared, r.ended) == (200, None, True)
    assert r.got("content-type") == "text/event-stream"
    assert r.got("cache-control") == "no-store"
    assert r.got("x") == "y"


def test_arguments() -> None:
    for events in ("text", b"bytes", {"a": 1}):
        with pytest.raises(TypeError, match="iterable of events"):
            Response.events(events)  # type: ignore[arg-type]
    for heartbeat in (0, -1):
        with pytest.raises(ValueError, match="heartbeat"):
            Response.events([], heartbeat=heartbeat)


class Source:
    """Yields what is put; knows whether it was closed."""

    def __init__(self, request) -> None:
        self.request = request
        self.waiting = gevent.event.Event()
        self.go = gevent.event.Event()
        self.closed = False
        self.context: object = None

    def events(self):
        try:
            self.context = current_request()
            yield "first"
            self.waiting.set()
            self.go.wait()
            yield "last"
        finally:
            self.closed = True


@pytest.mark.parametrize("heartbeat", [None, 60.0])
def test_the_client_has_each_event_before_the_next_is_made(fake, heartbeat: float | None) -> None:
    r = fake()
    source = Source(r)

    def serve() -> None:
        _current.set(r)
        Response.events(source.events(), heartbeat=heartbeat)._send(r)

    server = gevent.spawn(serve)
    source.waiting.wait()
    assert r.answer == b"data: first\n\n"
    source.go.set()
    server.get()
    assert r.answer == b"data: first\n\ndata: last\n\n"
    assert source.context is r
    assert source.closed


def test_heartbeats_fill_the_silence(fake) -> None:
    r = fake()
    source = Source(r)
    beats = gevent.event.Event()
    write = r.write

    def counting(data) -> None:
        write(data)
        if r.answer.count(HEARTBEAT) == 3:
            beats.set()

    r.write = counting

    def serve() -> None:
        _current.set(r)
        Response.events(source.events(), heartbeat=0.001)._send(r)

    server = gevent.spawn(serve)
    beats.wait()
    source.go.set()
    server.get()
    assert parse(r.answer.decode()) == [("message", "first", ""), ("message", "last", "")]


@pytest.mark.parametrize("heartbeat", [None, 0.001])
def test_a_client_that_leaves_stops_the_source(fake, heartbeat: float | None) -> None:
    r = fake(gone_after=40)
    source = Source(r)
    if heartbeat is None:
        source.go.set()

    def serve() -> None:
        _current.set(r)

        def many():
            yield from source.events()
            yield "x" * 100

        try:
            Response.events(many(), heartbeat=heartbeat)._send(r)
        finally:
            r.closed_at_return = source.closed

    with pytest.raises(ClientDisconnected):
        gevent.spawn(serve).get()
    assert r.closed_at_return
    assert not r.ended


def test_no_producer_is_left_behind(fake, monkeypatch) -> None:
    producers = []
    spawn = gevent.spawn
    monkeypatch.setattr(gevent, "spawn", lambda *args: producers.append(spawn(*args)) or producers[0])
    r = fake(gone_after=40)

    def silent():
        yield "first"
        gevent.event.Event().wait()

    with pytest.raises(ClientDisconnected):
        Response.events(silent(), heartbeat=0.001)._send(r)
    assert producers[0].dead


@pytest.mark.parametrize("heartbeat", [None, 60.0])
@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3)])
def test_errors_of_the_source_are_the_requests(fake, heartbeat: float | None, error: BaseException) -> None:
    def events():
        yield "a"
        raise error

    r = fake()
    with pytest.raises(type(error)):
        Response.events(events(), heartbeat=heartbeat)._send(r)
    assert r.answer == b"data: a\n\n"
    assert not r.ended


@pytest.mark.parametrize("heartbeat", [None, 60.0])
def test_what_is_no_event(fake, heartbeat: float | None) -> None:
    def events():
        yield 5

    source = events()
    with pytest.raises(Unsendable, match="this one is int") as caught:
        Response.events(source, heartbeat=heartbeat)._send(fake())  # type: ignore[arg-type]
    assert caught.value.source is source


def test_head_sends_no_events(fake) -> None:
    r = fake("HEAD")
    source = Source(r)
    Response.events(source.events())._send(r)
    assert (r.status, r.ended, source.context) == (200, True, None)

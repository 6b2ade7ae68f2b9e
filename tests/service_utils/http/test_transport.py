"""How an answer is waited for: looked for first if that was of use lately, and acknowledged when more of it is to come.

What has come of an answer is acknowledged at once when more of it is waited for, and only then. The state of the socket
(TCP_QUICKACK) says nothing: when its timer for delayed acknowledgements goes off, it is the same as after it was asked.
So what is asked of the socket is written down.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import gevent
import pytest
from certificates import self_signed, server_context
from flows import PATIENCE, in_thread, until

from service_utils.dialing import dial
from service_utils.http import transport
from service_utils.http.transport import PlainStream, SecureStream

TURNS = 6


class Noting:
    """A socket, and what options it was given."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.asked: list[tuple[Any, ...]] = []

    def setsockopt(self, *option: Any) -> None:
        self.asked.append(option)
        self._raw.setsockopt(*option)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._raw, name)


@contextmanager
def peer(context: ssl.SSLContext | None) -> Iterator[tuple[int, threading.Event]]:
    """Answers in one piece some times, then in two: the second one when the event is set."""
    go_on = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            sock, _ = listener.accept()
            if context is not None:
                sock = context.wrap_socket(sock, server_side=True)
            with sock:
                for _ in range(TURNS):
                    sock.recv(100)
                    sock.sendall(b"answer")
                sock.recv(100)
                sock.sendall(b"head")
                go_on.wait(PATIENCE)
                sock.sendall(b"body")

        serving = in_thread(serve)
        try:
            yield listener.getsockname()[1], go_on
        finally:
            go_on.set()
            serving.result(PATIENCE)


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("hub", [False, True])
def test_the_head_is_acknowledged_while_the_body_is_waited_for(tls: bool, hub: bool, tmp_path: Path) -> None:
    path = self_signed(tmp_path)
    with peer(server_context(path) if tls else None) as (port, go_on):
        stream: PlainStream | SecureStream = PlainStream(
            dial([(socket.AF_INET, ("127.0.0.1", port))], monotonic() + PATIENCE)
        )
        stream.deadline = monotonic() + PATIENCE
        if tls:
            context = ssl.create_default_context(cafile=str(path))
            stream = SecureStream(stream, context, "127.0.0.1")  # type: ignore[arg-type]

        raw = stream._raw = Noting(stream._raw)  # type: ignore[assignment]
        for _ in range(TURNS):
            stream.send(b"request")
            assert stream.receive() == b"answer"
        stream.send(b"request")
        assert stream.receive() == b"head"
        assert raw.asked == [], "an answer in one piece is acknowledged with the next request"
        reading = in_thread(lambda: stream.receive(True), hub=hub)
        until(lambda: raw.asked)
        go_on.set()
        assert reading.result(PATIENCE) == b"body"
        assert set(raw.asked) == {(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)}
        stream.close()


class Watched:
    """A stream whose clock moves when the test says so, and that notes when it was looked for and when waited for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now, self.tick = 1000.0, 0.0
        self.done: list[str] = []
        self.theirs, ours = socket.socketpair()
        ours.setblocking(False)
        self.stream = PlainStream(ours)  # type: ignore[arg-type]  # it has what is needed
        self.stream.deadline = 1e9
        self.ready = True
        self.stream._looking = self  # type: ignore[assignment]
        self.stream._waits = self  # type: ignore[assignment]
        monkeypatch.setattr(transport, "monotonic", self.clock)

    def clock(self) -> float:
        self.now += self.tick
        return self.now

    def poll(self, timeout: int) -> list[Any]:
        self.done.append("look")
        return [1] if self.ready else []

    def wait(self, events: int, timeout: float) -> int:
        self.done.append("wait")
        return events

    def receive(self) -> list[str]:
        """What is done until an answer is there."""
        self.theirs.send(b"answer")
        self.done = []
        assert self.stream.receive() == b"answer"
        return self.done

    def close(self) -> None:
        """Of what waits."""

    def end(self) -> None:
        self.stream.close()
        self.theirs.close()


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    watched = Watched(monkeypatch)
    yield watched
    watched.end()


def test_an_answer_that_is_there_at_once_is_not_slept_for_but_every_turn(watched: Watched) -> None:
    for _ in range(3):
        assert watched.receive() == ["look", "wait"], "the hub has its turn"
        assert watched.receive() == ["look"]
        watched.now += transport.TURN / 2
        assert watched.receive() == ["look"]
        watched.now += transport.TURN


def test_what_does_not_come_at_once_is_looked_for_more_and_more_seldom(watched: Watched) -> None:
    watched.ready, watched.tick = False, transport.LOOKING
    looked = [number for number in range(1000) if "look" in watched.receive()]
    assert looked[:6] == [0, 2, 6, 14, 30, 62]
    assert looked[-1] - looked[-2] == 2**transport.MOST_IN_VAIN
    watched.ready, watched.tick = True, 0.0
    while "look" not in watched.receive():
        pass
    assert watched.receive() == ["look"], "now it is of use again"
    watched.ready, watched.tick = False, transport.LOOKING
    assert ["look" in watched.receive() for _ in range(3)] == [True, False, True], "those before are forgotten"


def test_nothing_is_looked_for_while_others_wait(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    watched.receive()
    monkeypatch.setattr(transport, "_waiting", {object()})
    assert watched.receive() == ["wait"]


def test_who_waits_is_known_and_forgotten(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def wait(events: int, timeout: float) -> int:
        seen.append(watched.stream in transport._waiting)
        return 0

    monkeypatch.setattr(watched, "wait", wait)
    watched.ready, watched.tick = False, transport.LOOKING
    with pytest.raises(TimeoutError):
        watched.stream.receive()
    assert seen == [True]
    assert watched.stream not in transport._waiting


def test_other_greenlets_run_while_every_answer_is_there_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "FIRST", 1)
    theirs, ours = socket.socketpair()
    ours.setblocking(False)
    theirs.sendall(bytes(100_000))
    stream = PlainStream(ours)  # type: ignore[arg-type]
    stream.deadline = monotonic() + PATIENCE
    ran: list[int] = []

    def receive() -> int:
        for number in range(100_000):
            if ran:
                return number
            stream.receive()
        return -1

    receiving = gevent.spawn(receive)
    gevent.spawn(ran.append, 1)
    receiving.join(PATIENCE)
    assert receiving.value is not None
    assert receiving.value > 0
    stream.close()
    theirs.close()

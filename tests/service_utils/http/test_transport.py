"""What has come of an answer is acknowledged at once when more of it is waited for, and only then; what near servers
answer is looked for.

The state of the socket (TCP_QUICKACK) says nothing: when its timer for delayed acknowledgements goes off, it is the
same as after it was asked. So what is asked of the socket is written down.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import pytest
from certificates import self_signed, server_context
from flows import PATIENCE, in_thread, until

from service_utils import near
from service_utils.dialing import dial
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
def test_near_answers_are_looked_for(tls: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece of each answer, and nothing else: neither the handshake nor the rest."""
    path = self_signed(tmp_path)
    with peer(server_context(path) if tls else None) as (port, go_on):
        asked: list[float | None] = []
        answer = near.NearWaits.answer
        monkeypatch.setattr(near.NearWaits, "answer", lambda self, left: (asked.append(left), answer(self, left))[1])
        stream: PlainStream | SecureStream = PlainStream(
            dial([(socket.AF_INET, ("127.0.0.1", port))], monotonic() + PATIENCE)
        )
        stream.deadline = monotonic() + PATIENCE
        if tls:
            context = ssl.create_default_context(cafile=str(path))
            stream = SecureStream(stream, context, "127.0.0.1")  # type: ignore[arg-type]
        assert asked == []
        for turn in range(TURNS):
            stream.send(b"request")
            waiting = gate(stream) if tls else nullcontext()
            with waiting:
                assert stream.receive() == b"answer"
            assert len(asked) == turn + 1
        stream.send(b"request")
        assert stream.receive() == b"head"
        go_on.set()
        before = len(asked)
        assert stream.receive(True) == b"body"
        assert len(asked) == before
        stream.close()


@contextmanager
def gate(stream: Any) -> Iterator[None]:
    """Its socket has nothing yet when it is first asked."""
    raw = stream._raw

    class Late:
        def __getattr__(self, name: str) -> Any:
            return getattr(raw, name)

        def recv_into(self, *_: Any) -> int:
            stream._raw = raw
            raise BlockingIOError

    stream._raw = Late()
    yield
    assert stream._raw is raw


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

"""Messages from a worker to its supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from evpy.server.reports import MOST_TEXT, Receiver, send


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


def test_messages_arrive_whole_and_in_order(receiver: Receiver) -> None:
    assert send(receiver.peer, "failed", reason='a "reason"\nof two lines', traceback="")
    assert send(receiver.peer, "ready")
    assert list(receiver.take()) == [
        {"event": "failed", "reason": 'a "reason"\nof two lines', "traceback": ""},
        {"event": "ready"},
    ]
    assert list(receiver.take()) == []


def test_texts_are_cut_to_what_a_message_holds(receiver: Receiver) -> None:
    assert send(receiver.peer, "blocked", stack="\x00" * 100_000, thread=0)
    (message,) = receiver.take()
    assert message["stack"] == "\x00" * MOST_TEXT


def test_a_worker_never_waits_for_its_supervisor(receiver: Receiver) -> None:
    sent = 0
    while send(receiver.peer, "blocked", stack="x" * 8000):
        sent += 1
    assert sent > 0
    assert len(list(receiver.take())) == sent
    assert send(receiver.peer, "ready")


def test_what_is_no_message_is_skipped(receiver: Receiver) -> None:
    for data in (b"not JSON", b"[1]", b'{"event": 5}', b"\xff"):
        os.write(receiver.peer, data)
    send(receiver.peer, "ready")
    assert list(receiver.take()) == [{"event": "ready"}]


def test_the_end_of_the_worker_is_no_message(receiver: Receiver) -> None:
    send(receiver.peer, "failed", reason="last words")
    receiver.release_peer()
    assert [message["reason"] for message in receiver.take()] == ["last words"]
    assert list(receiver.take()) == []


def test_nobody_listens() -> None:
    receiver = Receiver()
    peer = os.dup(receiver.peer)
    receiver.close()
    assert not send(peer, "ready")
    os.close(peer)

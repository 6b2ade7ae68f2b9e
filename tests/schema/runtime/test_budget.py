"""A time budget for one document: the caller gets LimitExceeded, whatever kind of loop waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import gevent
import pytest

import schema
from schema.runtime import offload

S = schema.load(
    b'<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r" type="xs:int"/></xs:schema>'
)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[schema.Schema, threading.Event]]:
    go_on, ended = threading.Event(), threading.Event()
    s = S.with_rules()
    judged = s._judged

    def wait(data: bytes) -> Any:
        try:
            go_on.wait()
            return judged(data)
        finally:
            ended.set()

    monkeypatch.setattr(s, "_judged", wait)
    s.max_seconds = 0.01
    yield s, go_on
    go_on.set()
    ended.wait()
    for thread in threading.enumerate():
        if thread.name.startswith("schema:"):
            thread.join()


def refused(s: schema.Schema) -> None:
    with pytest.raises(schema.LimitExceeded, match=r"took longer than 0\.01 s"):
        s.from_xml(b"<r>1</r>")


def test_without_a_loop(slow: Any) -> None:
    refused(slow[0])


def test_under_asyncio(slow: Any) -> None:
    async def main() -> None:
        await offload.asynchronously(refused, slow[0])
        await asyncio.get_running_loop().shutdown_default_executor()

    asyncio.run(main())


def test_under_gevent(slow: Any) -> None:
    failed: list[BaseException] = []

    def run() -> None:
        try:
            gevent.spawn(refused, slow[0]).get()
            slow[1].set()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert not failed


def test_in_time(slow: Any) -> None:
    s, go_on = slow
    go_on.set()
    s.max_seconds = 60.0
    assert s.from_xml(b"<r>1</r>") == 1
    with pytest.raises(schema.ValidationError) as caught:
        s.from_xml(b"<r>x</r>")
    assert caught.value.errors[0].path == "/r"

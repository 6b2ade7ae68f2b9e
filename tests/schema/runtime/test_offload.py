"""Large documents: the event loop goes on, and the result is the same."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Any

import gevent
import pytest

import schema
from schema.json import badgerfish
from schema.runtime import offload

XSD = b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="a" maxOccurs="unbounded"><xs:complexType><xs:sequence><xs:element name="b" type="xs:int"/>
  </xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"""
COUNT = 20_000
LARGE = b"<r>" + b"<a><b>1</b></a>" * COUNT + b"</r>"
SMALL = b"<r><a><b>1</b></a></r>"


@pytest.fixture(scope="module")
def s() -> schema.Schema:
    return schema.load(XSD).prepare()


class Threads:
    """An executor that notes in which thread it worked; ``result`` lets the hub go on."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def submit(self, function: Any, /, *args: Any) -> Any:
        self.calls.append(function.__name__)
        pool = gevent.get_hub().threadpool
        future: Future[Any] = Future()
        task = pool.spawn(function, *args)

        class Result:
            @staticmethod
            def result() -> Any:
                return task.get()

        assert future
        return Result()


def in_hub(function: Any) -> Any:
    """Calls in a thread with a gevent hub of its own, which is gone afterwards."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(gevent.spawn(function).get())
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


def ticking(function: Any) -> tuple[Any, int]:
    """The result, and how often another greenlet got its turn meanwhile."""
    done, ticks = [], [0]

    def tick() -> None:
        while not done:
            gevent.sleep(0.0001)
            ticks[0] += 1

    other = gevent.spawn(tick)
    value = function()
    done.append(1)
    other.join()
    return value, ticks[0]


def test_other_greenlets_go_on(s: schema.Schema) -> None:
    expected = s.from_xml(LARGE)
    value, ticks = in_hub(lambda: ticking(lambda: s.from_xml(LARGE)))
    assert value == expected
    assert ticks > 5
    text, ticks = in_hub(lambda: ticking(lambda: s.to_xml(value)))
    assert text == s.to_xml(expected)
    assert ticks > 5


def test_a_chosen_executor_parses_and_validates(s: schema.Schema) -> None:
    executor = Threads()
    offload.use(executor)
    try:
        in_hub(lambda: s.from_xml(LARGE))
        assert executor.calls == ["_judged", "end_here"]
        in_hub(lambda: s.from_xml(SMALL))
        assert executor.calls == ["_judged", "end_here"]
        s.from_xml(LARGE)  # no hub, nobody waits
        assert executor.calls == ["_judged", "end_here"]
    finally:
        offload.use(None)


def test_faults_come_back(s: schema.Schema) -> None:
    def bad() -> Any:
        with pytest.raises(schema.ValidationError) as caught:
            s.from_xml(LARGE.replace(b"<b>1</b></a></r>", b"<b>x</b></a></r>"))
        return caught.value.errors[0]

    assert in_hub(bad).path == f"/r/a[{COUNT}]/b"


def test_asyncio_goes_on(s: schema.Schema) -> None:
    async def main() -> tuple[Any, int]:
        ticks = 0
        call = asyncio.ensure_future(offload.asynchronously(s.from_xml, LARGE))
        while not call.done():
            await asyncio.sleep(0)
            ticks += 1
        await asyncio.get_running_loop().shutdown_default_executor()
        return await call, ticks

    value, ticks = asyncio.run(main())
    assert value == s.from_xml(LARGE)
    assert ticks > 5


def test_pace_breathes_when_it_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    now, breaths = [0.0], []

    class Loop:
        @staticmethod
        def breathe() -> None:
            breaths.append(now[0])

    monkeypatch.setattr(offload.time, "perf_counter", lambda: now[0])
    monkeypatch.setattr(offload, "current", lambda: Loop)
    offload.begin()
    for _ in offload.pace(range(100)):
        now[0] += 0.0003
    assert len(breaths) == 50
    assert breaths[0] == pytest.approx(0.0006)


@pytest.mark.parametrize("mapping", ["lua_schema", "badgerfish"])
def test_other_mappings_breathe_too(s: schema.Schema, monkeypatch: pytest.MonkeyPatch, mapping: Any) -> None:
    """Both ways, with a clock by which each look takes a tenth of a millisecond: after every few items."""
    tree, natural = s._judged(LARGE), s.xml_to_json(LARGE)
    data = s.xml_to_json(LARGE, mapping=mapping)
    now, breaths = [0.0], [0]

    class Loop:
        @staticmethod
        def breathe() -> None:
            breaths[0] += 1

    def clock() -> float:
        now[0] += 0.0001
        return now[0]

    monkeypatch.setattr(offload.time, "perf_counter", clock)
    monkeypatch.setattr(offload, "current", lambda: Loop)
    for call in (
        (lambda: s._lua("r").encode(natural), lambda: s._lua("r").decode(data))
        if mapping == "lua_schema"
        else (lambda: badgerfish.encode(tree), lambda: badgerfish.decode(data))
    ):
        before = breaths[0]
        call()
        assert breaths[0] - before > COUNT / 20

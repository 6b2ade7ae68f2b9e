"""Large objects are freed bit by bit where a loop waits, at once where none does, and nothing that is in use goes."""

from __future__ import annotations

import asyncio
import gc
import itertools
import pickle
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import gevent
import msgspec
import pytest

import schema
from schema.runtime import release
from schema.runtime.release import LONG, Many, let_go, many


class Item:
    """Something whose end can be seen."""


@pytest.fixture(autouse=True)
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A clock by which each look takes a tenth of a millisecond: five pieces make a slice."""
    now = [0.0]

    def clock() -> float:
        now[0] += 0.0001
        return now[0]

    monkeypatch.setattr(release.time, "perf_counter", clock)
    yield
    assert not release._graves.lists
    assert not release._graves.digging


def in_hub(function: Any) -> Any:
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


def items(number: int) -> tuple[list[Item], weakref.WeakSet[Item]]:
    made = [Item() for _ in range(number)]
    return made, weakref.WeakSet(made)


def alive_after_each_turn() -> list[int]:
    made, alive = items(5000)
    held = Many(made)
    del made
    counts = [len(alive)]
    del held
    while counts[-1]:
        counts.append(len(alive))
        gevent.sleep(0.00001)
    return counts


def test_a_long_list_goes_bit_by_bit_under_gevent() -> None:
    counts = in_hub(alive_after_each_turn)
    assert counts[:2] == [5000, 5000]  # nothing at once
    assert len(set(counts)) > 10  # a turn of ours may see two or three slices
    assert all(before - after <= 500 for before, after in itertools.pairwise(counts))


def test_a_long_list_goes_bit_by_bit_under_asyncio() -> None:
    async def main() -> list[int]:
        made, alive = items(500)
        held = Many(made)
        del made, held
        counts = [len(alive)]
        while counts[-1]:
            await asyncio.sleep(0)
            counts.append(len(alive))
        return counts

    counts = asyncio.run(main())
    assert counts[0] == 500
    assert len(counts) > 5


def test_without_a_loop_it_goes_at_once() -> None:
    made, alive = items(500)
    held = Many(made)
    del made
    assert len(held) == len(alive) == 500
    del held
    assert not alive


def test_what_is_used_elsewhere_stays() -> None:
    def run() -> int:
        made, alive = items(500)
        held = Many(made)
        kept = held[100:200]
        del made, held
        for _ in range(2000):
            gevent.sleep(0.00001)
        assert len(kept) == 100
        return len(alive)

    assert in_hub(run) == 100


def test_lists_in_lists() -> None:
    def run() -> int:
        made, alive = items(1000)
        held = Many(Many(made[n : n + 100]) for n in range(0, 1000, 10))
        del made, held
        for _ in range(2000):
            gevent.sleep(0.00001)
        return len(alive)

    assert in_hub(run) == 0


def test_it_is_a_list_in_every_other_respect() -> None:
    value = Many(range(100))
    assert value == list(range(100))
    assert msgspec.json.encode({"a": value}) == msgspec.json.encode({"a": list(range(100))})
    assert pickle.loads(pickle.dumps(value)) == value
    assert repr(value[:2]) == "[0, 1]"
    assert many([1]).__class__ is list
    assert many([0] * (LONG + 1)).__class__ is Many


def test_letting_go_of_what_nobody_else_has() -> None:
    def run() -> tuple[int, int]:
        long, alive = items(500)
        short, others = items(3)
        let_go({"a": [short, {"b": long}]})
        return len(alive), len(others)

    assert in_hub(run) == (0, 3)
    long, alive = items(500)
    let_go(long)
    assert len(long) == len(alive) == 500  # no loop waits: they go when the caller lets go of them


def test_readers_make_such_lists_where_a_loop_waits() -> None:
    s = schema.load(
        b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
      <xs:element name="a" type="xs:string" maxOccurs="unbounded"/>
      <xs:element name="b" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:choice minOccurs="0"
        maxOccurs="unbounded"><xs:element name="c" type="xs:string"/><xs:element name="d" type="xs:string"/></xs:choice>
      </xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"""
    )
    document = f"<r>{'<a>text</a>' * 3000}<b>{'<c/>' * 100}</b><b><d/></b></r>".encode()
    plain = s.from_xml(document)
    value = in_hub(lambda: s.from_xml(document))
    assert value == plain
    assert [type(x) for x in (plain.a, value.a, value.b, value.b[0].choice)] == [list, Many, list, Many]
    del value
    gc.collect()

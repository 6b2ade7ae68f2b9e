"""JSON that is decoded and encoded in pieces is the same as at one go, and so are its faults."""

from __future__ import annotations

import gc
import itertools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import gevent
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import schema
from schema.json import pieces
from schema.json.natural import _encoder
from schema.runtime import offload

if pieces._pieces is None:
    pytest.skip("no compiled part of schema.json here", allow_module_level=True)

T = TypeVar("T")
S = schema.load(
    b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema">
  <xs:complexType name="Line"><xs:sequence>
    <xs:element name="name" type="xs:string"/><xs:element name="price" type="xs:decimal" minOccurs="0"/>
    <xs:element name="part" type="Line" minOccurs="0" maxOccurs="unbounded"/>
    <xs:element name="big" type="xs:integer" nillable="true" minOccurs="0"/>
  </xs:sequence><xs:attribute name="id" type="xs:int"/></xs:complexType>
  <xs:complexType name="Special"><xs:complexContent><xs:extension base="Line"><xs:sequence>
    <xs:element name="why" type="xs:string" maxOccurs="unbounded"/></xs:sequence></xs:extension></xs:complexContent>
  </xs:complexType>
  <xs:element name="order"><xs:complexType><xs:sequence>
    <xs:element name="line" type="Line" maxOccurs="unbounded"/>
    <xs:element name="last" type="Line" minOccurs="0"/>
    <xs:choice minOccurs="0" maxOccurs="unbounded">
      <xs:element name="a" type="xs:int"/><xs:element name="b" type="xs:date"/></xs:choice>
    <xs:element name="plain" minOccurs="0" maxOccurs="unbounded"><xs:complexType><xs:sequence>
      <xs:element name="name" type="xs:string"/><xs:element name="n" type="xs:int" maxOccurs="unbounded"/></xs:sequence>
    </xs:complexType></xs:element>
    <xs:element name="note" type="xs:anyType" minOccurs="0"/>
  </xs:sequence></xs:complexType></xs:element></xs:schema>"""
)


class Loop:
    """A loop that counts its turns."""

    def __init__(self) -> None:
        self.turns = 0

    def elsewhere(self, function: Callable[..., T], *args: Any, timeout: float | None = None) -> T:
        return function(*args)

    def breathe(self) -> None:
        self.turns += 1


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A loop that has to wait, for any text, with short pieces and a breath at each opportunity."""
    made = Loop()
    monkeypatch.setattr(pieces, "PIECE", 60)
    monkeypatch.setattr(pieces, "INLINE_LIMIT", 0)
    monkeypatch.setattr(pieces, "current", lambda: made)
    monkeypatch.setattr(offload, "current", lambda: made)
    monkeypatch.setattr(offload, "BREATH", 0.0)
    return made


def with_loop(piece: int, function: Callable[[], T]) -> T:
    """The same, within hypothesis."""
    with pytest.MonkeyPatch.context() as patch:
        made = Loop()
        patch.setattr(pieces, "PIECE", piece)
        patch.setattr(pieces, "INLINE_LIMIT", 0)
        patch.setattr(pieces, "current", lambda: made)
        return function()


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=6)
)
SPACES = st.sampled_from(["", " ", "\n\t", "  \r\n "])


@settings(max_examples=300, deadline=None)
@given(VALUES, st.integers(1, 60), SPACES)
def test_values_without_a_type(value: Any, piece: int, space: str) -> None:
    text = msgspec.json.format(msgspec.json.encode(value), indent=len(space)).replace(b": ", b": " + space.encode())
    expected = msgspec.json.decode(text)
    assert with_loop(piece, lambda: pieces.loads(text)) == expected
    assert with_loop(piece, lambda: pieces.loads(text.decode())) == expected
    assert with_loop(piece, lambda: pieces.encode_any(value)) == msgspec.json.encode(value)


@settings(max_examples=1000, deadline=None)
@given(VALUES, st.integers(1, 40), st.data())
def test_what_is_no_json_is_none_in_pieces(value: Any, piece: int, data: st.DataObject) -> None:
    text = msgspec.json.encode(value)
    for _ in range(data.draw(st.integers(1, 2))):
        at = data.draw(st.integers(0, len(text)))
        put = data.draw(st.sampled_from([b"", *map(bytes, zip(b',[]{}":\\1 '))]))
        text = text[:at] + put + text[at + data.draw(st.integers(0, 2)) :]
    try:
        expected = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError):
        with pytest.raises((msgspec.DecodeError, UnicodeDecodeError)):
            with_loop(piece, lambda: pieces.loads(text))
    else:
        assert with_loop(piece, lambda: pieces.loads(text)) == expected


def line(n: int, **more: Any) -> dict[str, Any]:
    return {"@xsi:type": "Line", "name": f"bolt {n}", "price": "1.50", "@id": n, **more}


def order(**more: Any) -> dict[str, Any]:
    return {
        "line": [line(n, part=[line(m) for m in range(n % 5)]) for n in range(20)],
        "last": line(1, part=[line(3, why=["so"] * 30, **{"@xsi:type": "Special"}), *[line(n) for n in range(9)]]),
        "choice": [{"a": 1}, {"b": "2024-01-01"}] * 20,
        "plain": [{"name": "a", "n": list(range(n))} for n in range(1, 50, 8)],
        "note": ["note", {}, ["text", *[["b", {"c": "1"}, ["x"]] for _ in range(20)]]],
        **more,
    }


def test_objects(loop: Loop) -> None:
    text = msgspec.json.encode(order())
    in_pieces = S._natural("order").decode(text)
    assert loop.turns > 40
    loop.turns = 0
    assert S._natural("order").encode(in_pieces) == _encoder.encode(in_pieces)
    assert loop.turns > 40
    assert in_pieces == S._natural("order")._decoder.decode(text)
    assert type(in_pieces.last.part[0]).__name__ == "Special"
    lists = [in_pieces.line, in_pieces.line[4].part, in_pieces.choice, in_pieces.note.content]
    assert not any(gc.is_tracked(one) for one in lists)  # there are a lot, for the collector to look at


FAULTS: list[dict[str, Any]] = [
    order(line=[line(n) for n in range(9)] + [line(9, price=True)]),
    order(line=[line(n) for n in range(9)] + [line(9, colour="red")]),
    order(line=[line(n) for n in range(9)] + [{"price": "1"}]),
    order(line=[line(0, part=[line(n) for n in range(9)] + [line(9, price=[])])]),
    order(line=[line(0), *[line(n, part=[line(m) for m in range(9)], name=3) for n in range(2)]]),
    order(line={"a": list(range(40))}),
    order(line="x" * 100),
    order(last=line(1, part=[line(n) for n in range(9)], wrong=[1] * 40)),
    order(last={"price": "1", "part": [line(n) for n in range(9)]}),
    order(last=[line(n) for n in range(9)]),
    order(line=[line(n) for n in range(9)] + [None]),
    order(line=[line(n, price=None) for n in range(9)]),
    order(last={"name": "x", "price": None, "part": [line(n) for n in range(9)]}),
    order(last=None),
    order(note={"a": ["x"] * 50}),
    order(choice=[{"a": 1}, {"c": 1}, *[{"a": 1}] * 20]),
    order(last={**line(1, part=[line(n) for n in range(9)]), "@xsi:type": "None"}),
    order(last={**line(1, part=[line(n) for n in range(9)]), "@xsi:type": 5}),
    order(last=line(1, part=[line(1, **{"@xsi:type": "No"}), *map(line, range(9))])),
    order(last={"@xsi:type": "Line", "price": "1", "part": [line(n) for n in range(9)]}),
    order(last={"@xsi:type": "Line", "name": "x", "price": None, "part": [line(n) for n in range(9)]}),
    order(plain=[{"name": "a", "n": list(range(60))}, {"n": list(range(60))}]),
    order(plain=[{"name": "a", "n": [*range(60), "x"]}]),
    order(plain=[{"name": "a", "n": [*range(60), None]}]),
    order(plain=[{"name": "a", "n": list(range(60)), "m": 1}]),
    {"line": [], "xyz": list(range(99))},
]


@pytest.mark.parametrize("number", range(len(FAULTS)))
def test_faults_of_shape(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    text = msgspec.json.encode(FAULTS[number])
    natural = S._natural("order")
    with pytest.raises(schema.ValidationError) as at_once:
        natural.decode(text)
    with pytest.raises(schema.ValidationError) as in_pieces:
        with_loop(60, lambda: natural.decode(text))
    assert in_pieces.value.errors == at_once.value.errors


def test_nil_is_no_fault(loop: Loop) -> None:
    text = msgspec.json.encode(
        order(last={"@xsi:type": "Line", "name": "x", "big": None, "part": [line(n, big=None) for n in range(9)]})
    )
    assert S._natural("order").decode(text).last.part[3].big is None


def test_members_that_come_twice(loop: Loop) -> None:
    many = msgspec.json.encode([line(n) for n in range(9)]).decode()
    one = msgspec.json.encode([line(5)]).decode()
    for first, second in itertools.permutations((many, one)):
        text = f'{{"line": {first}, "line": {second}, "note": ["note"]}}'
        assert len(S._natural("order").decode(text).line) == len(msgspec.json.decode(second))


def test_texts_that_are_no_unicode(loop: Loop) -> None:
    with pytest.raises(schema.ValidationError, match="json-not-well-formed"):
        S._natural("order").decode(b'{"line": [' + b'{"@xsi:type": "Line", "name": "\xff"},' * 20 + b"1]}")
    with pytest.raises(schema.ValidationError, match="json-not-well-formed"):
        S._natural("order").decode('{"line": [' + '{"@xsi:type": "Line", "name": "\ud800"},' * 20 + "1]}")


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"line":' * 100_000, b'{"line":' * 900 + b"{}" + b"}" * 900])
def test_depth(loop: Loop, text: bytes) -> None:
    with pytest.raises(schema.ValidationError):
        S._natural("order").decode(text)


def test_bytes_are_counted_from_the_beginning(loop: Loop) -> None:
    text = b'{"plain": [' + b'{"name": "x"}, ' * 20 + b'{"name": x}, {"name": "y"}]}'
    with pytest.raises(msgspec.DecodeError, match=rf"\(byte {text.index(b': x') + 2}\)"):
        pieces.loads(text)


@pytest.mark.parametrize("mapping", ["natural", "lua_schema", "badgerfish"])
def test_all_ways_under_gevent(mapping: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    large = {"line": [line(n, part=[line(m) for m in range(3)]) for n in range(500)]}
    value = S.from_json(msgspec.json.encode(large))
    text, data = S.to_json(value, mapping=mapping), S.to_xml(value)
    assert len(text) > offload.INLINE_LIMIT
    turns = itertools.count()

    class Counted(offload._Gevent):
        def breathe(self) -> None:
            next(turns)
            super().breathe()

    monkeypatch.setattr(offload, "_Gevent", Counted)
    monkeypatch.setattr(offload, "BREATH", 0.0)
    results: list[bool] = []

    def work() -> None:
        results.append(S.from_json(text, mapping=mapping) == value)
        results.append(S.to_json(value, mapping=mapping) == text)
        results.append(S.xml_to_json(data, mapping=mapping) == text)
        results.append(S.json_to_xml(text, mapping=mapping) == data)

    def run() -> None:
        try:
            gevent.joinall([gevent.spawn(work) for _ in range(2)])
        finally:
            gevent.get_hub().destroy(destroy_loop=True)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert results == [True] * 8
    assert next(turns) > 100

"""The garbage collector does not run while a large document is read, and is as it was afterwards."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

import schema
from schema.runtime.collector import paused

S = schema.load(
    b"""<xs:schema xmlns:xs="http://www.w3.org/2001/XMLSchema"><xs:element name="r"><xs:complexType><xs:sequence>
  <xs:element name="a" maxOccurs="unbounded"><xs:complexType><xs:sequence><xs:element name="b" type="xs:int"
  maxOccurs="2"/></xs:sequence></xs:complexType></xs:element></xs:sequence></xs:complexType></xs:element></xs:schema>"""
)
LARGE = b"<r>" + b"<a><b>1</b></a>" * 5000 + b"</r>"


@pytest.fixture
def collections() -> Iterator[list[Any]]:
    seen: list[Any] = []
    thresholds = gc.get_threshold()
    gc.set_threshold(700, 10, 10)  # Python 3.13 starts later by itself
    gc.callbacks.append(lambda phase, info: seen.append(info) if phase == "start" else None)
    yield seen
    gc.callbacks.pop()
    gc.set_threshold(*thresholds)


def test_reading(collections: list[Any]) -> None:
    tree = S._judged(LARGE)
    reader = S.unit("xml_reader")["ROOTS"]["r"]
    gc.collect()
    collections.clear()
    kept = reader(tree)
    assert len(collections) > 5  # without the pause
    gc.collect()
    collections.clear()
    again = S._read(tree, len(LARGE))
    assert len(collections) <= 1  # when it is over
    assert again == kept
    data = S.to_json(kept)
    natural = S._natural("r")
    gc.collect()
    collections.clear()
    S._judged_natural(data, "r")
    assert len(collections) < 5
    assert natural is S._natural("r")


def test_it_is_as_it_was() -> None:
    with paused():
        assert not gc.isenabled()
        with paused():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with paused():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="x"), paused():
        raise ValueError("x")
    assert gc.isenabled()

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import HTTPError
from evpy.http.multidict import MissingField, MultiDict

PAIRS = st.lists(st.tuples(st.text(max_size=3), st.integers()))


def test_the_first_value_is_the_value() -> None:
    m = MultiDict([("a", 1), ("b", 2), ("a", 3)])
    assert m["a"] == 1
    assert m.get("a") == 1
    assert m.get_all("a") == [1, 3]
    assert m.pairs() == [("a", 1), ("b", 2), ("a", 3)]
    assert list(m) == ["a", "b"]
    assert dict(m) == {"a": 1, "b": 2}
    assert len(m) == 2
    assert "a" in m
    assert "c" not in m
    assert 7 not in m


def test_absent_names() -> None:
    m = MultiDict([("a", 1)], what="query parameter")
    assert m.get("b") is None
    assert m.get("b", 5) == 5
    assert m.get_all("b") == []
    with pytest.raises(MissingField, match="400 query parameter 'b' is missing") as caught:
        m["b"]
    assert isinstance(caught.value, KeyError)
    assert isinstance(caught.value, HTTPError)
    with pytest.raises(KeyError) as plain:
        MultiDict[int]()["b"]
    assert not isinstance(plain.value, HTTPError)


def test_missing_field_survives_pickling() -> None:
    error = pickle.loads(pickle.dumps(MissingField("form field", "x")))
    assert (error.status, error.detail) == (400, "form field 'x' is missing")


def test_returned_lists_are_copies() -> None:
    m = MultiDict([("a", 1)])
    m.get_all("a").append(2)
    m.pairs().append(("b", 2))
    assert m.pairs() == [("a", 1)]
    assert m.get_all("a") == [1]


@given(PAIRS)
def test_agrees_with_its_pairs(pairs: list[tuple[str, int]]) -> None:
    m = MultiDict(pairs)
    assert m.pairs() == pairs
    for name in m:
        assert m.get_all(name) == [v for n, v in pairs if n == name]
    assert dict(m.items()) == dict(reversed(pairs))
    assert m == MultiDict(pairs)
    assert m == MultiDict(m.pairs())


def test_is_compared_by_content_and_not_hashable() -> None:
    assert MultiDict([("a", 1)]) == {"a": 1}
    assert MultiDict([("a", 1), ("a", 2)]) != MultiDict([("a", 1)])
    with pytest.raises(TypeError):
        hash(MultiDict[int]())

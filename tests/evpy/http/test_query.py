from __future__ import annotations

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import HTTPError
from evpy.http.query import parse_urlencoded

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def parse(text: str) -> list[tuple[str, str]]:
    return parse_urlencoded(text, what="query string")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", []),
        ("a=1&b=2&a=3", [("a", "1"), ("b", "2"), ("a", "3")]),
        ("a", [("a", "")]),
        ("=v", [("", "v")]),
        ("&&a=1&", [("a", "1")]),
        ("a=b=c", [("a", "b=c")]),
        ("a+b=c+d", [("a b", "c d")]),
        ("a=%2B%26%3D", [("a", "+&=")]),
        ("a=100%", [("a", "100%")]),
        ("a=%zz%4", [("a", "%zz%4")]),
        ("a;b=1", [("a;b", "1")]),
        ("n=%C3%A9", [("n", "\xe9")]),
        ("n=\xc3\xa9", [("n", "\xe9")]),  # raw UTF-8 octets as the core hands them over
    ],
)
def test_examples(text: str, expected: list[tuple[str, str]]) -> None:
    assert parse(text) == expected


@given(st.lists(st.tuples(TEXT, TEXT)))
def test_parsing_undoes_encoding(pairs: list[tuple[str, str]]) -> None:
    expected = [pair for pair in pairs if pair != ("", "")] if len(pairs) else []
    encoded = urlencode(pairs)
    assert [pair for pair in parse(encoded) if pair != ("", "")] == expected


@given(st.text(st.characters(max_codepoint=255)))
def test_any_latin1_text_is_parsed_or_refused_with_400(text: str) -> None:
    outcome: object = None
    try:
        outcome = parse(text)
    except HTTPError as error:
        outcome = error.status
    assert outcome == 400 or isinstance(outcome, list)


@pytest.mark.parametrize("text", ["a=%FF", "%C3=1", "a=\xe9", "a=%ED%A0%80"])
def test_what_is_not_utf8_is_refused(text: str) -> None:
    with pytest.raises(HTTPError, match="400 the query string is not UTF-8"):
        parse(text)


def test_the_number_of_fields_is_limited() -> None:
    assert len(parse_urlencoded("a&b&c", what="form", max_fields=3)) == 3
    with pytest.raises(HTTPError, match="413 the form has more than 3 fields"):
        parse_urlencoded("a&b&c&d", what="form", max_fields=3)

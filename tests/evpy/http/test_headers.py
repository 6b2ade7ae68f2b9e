from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http.headers import Headers, MutableHeaders, check_field, is_token, parse_media_type, prefers_json

TOKEN = st.text("abcXYZ019!#$%&'*+-.^_`|~", min_size=1, max_size=8)


def test_request_headers_ignore_case_and_keep_order() -> None:
    h = Headers([("Accept", "a"), ("X-Y", "1"), ("accept", "b")])
    assert h["ACCEPT"] == "a"
    assert h.get_all("Accept") == ["a", "b"]
    assert h.combined("accept") == "a, b"
    assert h.combined("none") == ""
    assert h.pairs() == [("Accept", "a"), ("X-Y", "1"), ("accept", "b")]
    assert "x-y" in h
    with pytest.raises(KeyError):
        h["z"]


def test_mutable_headers() -> None:
    h = MutableHeaders({"A": "1", "Set-Cookie": ["x=1", "y=2"]})
    h["a"] = "2"
    assert h.pairs() == [("Set-Cookie", "x=1"), ("Set-Cookie", "y=2"), ("a", "2")]
    h.add("A", "3")
    assert h.get_all("a") == ["2", "3"]
    assert h.setdefault("a", "9") == "2"
    assert h.setdefault("b", "9") == "9"
    assert h.pop("SET-cookie") == "x=1"
    assert h.pop("set-cookie") is None
    assert "set-cookie" not in h
    del h["A"]
    assert h.pairs() == [("b", "9")]
    with pytest.raises(KeyError):
        del h["A"]
    h.update([("B", "1"), ("b", "2"), ("c", "3")])
    assert h.pairs() == [("B", "1"), ("b", "2"), ("c", "3")]


def test_copies_are_independent() -> None:
    h = MutableHeaders({"a": "1"})
    twin = h.copy()
    twin["a"] = "2"
    twin.add("b", "3")
    assert h.pairs() == [("a", "1")]
    assert twin["A"] == "2"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b", "\x1b[0m", "a\x7fb", "\u20ac"])
def test_values_with_controls_or_beyond_latin1_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="position"):
        MutableHeaders({"x": value})
    h = MutableHeaders()
    with pytest.raises(ValueError, match="response header x"):
        h["x"] = value
    with pytest.raises(ValueError, match="response header x"):
        h.add("x", value)
    assert h.pairs() == []


@pytest.mark.parametrize("value", ["", "a\tb", "caf\xe9", " !~"])
def test_allowed_values(value: str) -> None:
    check_field("X-Test", value)


@pytest.mark.parametrize("name", ["", "a b", "a:", "a\r\n", "\xe9", "a\0", "(a)"])
def test_names_must_be_tokens(name: str) -> None:
    with pytest.raises(ValueError, match="response header"):
        MutableHeaders([(name, "x")])


@pytest.mark.parametrize(
    ("name", "value"),
    [("Transfer-Encoding", "chunked"), ("connection", "upgrade"), ("Connection", "keep-alive")],
)
def test_framing_belongs_to_the_server(name: str, value: str) -> None:
    with pytest.raises(ValueError, match="the server alone decides"):
        MutableHeaders({name: value})
    check_field("Connection", "close")


def test_wrong_types_say_so() -> None:
    with pytest.raises(TypeError, match="must be str, not int"):
        MutableHeaders([("x", 1)])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="is not a \\(name, value\\) pair"):
        MutableHeaders(["xyz"])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="must be str, not bytes"):
        MutableHeaders([(b"x", "y")])  # type: ignore[list-item]


@given(TOKEN)
def test_tokens(text: str) -> None:
    assert is_token(text)
    assert not is_token(text + " ")
    assert not is_token(text + "\n")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("text/html", ("text/html", {})),
        (' Text/HTML ; Charset="utf-8"', ("text/html", {"charset": "utf-8"})),
        ('a/b;x=1;x=2;; y="a\\"b;c"', ("a/b", {"x": "1", "y": 'a"b;c'})),
        ("a/b; x = 1", ("a/b", {})),
        ('a/b; x="open', ("a/b", {})),
        ("", ("", {})),
        (";charset=x", ("", {"charset": "x"})),
    ],
)
def test_media_types(value: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_media_type(value) == expected


@given(st.text('a/;= "\\\t,x', max_size=40))
def test_media_types_never_fail(value: str) -> None:
    parse_media_type(value)


@given(TOKEN, st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20))
def test_quoted_parameters_come_back(name: str, value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_media_type(f'a/b; {name}="{quoted}"') == ("a/b", {name.lower(): value})


@pytest.mark.parametrize(
    ("accept", "json"),
    [
        ("", False),
        ("*/*", False),
        ("application/json", True),
        ("application/problem+json", True),
        ("application/json, text/plain, */*", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("text/html, application/json", False),
        ("text/html;q=0.5, application/json", True),
        ("application/json;q=0.5, text/plain;q=0.6", False),
        ("application/json;q=0", False),
        ("application/json;q=x", False),
    ],
)
def test_who_prefers_json(accept: str, json: bool) -> None:
    assert prefers_json(accept) is json

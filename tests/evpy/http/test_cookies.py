from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http.cookies import MAX_COOKIE_BYTES, format_cookie, parse_cookies

NAME = st.text("abcxyzAB019!#$%&'*+-.^_`|~", min_size=1, max_size=8).filter(
    lambda name: not name.lower().startswith(("__host-", "__secure-"))
)
VALUE = st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", {}),
        ("a=1; b=2", {"a": "1", "b": "2"}),
        ("a=1;b=2;", {"a": "1", "b": "2"}),
        ("a=first; a=second", {"a": "first"}),
        ("a=x=y", {"a": "x=y"}),
        ("novalue; =noname; a=1", {"a": "1"}),
        ("bad name=1; \x01; a=1", {"bad name": "1", "a": "1"}),  # one odd cookie does not lose the others
        ('a="q\\"uo\\054te"', {"a": 'q"uo,te'}),
        ("a=caf\xc3\xa9", {"a": "caf\xe9"}),
        ("a=caf\xe9", {"a": "caf\xe9"}),
        ("a=", {"a": ""}),
    ],
)
def test_parsing(header: str, expected: dict[str, str]) -> None:
    assert parse_cookies(header) == expected


@given(NAME, VALUE)
def test_what_is_set_comes_back(name: str, value: str) -> None:
    pair = format_cookie(name, value).partition(";")[0]
    assert pair.isascii() or value.isascii() is False
    assert parse_cookies(f"before=1; {pair}; after=2") == {"before": "1", "after": "2", name: value} | (
        {"before": "1"} if name == "before" else {}
    )


@given(st.text(st.characters(max_codepoint=255)))
def test_parsing_never_fails(header: str) -> None:
    parse_cookies(header)


@given(st.text(), st.text())
def test_a_set_cookie_value_is_safe_or_refused(name: str, value: str) -> None:
    try:
        line = format_cookie(name, value)
    except ValueError:
        return
    assert not any(ord(c) < 32 or ord(c) == 127 for c in line)
    assert line.partition("=")[0] == name


def test_attributes() -> None:
    line = format_cookie(
        "sid",
        "x",
        max_age=60,
        expires=datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC),
        path="/app",
        domain=".example.org",
        secure=True,
        samesite="strict",
    )
    assert sorted(line.split("; ")) == sorted(
        [
            "sid=x",
            "Max-Age=60",
            "expires=Wed, 02 Jan 2030 03:04:05 GMT",
            "Path=/app",
            "Domain=.example.org",
            "Secure",
            "HttpOnly",
            "SameSite=Strict",
        ]
    )
    assert format_cookie("a", "b", path=None, httponly=False, samesite=None) == "a=b"
    assert format_cookie("a", "", max_age=0, expires=0) == (
        'a=""; expires=Thu, 01 Jan 1970 00:00:00 GMT; HttpOnly; Max-Age=0; Path=/; SameSite=Lax'
    )


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"name": "a b"}, "a name is made of"),
        ({"name": ""}, "a name is made of"),
        ({"name": "Path"}, "name of a cookie attribute"),
        ({"value": "a\nb"}, "without controls"),
        ({"value": "\u20ac"}, "latin-1"),
        ({"value": "x" * MAX_COOKIE_BYTES}, "browsers keep at most 4096"),
        ({"samesite": "sometimes"}, "samesite is"),
        ({"samesite": "None"}, "without secure=True"),
        ({"path": "app"}, "must start with '/'"),
        ({"path": "/a;b"}, "must start with '/'"),
        ({"path": "/a\r\nb"}, "must start with '/'"),
        ({"domain": "exa mple"}, "no domain name"),
        ({"domain": "-a.org"}, "no domain name"),
        ({"domain": "a.org\r\n"}, "no domain name"),
        ({"domain": ""}, "no domain name"),
        ({"expires": datetime(2030, 1, 1)}, "needs a time zone"),  # noqa: DTZ001 - that is the point
        ({"name": "__Secure-a"}, "needs secure=True"),
        ({"name": "__Host-a", "secure": True, "path": "/x"}, "needs path='/'"),
        ({"name": "__Host-a", "secure": True, "domain": "a.org"}, "needs path='/'"),
    ],
)
def test_what_browsers_would_not_keep_is_refused(options: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        format_cookie(**{"name": "a", "value": "b", **options})  # type: ignore[arg-type]


def test_a_value_must_be_text() -> None:
    with pytest.raises(TypeError, match="must be str, not int"):
        format_cookie("a", 1)  # type: ignore[arg-type]

"""Which cookies are kept, and to whom they go (RFC 6265bis)."""

from __future__ import annotations

from http.cookiejar import CookieJar

import pytest

from service_utils.http import InvalidRequest
from service_utils.http import cookies as store
from service_utils.http.urls import parse


def kept(url: str, *values: str) -> CookieJar:
    jar = store.make_jar()
    store.store(jar, parse(url), list(values))
    return jar


@pytest.mark.parametrize(
    ("url", "value", "to", "goes"),
    [
        ("http://example.com/", "a=1", "http://example.com/", True),
        ("http://example.com/", "a=1", "http://sub.example.com/", False),  # without Domain: this very host
        ("http://example.com/", "a=1; Domain=example.com", "http://sub.example.com/", True),
        ("http://example.com/", "a=1; Domain=example.com", "http://badexample.com/", False),
        ("http://a.example.com/", "a=1; Domain=example.com", "http://b.example.com/", True),
        ("http://a.example.com/", "a=1; Domain=b.example.com", "http://b.example.com/", False),
        ("http://example.com/", "a=1; Domain=com", "http://other.com/", False),
        ("http://shop.co.uk/", "a=1; Domain=co.uk", "http://other.co.uk/", False),
        ("http://10.0.0.1/", "a=1", "http://10.0.0.1/", True),
        ("http://10.0.0.1/", "a=1; Domain=0.0.1", "http://20.0.0.1/", False),
        ("http://10.0.0.1/", "a=1; Domain=0.0.1", "http://10.0.0.1/", False),
        ("https://example.com/", "a=1; Secure", "http://example.com/", False),
        ("https://example.com/", "a=1; Secure", "https://example.com/", True),
        ("http://example.com/", "a=1; Secure", "https://example.com/", False),  # set by whoever is on the way
        ("https://example.com/", "__Secure-a=1", "https://example.com/", False),
        ("https://example.com/", "__Secure-a=1; Secure", "https://example.com/", True),
        ("https://example.com/", "__Host-a=1; Secure; Path=/; Domain=example.com", "https://example.com/", False),
        ("https://example.com/", "__Host-a=1; Secure; Path=/", "https://example.com/", True),
        ("https://example.com/x/y", "__Host-a=1; Secure", "https://example.com/x/y", False),
        ("http://example.com/", f"a={'x' * 4096}", "http://example.com/", False),
        ("http://example.com/a/b", "a=1", "http://example.com/a/c", True),
        ("http://example.com/a/b", "a=1", "http://example.com/ab", False),
    ],
)
def test_to_whom_they_go(url: str, value: str, to: str, goes: bool) -> None:
    assert bool(store.to_send(kept(url, value), parse(to))) is goes


def test_a_server_cannot_fill_the_memory() -> None:
    jar = kept("http://example.com/", *(f"n{n}=1; Path=/{n % 7}" for n in range(200)))
    assert len(jar) == store.MAX_PER_DOMAIN
    assert "n199=1" in store.to_send(jar, parse(f"http://example.com/{199 % 7}/"))
    for n in range(store.MAX_DOMAINS + 5):
        store.store(jar, parse(f"http://h{n}.example.com/"), ["a=1"])
    assert len(jar) == store.MAX_DOMAINS
    assert not store.to_send(jar, parse("http://h0.example.com/"))


def test_what_was_put_into_a_jar_by_hand_changes_no_request() -> None:
    jar = kept("http://example.com/", "a=1")
    for cookie in jar:
        cookie.value = "1\r\nX: y"
    with pytest.raises(InvalidRequest):
        store.to_send(jar, parse("http://example.com/"))

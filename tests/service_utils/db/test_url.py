"""URLs of databases."""

from __future__ import annotations

from typing import Any

import pytest

from service_utils.db import connect
from service_utils.db.url import Address, parse_network_url


@pytest.mark.parametrize("wrong", ["", "nothing", "oracle://x", "sqlite:", "sqlite://host/x", "sqlite:x?cache=1"])
def test_urls_that_are_none_are_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", wrong or "x")
    with pytest.raises(ValueError, match=r"URL of a database|names no file|no option"):
        connect(wrong or None)


@pytest.mark.parametrize("scheme", ["sqlite:x", "postgresql://127.0.0.1/x", "mysql://127.0.0.1/x"])
@pytest.mark.parametrize(
    "settings",
    [{name: value} for name in ("statement_timeout", "lock_timeout", "connect_timeout") for value in (0, -1, "5")]
    + [{"timeout": -1}, {"timeout": "5"}, {"size": "5"}, {"keep": "1"}],
    ids=str,
)
def test_settings_that_make_no_sense_are_named(scheme: str, settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings)) + "="):
        connect(scheme, **settings)


def test_an_empty_url_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the default: it is what a variable was that nobody had set."""
    monkeypatch.setenv("DATABASE_URL", "sqlite::memory:")
    with pytest.raises(ValueError, match="URL of a database"):
        connect("")


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("x://u:p%40%2F@h:1/d?a=b", Address("h", 1, "u", "p@/", "d", (("a", "b"),))),
        ("x://h/d", Address("h", 5, "", "", "d")),
        ("x:///d", Address("localhost", 5, "", "", "d")),
        ("x://u@%2Frun%2FPg/d", Address("/run/Pg", 5, "u", "", "d")),
        ("x://u@[::1]:7/d", Address("::1", 7, "u", "", "d")),
        ("x://u:a,b@One,two:7,[::1]:8/d", Address("one", 5, "u", "a,b", "d", (), (("two", 7), ("::1", 8)))),
        ("x://u@/d?host=a,b&port=7", Address("a", 7, "u", "", "d", (), (("b", 7),))),
        ("x:///d?host=a,::1&port=7,8&x=y", Address("a", 7, "", "", "d", (("x", "y"),), (("::1", 8),))),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_network_url(url, 5) == address


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("mysql://h:0/d", "port"), ("mysql://h:65536/d", "port"), ("mysql://h:1x/d", "port"),
        ("mysql://[::1]7/d", "port"),
        ("mysql://a,,b/d", "comma"), ("mysql:///d?host=a,b,c&port=1,2", "3 hosts and 2 ports"),
        ("mysql://h/d?target_session_attrs=x", "there are any"), ("postgresql://h/d?load_balance_hosts=x", "there are"),
        ("mysql://h/d?x=y", "no option 'x'"), ("postgresql://h/d?x=y", "x"),
    ],
)  # fmt: skip
def test_hosts_and_options_that_are_none(url: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        connect(url)


def test_passwords_are_not_shown() -> None:
    address = parse_network_url("x://u:secret@h/d", 5)
    assert "secret" not in repr(address) + str(address)
    with pytest.raises(ValueError, match="port") as caught:
        parse_network_url("x://u:secret@h:port/d", 5)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="percent-encoded") as caught:
        parse_network_url("x://u:secret\u2100@h/d", 5)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="oracle") as caught:
        connect("oracle://u:secret@h/d")
    assert "secret" not in str(caught.value)

"""URLs of databases."""

from __future__ import annotations

import pytest

from service_utils.db import connect
from service_utils.db.url import Address, parse_network_url


@pytest.mark.parametrize("wrong", ["", "nothing", "oracle://x", "sqlite:", "sqlite://host/x", "sqlite:x?cache=1"])
def test_urls_that_are_none_are_refused(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", wrong or "x")
    with pytest.raises(ValueError, match=r"URL of a database|names no file|no option"):
        connect(wrong or None)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("x://u:p%40%2F@h:1/d?a=b", Address("h", 1, "u", "p@/", "d", (("a", "b"),))),
        ("x://h/d", Address("h", 5, "", "", "d")),
        ("x:///d", Address("localhost", 5, "", "", "d")),
        ("x://u@%2Frun%2FPg/d", Address("/run/Pg", 5, "u", "", "d")),
        ("x://u@[::1]:7/d", Address("::1", 7, "u", "", "d")),
    ],
)
def test_addresses(url: str, address: Address) -> None:
    assert parse_network_url(url, 5) == address


def test_passwords_are_not_shown() -> None:
    address = parse_network_url("x://u:secret@h/d", 5)
    assert "secret" not in repr(address) + str(address)
    with pytest.raises(ValueError, match="port") as caught:
        parse_network_url("x://u:secret@h:port/d", 5)
    assert "secret" not in str(caught.value)
    with pytest.raises(ValueError, match="oracle") as caught:
        connect("oracle://u:secret@h/d")
    assert "secret" not in str(caught.value)

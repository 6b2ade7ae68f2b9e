"""Digests, comparison, random tokens and codes."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

import gevent
import pytest

from service_utils import security
from service_utils.security import Secret, digest, file_digest, keyed_digest, random_code, random_token, same


def test_comparison_is_that_of_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """For texts, bytes and secrets; whatever their lengths are."""
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: (compared.append((a, b)), real(a, b))[1])
    assert same("é", "é".encode())
    assert not same(b"a", b"ab")
    assert Secret("a") != Secret("b")
    assert Secret("a") == Secret("a")
    assert compared == [("é".encode(),) * 2, (b"a", b"ab"), (b"a", b"b"), (b"a", b"a")]


def test_digests(tmp_path: Path) -> None:
    large = bytes(range(256)) * 4096
    (tmp_path / "file").write_bytes(large)
    expected = hashlib.sha256(large).hexdigest()
    assert digest("é") == hashlib.sha256("é".encode()).hexdigest()
    assert digest(large) == file_digest(tmp_path / "file") == gevent.spawn(digest, large).get() == expected
    assert digest(b"", "blake2b") == hashlib.blake2b(b"").hexdigest()
    # RFC 4231, test case 1
    assert keyed_digest(b"\x0b" * 20, "Hi There").startswith("b0344c61d8db38535ca8afceaf0bf12b")
    with pytest.raises(ValueError, match="at least 16"):
        keyed_digest(b"short", b"")


def test_same() -> None:
    assert same("é", "é".encode())
    assert not same("a", "b")
    assert not same("a", "aa")


def test_random() -> None:
    assert len(random_token()) == 43
    assert len({random_code() for _ in range(50)}) > 40
    assert set(random_code(2000, "ab")) == {"a", "b"}
    for bad in (
        lambda: random_token(8),
        lambda: random_code(0),
        lambda: random_code(6, "aa"),
        lambda: random_code(6, "a"),
    ):
        with pytest.raises(ValueError, match=r"at least|alphabet"):
            bad()


def test_exports() -> None:
    for name in security.__all__:
        assert getattr(security, name).__module__.startswith("service_utils.security")
    assert set(security.__all__) <= set(dir(security))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        security.nothing  # noqa: B018

"""Passwords, in greenlets that do not wait for each other's hashes."""

from __future__ import annotations

import gevent
import pytest

from efio import default_pool, run_blocking
from service_utils.security import Passwords, hash_password, needs_rehash, verify_password

CHEAP = Passwords(time=1, memory=64, lanes=1, at_once=2)


def test_defaults() -> None:
    kept = hash_password("correct horse")
    assert kept.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert verify_password(kept, "correct horse")
    assert not verify_password(kept, "Correct horse")
    assert not needs_rehash(kept)
    assert needs_rehash(CHEAP.hash("x"))


def test_edges() -> None:
    kept = CHEAP.hash("pässword\0with NUL\ud800")
    assert CHEAP.verify(kept, "pässword\0with NUL\ud800")
    assert not CHEAP.verify(kept, "pässword")
    assert not CHEAP.verify(kept, "")
    assert not CHEAP.verify(kept, "x" * 1_000_000)
    assert not CHEAP.verify(None, "anything")
    for password in ("", "x" * 4097):
        with pytest.raises(ValueError, match="1 to 4096"):
            CHEAP.hash(password)
    for nothing in ("", "plain", "$2b$12$abcdefghijklmnopqrstuv"):
        with pytest.raises(ValueError, match="not a hash of Argon2"):
            CHEAP.verify(nothing, "plain")


def test_a_user_that_does_not_exist_costs_as_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """One verification, of a hash that is kept; it is not made anew each time, which would take twice as long."""
    passwords = Passwords(time=1, memory=64, lanes=1)
    calls: list[str] = []
    for name in ("hash", "verify"):
        method = getattr(type(passwords._hasher), name)
        monkeypatch.setattr(
            type(passwords._hasher), name, lambda *a, _m=method, _n=name, **k: (calls.append(_n), _m(*a, **k))[1]
        )
    kept = passwords.hash("x")
    passwords.verify(None, "x")
    calls.clear()
    assert not passwords.verify(None, "x")
    unknown = calls.copy()
    calls.clear()
    assert not passwords.verify(kept, "y")
    assert unknown == calls == ["verify"]


def test_the_hub_goes_on() -> None:
    """While hashes are made, another greenlet has its turns; and no more are made at a time than was said."""
    running = most = 0
    real = CHEAP._hasher.hash
    turns = 0

    def watched(raw: bytes) -> str:
        nonlocal running, most
        running += 1
        most = max(most, running)
        seen = turns
        while turns < seen + 3:  # in a thread of the pool: until the hub has turned
            pass
        running -= 1
        return real(raw)

    def turning() -> None:
        nonlocal turns
        while True:
            turns += 1
            gevent.sleep(0.001)

    passwords = Passwords(time=1, memory=64, lanes=1, at_once=2)
    passwords._hasher = type("Hasher", (), {"hash": staticmethod(watched)})()
    turner = gevent.spawn(turning)
    hashing = [gevent.spawn(passwords.hash, "x") for _ in range(6)]
    gevent.joinall(hashing, raise_error=True)
    turner.kill()
    assert most <= 2


def test_threads_of_the_pool_do_not_wait_for_those_who_need_them() -> None:
    """All of them are given calls that verify, while greenlets whose turn it is have theirs in the queue behind."""
    kept = CHEAP.hash("x")
    threads = default_pool().statistics().max_workers
    for _ in range(5):
        asked = [gevent.spawn(CHEAP.verify, kept, "x") for _ in range(4)]
        asked += [gevent.spawn(run_blocking, CHEAP.verify, kept, "x") for _ in range(4 * threads)]
        asked += [gevent.spawn(CHEAP.verify, kept, "x") for _ in range(4)]
        gevent.joinall(asked, raise_error=True)
        assert all(greenlet.value for greenlet in asked)

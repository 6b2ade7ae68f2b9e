"""Sealing: the test vectors of XAES-256-GCM, rotation, and everything that must not open."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service_utils.security import BadKey, CannotOpen, Sealer, Secret
from service_utils.security.sealing import _Xaes

NONCE = b"ABCDEFGHIJKLMNOPQRSTUVWX"


@pytest.mark.parametrize(
    ("key", "aad", "sealed"),
    [
        (b"\x01" * 32, b"", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (b"\x03" * 32, b"c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ],
)
def test_vectors(key: bytes, aad: bytes, sealed: str) -> None:
    """Those of https://c2sp.org/XAES-256-GCM; the keys take both ways of the doubling in the key derivation."""
    assert _Xaes(key).encrypt_with(NONCE, b"XAES-256-GCM", aad).hex() == sealed


def test_accumulated_vectors() -> None:
    """Those of the same document: 10,000 keys, nonces and texts out of SHAKE-128, and a hash of what they give."""
    stream = memoryview(hashlib.shake_128().digest(10_000 * (32 + 24 + 2 * 256)))
    assert bytes(stream[:16]).hex() == "7f9c2ba4e88f827d616045507605853e"
    at = 0

    def take(count: int) -> bytes:
        nonlocal at
        at += count
        return bytes(stream[at - count : at])

    seen = hashlib.shake_128()
    for _ in range(10_000):
        xaes, nonce = _Xaes(take(32)), take(24)
        text, aad = take(take(1)[0]), take(take(1)[0])
        sealed = xaes.encrypt_with(nonce, text, aad)
        assert xaes.decrypt(nonce + sealed, aad) == text
        seen.update(sealed)
    assert seen.hexdigest(32) == "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"


@given(st.binary(), st.binary())
def test_round_trip(data: bytes, bound_to: bytes) -> None:
    sealer = Sealer(b"k" * 32)
    sealed = sealer.seal(data, bound_to=bound_to)
    assert len(sealed) == len(data) + 45
    assert sealer.open(sealed, bound_to=bound_to) == data


def test_nothing_else_opens() -> None:
    sealer = Sealer(Sealer.new_key())
    sealed = sealer.seal(b"data", bound_to="user 1")
    assert sealed != sealer.seal(b"data", bound_to="user 1")
    for at in range(len(sealed)):
        changed = bytearray(sealed)
        changed[at] ^= 1
        with pytest.raises(CannotOpen):
            sealer.open(bytes(changed), bound_to="user 1")
    for cut in range(len(sealed)):
        with pytest.raises(CannotOpen):
            sealer.open(sealed[:cut], bound_to="user 1")
    for bound_to in ("", "user 2"):
        with pytest.raises(CannotOpen):
            sealer.open(sealed, bound_to=bound_to)
    with pytest.raises(CannotOpen):
        Sealer(Sealer.new_key()).open(sealed, bound_to="user 1")


def test_rotation_and_texts() -> None:
    old, new = Sealer.new_key(), Sealer.new_key()
    text = Sealer(old).seal_text("grüße", bound_to="cookie")
    both = Sealer([new, old])
    assert both.open_text(text, bound_to="cookie") == "grüße"
    fresh = both.seal_text("x")
    assert Sealer(Secret(base64.b64encode(new).decode())).open_text(fresh) == "x"
    with pytest.raises(CannotOpen):
        Sealer(new).open_text(text, bound_to="cookie")
    for bad in ("", "!", text + "!", "é", "A" * 100):
        with pytest.raises(CannotOpen):
            both.open_text(bad)


def test_sealed_bytes_that_are_no_text() -> None:
    sealer = Sealer(Sealer.new_key())
    sealed = base64.urlsafe_b64encode(sealer.seal(b"\xff")).rstrip(b"=").decode()
    with pytest.raises(CannotOpen, match="not text"):
        sealer.open_text(sealed)


def test_large_in_a_greenlet() -> None:
    import gevent

    sealer, data = Sealer(b"k" * 32), bytes(3_000_000)
    assert gevent.spawn(lambda: sealer.open(sealer.seal(data))).get() == data


def test_keys() -> None:
    for keys in (b"", b"x" * 16, b"x" * 33, [], Secret("AAAA"), Secret("not base64!")):
        with pytest.raises(BadKey):
            Sealer(keys)

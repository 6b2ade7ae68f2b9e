"""Keys: what they refuse to be, and what they sign besides tokens."""

from __future__ import annotations

from typing import Any

import pytest

from service_utils.security import BadKey, BadSignature, Key, KeySet


def test_too_weak() -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    for secret, algorithm in ((b"short", "HS256"), (b"x" * 47, "HS384"), (b"x" * 63, "HS512"), (b"", "HS256")):
        with pytest.raises(BadKey, match="bytes"):
            Key.from_secret(secret, algorithm)
    for native, says in (
        (rsa.generate_private_key(65537, 1024), "1024 bits"),
        (ec.generate_private_key(ec.SECP256K1()), "curve"),
    ):
        pem = native.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        with pytest.raises(BadKey, match=says):
            Key.from_pem(pem)


def test_wrong_kind(rsa_pem: bytes) -> None:
    bad: list[Any] = [
        {},
        {"kty": "RSA"},
        {"kty": "what"},
        {"kty": "oct", "k": "AA"},
        {"kty": "oct", "k": "AA", "alg": "HS256"},
        {"kty": "oct", "k": "é" * 43, "alg": "HS256"},
        {"kty": "oct", "k": 5, "alg": "HS256"},
        {"kty": "EC", "crv": "P-256", "x": 1},
    ]
    for jwk in bad:
        with pytest.raises(BadKey):
            Key.from_jwk(jwk)
    shared = {"kty": "oct", "k": "A" * 43, "alg": "HS256"}
    assert Key.from_jwk(shared).algorithm == "HS256"
    with pytest.raises(BadKey, match="at least 48"):
        Key.from_jwk({"kty": "oct", "k": "A" * 43}, "HS384")
    for algorithm in ("ES256", "HS256", "none", "RS1"):
        with pytest.raises(BadKey):
            Key.from_pem(rsa_pem, algorithm)
    public = Key.generate("ES256").as_jwk()
    for jwk, algorithm in ((public, "ES384"), (public | {"use": "enc"}, None), (public | {"kid": 5}, None)):
        with pytest.raises(BadKey):
            Key.from_jwk(jwk, algorithm)
    for pem in (b"", b"-----BEGIN PUBLIC KEY-----\nAA==\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(BadKey, match="PEM"):
            Key.from_pem(pem)


def test_nothing_private_gets_out(rsa_key: Key) -> None:
    for key in (rsa_key, Key.generate("ES256"), Key.generate()):
        assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & KeySet([key]).as_jwks()["keys"][0].keys()
        assert not key.public().can_sign
        with pytest.raises(BadKey, match="public"):
            key.public().sign(b"data")
        again = Key.from_pem(key.private_pem("secret"), key.algorithm, password="secret")
        key.verify(b"data", again.sign(b"data"))
    secret = Key.from_secret(b"x" * 32)
    for function in (secret.as_jwk, secret.public, secret.private_pem):
        with pytest.raises(BadKey):
            function()
    assert "x" * 8 not in repr(secret)


def test_signatures() -> None:
    key = Key.generate()
    signature = key.sign(b"data")
    key.public().verify(b"data", signature)
    for data, bad in ((b"Data", signature), (b"data", signature[:-1]), (b"data", b""), (b"data", bytes(64))):
        with pytest.raises(BadSignature):
            key.public().verify(data, bad)

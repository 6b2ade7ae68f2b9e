"""Tokens: what is accepted, and the ways in which people try to get something else accepted."""

from __future__ import annotations

import base64
import contextlib
import json
import pickle
import time
from types import SimpleNamespace
from typing import Any

import pytest

from evpy.http.headers import MutableHeaders
from service_utils.security import (
    BadKey,
    ExpiredToken,
    InvalidToken,
    Key,
    KeySet,
    RevokedToken,
    TokenIssuer,
    TokenVerifier,
)
from service_utils.security import jwt as jwt_module

SECRET = Key.from_secret(b"0123456789abcdef" * 2, kid="secret")
ISSUER = TokenIssuer(SECRET, issuer="https://login.test", audience="shop")


def verifier(keys: Any = SECRET, **more: Any) -> TokenVerifier:
    return TokenVerifier(keys, **{"issuer": "https://login.test", "audience": "shop"} | more)


def b64(value: bytes | dict[str, Any]) -> str:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def claims(**more: Any) -> dict[str, Any]:
    return {"iss": "https://login.test", "aud": "shop", "sub": "ann", "exp": int(time.time()) + 60} | more


def forge(head: dict[str, Any] | bytes, body: dict[str, Any] | bytes, key: Key | None = None) -> str:
    signed = f"{b64(head)}.{b64(body)}"
    return f"{signed}.{b64(key.sign(signed.encode())) if key else b64(b'no signature')}"


def refusal(token: str, by: TokenVerifier | None = None) -> str:
    with pytest.raises(InvalidToken) as caught:
        (by or verifier()).verify(token)
    assert caught.value.status == 401
    return caught.value.reason


def test_round_trip() -> None:
    token = verifier().verify(ISSUER.issue("ann", {"scope": "read write"}))
    assert (token.subject, token.scopes, token.kid) == ("ann", {"read", "write"}, "secret")
    assert token.claims["exp"] - token.claims["iat"] == 900
    with pytest.raises(ValueError, match="sets exp itself"):
        ISSUER.issue("ann", {"exp": 1})


@pytest.mark.parametrize("algorithm", ["HS384", "HS512", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"])
def test_every_algorithm(algorithm: str, rsa_pem: bytes) -> None:
    key = Key.from_pem(rsa_pem, algorithm) if algorithm == "PS256" else Key.generate(algorithm)
    token = TokenIssuer(key, issuer="https://login.test", audience=["shop", "bank"]).issue("bob")
    public = key if algorithm.startswith("HS") else key.public()
    assert verifier(public).verify(token).algorithm == algorithm
    head, body, signature = token.split(".")
    wrong = b64(bytes(len(signature) * 3 // 4))
    assert refusal(f"{head}.{body}.{wrong}", verifier(public)) == "signature"
    assert refusal(f"{head}.{b64(claims(sub='root'))}.{signature}", verifier(public)) == "signature"


def test_not_signed() -> None:
    for name in ("none", "None", "NONE", "", None, 5):
        for signature in ("", "AA"):
            token = f"{b64({'alg': name, 'kid': 'secret'})}.{b64(claims())}.{signature}"
            assert refusal(token) in {"algorithm", "malformed"}


def test_public_key_taken_for_a_secret(rsa_key: Key, rsa_pem: bytes) -> None:
    """An attacker knows the public key, signs with it as a secret, and says HS256."""
    public = rsa_key.public()
    import hashlib
    import hmac

    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    native = load_pem_private_key(rsa_pem, None).public_key()
    for form in (PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1):
        for encoding in (Encoding.PEM, Encoding.DER):
            known = native.public_bytes(encoding, form)
            signed = f"{b64({'alg': 'HS256', 'kid': 'rsa'})}.{b64(claims())}"
            token = f"{signed}.{b64(hmac.digest(known, signed.encode(), hashlib.sha256))}"
            assert refusal(token, verifier(public)) == "algorithm"
            with pytest.raises(BadKey):
                Key.from_secret(known)


def test_other_algorithm_of_the_same_key(rsa_key: Key, rsa_pem: bytes) -> None:
    other = Key.from_pem(rsa_pem, "RS512", kid="rsa")
    assert refusal(forge({"alg": "RS512", "kid": "rsa"}, claims(), other), verifier(rsa_key.public())) == "algorithm"


def test_keys_that_the_token_brings() -> None:
    """jwk, jku and x5c in the head are nobody's business."""
    own = Key.generate("EdDSA")
    for brought in ({"jwk": own.as_jwk()}, {"jku": "https://evil.test/keys"}, {"x5c": ["AA=="]}):
        assert refusal(forge({"alg": "EdDSA", "kid": "secret"} | brought, claims(), own)) == "algorithm"
        assert refusal(forge({"alg": "HS256", "kid": own.kid} | brought, claims(), own)) == "key"


def test_says_it_was_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the body is not even decoded before the signature was verified."""
    read: list[str] = []
    real = jwt_module._object
    monkeypatch.setattr(jwt_module, "_object", lambda text, what: (read.append(what), real(text, what))[1])
    assert refusal(forge({"alg": "HS256", "kid": "secret"}, claims(verified=True))) == "signature"
    assert refusal(forge({"alg": "HS256", "kid": "secret", "verified": True}, b"\xff not JSON")) == "signature"
    assert read == ["head", "head"]
    good = forge({"alg": "HS256"}, claims(verified=True, exp=1), SECRET)
    assert refusal(good) == "expired"


def test_claims() -> None:
    def told(**more: Any) -> str:
        return refusal(forge({"alg": "HS256"}, claims(**more), SECRET))

    now = int(time.time())
    with pytest.raises(ExpiredToken):
        verifier().verify(forge({"alg": "HS256"}, claims(exp=now - 11), SECRET))
    verifier().verify(forge({"alg": "HS256"}, claims(exp=now - 5), SECRET))  # leeway
    assert told(exp=now - 3600) == "expired"
    assert told(exp=None) == told(exp="never") == told(exp=[]) == told(exp=True) == "claims"
    without = {name: value for name, value in claims().items() if name != "exp"}
    assert refusal(forge({"alg": "HS256"}, without, SECRET)) == "claims"
    assert told(nbf=now + 60) == told(iat=now + 60) == "not_yet"
    assert told(aud="bank") == told(aud=["bank"]) == told(aud=[]) == told(aud={"shop": 1}) == "audience"
    assert told(aud=None) == "claims"
    assert told(iss="https://evil.test") == told(iss=["https://login.test"]) == told(iss="") == "issuer"
    verifier().verify(forge({"alg": "HS256"}, claims(aud=["bank", "shop"]), SECRET))
    assert refusal(forge({"alg": "HS256"}, claims(), SECRET), verifier(audience=None)) == "audience"
    assert refusal(forge({"alg": "HS256"}, claims(), SECRET), verifier(required=["tenant"])) == "claims"
    assert refusal(forge({"alg": "HS256", "typ": "JWT"}, claims(), SECRET), verifier(type="at+jwt")) == "type"
    verifier(type="at+jwt").verify(forge({"alg": "HS256", "typ": "application/AT+JWT"}, claims(), SECRET))


@pytest.mark.parametrize("signed_by", [SECRET, None])
def test_malformed(signed_by: Key | None) -> None:
    head: dict[str, Any] = {"alg": "HS256"}
    deep = b"[" * 6000
    bodies = [b"", b"[]", b"null", b'{"exp":NaN}', b'{"exp":1,"exp":9999999999}', deep, b'{"a":' * 1500, b"\xff"]
    for body in bodies[1:]:
        assert refusal(forge(head, body, signed_by)) == ("malformed" if signed_by else "signature")
    for bad in (
        b"[]",
        b"{",
        b"\xff\xfe",
        deep,
        b'{"alg":"none","alg":"HS256"}',
        {**head, "crit": ["b64"], "b64": False},
    ):
        assert refusal(forge(bad, claims(), signed_by)) == "malformed"
    for kid in (7, ["secret"], "k" * 300, {}):
        assert refusal(forge({**head, "kid": kid}, claims(), signed_by)) == "malformed"
    token = forge(head, claims(), SECRET)
    for text in (
        "",
        ".",
        "..",
        "a.b",
        token + ".x",
        token + "\n",
        " " + token,
        token.replace(".", "=.", 1),
        "é.é.é",
        token + "=",
        "A.A.A",
    ):
        assert refusal(text) == "malformed"


def test_a_token_has_one_text() -> None:
    """The last character of base64 may have bits that mean nothing: they must be zero."""
    key = Key.from_secret(b"k" * 32)
    token = TokenIssuer(key, issuer="i", audience="a").issue("ann")
    verifier = TokenVerifier(key, issuer="i", audience="a")
    accepted = []
    for last in "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_":
        with contextlib.suppress(InvalidToken):
            verifier.verify(token[:-1] + last)
            accepted.append(last)
    assert accepted == [token[-1]]


def test_one_megabyte() -> None:
    assert refusal("A" * 1_000_000) == "too_large"
    assert refusal(forge({"alg": "HS256", "kid": "k" * 1_000_000}, claims(), SECRET)) == "too_large"
    big = forge({"alg": "HS256"}, claims(pad="x" * 1_000_000), SECRET)
    assert refusal(big) == "too_large"
    assert verifier(max_size=2_000_000).verify(big).subject == "ann"


def test_key_ids() -> None:
    other = Key.from_secret(b"x" * 32, kid="other")
    both = verifier(KeySet([SECRET, other]))
    assert both.verify(forge({"alg": "HS256", "kid": "other"}, claims(), other)).kid == "other"
    assert refusal(forge({"alg": "HS256", "kid": "nobody"}, claims(), other), both) == "key"
    assert refusal(forge({"alg": "HS256"}, claims(), other), both) == "key"
    assert refusal(forge({"alg": "HS256", "kid": "secret"}, claims(), other), both) == "signature"
    with pytest.raises(BadKey, match="two keys"):
        KeySet([other, Key.from_secret(b"y" * 32, kid="other")])


def test_revocation() -> None:
    gone: set[str] = set()
    asked = verifier(revoked=lambda claims: claims["jti"] in gone)
    token = ISSUER.issue("ann")
    gone.add(asked.verify(token).claims["jti"])
    with pytest.raises(RevokedToken) as caught:
        asked.verify(token)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (RevokedToken, str(caught.value))


def test_requests() -> None:
    def asked(value: str | None) -> Any:
        return verifier().verify_request(SimpleNamespace(headers={} if value is None else {"Authorization": value}))

    assert asked(f"bearer {ISSUER.issue('ann')}").subject == "ann"
    for value in (None, "", "Basic YTpi", "Bearer"):
        with pytest.raises(InvalidToken) as caught:
            asked(value)
        assert dict(caught.value.headers)["WWW-Authenticate"].startswith("Bearer")
        assert caught.value.detail == "this needs a valid token"


def test_two_authorizations() -> None:
    """Whichever of them a proxy has checked."""
    good, own = ISSUER.issue("ann"), f"Bearer {ISSUER.issue('bob')}"

    def asked(*values: str) -> Any:
        headers = MutableHeaders([("authorization", value) for value in values])
        return verifier().verify_request(SimpleNamespace(headers=headers))

    assert asked(f"Bearer {good}").subject == "ann"
    for values in ((f"Bearer {good}", own), ("Basic YTpi", own), (own, own)):
        with pytest.raises(InvalidToken, match="more than once"):
            asked(*values)

"""Keys that know their algorithm, and sets of them.

A ``Key`` is one key for one algorithm. What a token says about its algorithm never chooses anything: it must say the
algorithm of the key, or it is refused. So neither "none" nor a public key taken for a secret ("key confusion", RFC 8725
section 2.1) can come up. Keys and algorithms are joserfc's and cryptography's.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from efio import run_blocking
from service_utils.security.errors import BadKey, BadSignature, InvalidToken

if TYPE_CHECKING:
    from joserfc.jwk import Key as Jwk

__all__ = ["ALGORITHMS", "Key", "KeySet", "KeySource"]

#: what may be used, with the type of key (and its curve) that each one needs
ALGORITHMS: dict[str, tuple[str, str | None]] = {
    "HS256": ("oct", None),
    "HS384": ("oct", None),
    "HS512": ("oct", None),
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "Ed25519": ("OKP", "Ed25519"),  # RFC 9864
    "EdDSA": ("OKP", "Ed25519"),  # the older name, which most others still use
}
_OF_CURVE = {"P-256": "ES256", "P-384": "ES384", "P-521": "ES512", "Ed25519": "EdDSA"}
MIN_RSA_BITS = 2048


class KeySource(Protocol):
    """Where a verifier looks for keys: a KeySet, a RemoteKeySet."""

    def find(self, kid: str | None) -> Key:
        """The key with this id; InvalidToken (``key``) if there is none."""


class Key:
    """One key for one algorithm. Make it by ``from_secret``, ``from_pem``, ``from_jwk`` or ``generate``.

    BadKey for what is too short or of the wrong kind; ImportError without joserfc.
    """

    __slots__ = ("_jwk", "_model", "algorithm", "can_sign", "kid")

    def __init__(self, jwk: Jwk, algorithm: str, kid: str | None = None) -> None:
        if algorithm not in ALGORITHMS:
            raise BadKey(f"unknown algorithm {algorithm!r}; use one of {', '.join(ALGORITHMS)}")
        kind, curve = ALGORITHMS[algorithm]
        if jwk.key_type != kind or (curve is not None and getattr(jwk, "curve_name", None) != curve):
            raise BadKey(f"{algorithm} needs a key of type {kind} {curve or ''}, not {jwk.key_type}")
        self._check_strength(jwk, algorithm)
        self._jwk = jwk
        self._model = _jose().JWSRegistry.algorithms[algorithm]
        self.algorithm = algorithm
        #: the id that tokens name: by default the thumbprint (RFC 7638)
        self.kid: str = kid or jwk.kid or jwk.thumbprint()
        self.can_sign = jwk.is_private

    @staticmethod
    def _check_strength(jwk: Jwk, algorithm: str) -> None:
        if jwk.key_type == "oct":
            need = int(algorithm[2:]) // 8  # RFC 7518 section 3.2
            have = len(jwk.raw_value)  # type: ignore[arg-type]
            if have < need:
                raise BadKey(f"the secret has {have} bytes; {algorithm} needs at least {need} random ones")
        elif jwk.key_type == "RSA":
            bits: int = jwk.raw_value.key_size  # type: ignore[union-attr]
            if bits < MIN_RSA_BITS:
                raise BadKey(f"the RSA key has {bits} bits; {MIN_RSA_BITS} are the least (RFC 7518 section 3.3)")

    @classmethod
    def from_secret(cls, secret: str | bytes, algorithm: str = "HS256", kid: str | None = None) -> Key:
        """A secret that both sides know."""
        raw = secret.encode() if isinstance(secret, str) else secret
        if len(raw) < 32:
            raise BadKey(f"the secret has {len(raw)} bytes; use at least 32 random ones")
        if b"-----BEGIN" in raw:
            raise BadKey("this is a PEM file, not a secret: use Key.from_pem")
        return cls(_imported("oct", raw), algorithm, kid or _secret_id(raw))

    @classmethod
    def from_pem(
        cls, pem: str | bytes, algorithm: str | None = None, kid: str | None = None, password: str | None = None
    ) -> Key:
        """A private or public key, or a certificate. The algorithm by default: RS256 for RSA, else the curve's."""
        from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
        from cryptography.x509 import load_pem_x509_certificate

        raw = pem.encode() if isinstance(pem, str) else pem
        native: Any
        try:
            if b"PRIVATE KEY" in raw:
                native = load_pem_private_key(raw, password.encode() if password else None)
            elif b"BEGIN CERTIFICATE" in raw:
                native = load_pem_x509_certificate(raw).public_key()
            else:
                native = load_pem_public_key(raw)
        except (ValueError, TypeError) as error:
            raise BadKey(f"not a PEM key that can be read: {error}") from None
        if isinstance(native, (rsa.RSAPrivateKey, rsa.RSAPublicKey)):
            kind = "RSA"
        elif isinstance(native, (ec.EllipticCurvePrivateKey, ec.EllipticCurvePublicKey)):
            kind = "EC"
        elif isinstance(native, (ed25519.Ed25519PrivateKey, ed25519.Ed25519PublicKey)):
            kind = "OKP"
        else:
            raise BadKey(f"a key of the type {type(native).__name__} is of no use here")
        jwk = _jose_key(kind)(native, native)
        return cls(jwk, algorithm or _usual(jwk), kid)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, Any], algorithm: str | None = None) -> Key:
        """A JSON Web Key (RFC 7517). Its ``alg``, if it has one, must be ``algorithm``, if given."""
        named = jwk.get("alg")
        if named is not None and algorithm is not None and named != algorithm:
            raise BadKey(f"the key is for {named!r}, not for {algorithm}")
        if jwk.get("use", "sig") != "sig":
            raise BadKey("the key is not for signatures")
        kid = jwk.get("kid")
        if kid is not None and not isinstance(kid, str):
            raise BadKey("kid must be a text")
        if jwk.get("kty") == "oct":
            if algorithm is None and named is None:
                raise BadKey("a secret needs its algorithm: HS256, HS384 or HS512")
            return cls.from_secret(_secret_of(jwk), str(algorithm or named), kid)
        key = _imported(None, dict(jwk))
        return cls(key, str(algorithm or named or _usual(key)), kid)

    @classmethod
    def generate(cls, algorithm: str = "EdDSA", kid: str | None = None) -> Key:
        """A new private key (RSA: 3072 bits, made in a thread of efio's pool), or a new secret."""
        kind, curve = ALGORITHMS.get(algorithm, ("", None))
        size: Any = curve or {"oct": int(algorithm[2:5]) if kind == "oct" else 0, "RSA": 3072}.get(kind)
        if not kind:
            raise BadKey(f"unknown algorithm {algorithm!r}; use one of {', '.join(ALGORITHMS)}")
        jwk = run_blocking(_jose_key(kind).generate_key, size)
        return cls(jwk, algorithm, kid or (_secret_id(jwk.raw_value) if kind == "oct" else None))

    def public(self) -> Key:
        """The public half, to be given to whoever verifies. BadKey for a secret, which has none."""
        return Key.from_jwk(self.as_jwk())

    def as_jwk(self) -> dict[str, Any]:
        """The public half as JSON Web Key, for a JWKS document. BadKey for a secret."""
        if self._jwk.key_type == "oct":
            raise BadKey("a secret has no public half")
        return dict(self._jwk.as_dict(kid=self.kid, alg=self.algorithm, use="sig"))

    def private_pem(self, password: str | None = None) -> bytes:
        """The private key as PEM (PKCS #8), encrypted if there is a password. BadKey if it has none."""
        if self._jwk.key_type == "oct" or not self.can_sign:
            raise BadKey("there is no private key to be written as PEM")
        return bytes(self._jwk.as_pem(private=True, password=password))  # type: ignore[union-attr]

    def sign(self, data: bytes) -> bytes:
        """The signature of the data, also good for other things than tokens. BadKey for a public key."""
        if not self.can_sign:
            raise BadKey(f"the key {self.kid} is public: it can only verify")
        if self._jwk.key_type == "RSA":  # some milliseconds
            return bytes(run_blocking(self._model.sign, data, self._jwk))
        return bytes(self._model.sign(data, self._jwk))

    def verify(self, data: bytes, signature: bytes) -> None:
        """BadSignature unless it is the signature of the data by this key. Compares in constant time."""
        try:
            good = self._model.verify(data, signature, self._jwk)
        except ValueError:  # a signature of the wrong length
            good = False
        if not good:
            raise BadSignature(f"not signed by the key {self.kid}, or other bytes were")

    def __repr__(self) -> str:
        return f"<Key {self.kid} {self.algorithm}{'' if self.can_sign else ' public'}>"


class KeySet:
    """Keys by their ids. A token without id is verified only if there is just one key."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys: dict[str, Key] = {}
        for key in keys:
            if self._keys.setdefault(key.kid, key) is not key:
                raise BadKey(f"two keys have the id {key.kid!r}")
        if not self._keys:
            raise BadKey("a set of keys needs at least one")

    def find(self, kid: str | None) -> Key:
        """The key with this id; InvalidToken if there is none."""
        if kid is None:
            if len(self._keys) == 1:
                return next(iter(self._keys.values()))
            raise InvalidToken("key", "the token does not name its key, and there are several")
        key = self._keys.get(kid)
        if key is None:
            raise InvalidToken("key", f"no key has the id {kid[:80]!r}")
        return key

    def as_jwks(self) -> dict[str, Any]:
        """The public halves as JWKS document (RFC 7517 section 5), to be served to whoever verifies."""
        return {"keys": [key.as_jwk() for key in self]}

    def __iter__(self) -> Iterator[Key]:
        return iter(self._keys.values())

    def __len__(self) -> int:
        return len(self._keys)


def _usual(jwk: Jwk) -> str:
    if jwk.key_type == "RSA":
        return "RS256"
    curve = str(getattr(jwk, "curve_name", ""))
    if curve not in _OF_CURVE:
        raise BadKey(f"keys of the curve {curve} are not used; use one of {', '.join(_OF_CURVE)}")
    return _OF_CURVE[curve]


def _secret_of(jwk: Mapping[str, Any]) -> bytes:
    text = jwk.get("k")
    try:
        return base64.urlsafe_b64decode(f"{text}{'=' * (-len(text) % 4)}") if isinstance(text, str) else b""
    except (binascii.Error, ValueError):
        raise BadKey("the secret of the key is not base64url") from None


def _secret_id(raw: bytes) -> str:
    """A thumbprint of a secret would be a hash of it for everybody to see; this one is keyed by the secret."""
    import hashlib
    import hmac

    return hmac.new(raw, b"service_utils.security key id", hashlib.sha256).hexdigest()[:16]


def _jose() -> Any:
    try:
        from joserfc import jws
    except ImportError as error:
        raise ImportError(f"tokens need joserfc: pip install 'evpy[security]' ({error})") from error
    return jws


def _jose_key(kind: str) -> Any:
    _jose()
    from joserfc.jwk import JWKRegistry

    return JWKRegistry.key_types[kind]


def _imported(kind: str | None, data: Any) -> Jwk:
    _jose()
    from joserfc.errors import JoseError
    from joserfc.jwk import JWKRegistry

    try:
        return JWKRegistry.import_key(data, kind)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise BadKey(f"not a key that can be read: {error}") from None

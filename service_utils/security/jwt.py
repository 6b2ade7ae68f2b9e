"""JSON Web Tokens (RFC 7519) by the rules of RFC 8725: issued with one key, verified with keys that fix the algorithm.

In what order a token is looked at: its size; its form; of the head only ``alg``, ``kid``, ``typ`` and ``crit``; then
the key is found and the signature verified. Only then is the rest decoded at all, and the claims are checked. Nothing
that a token says about keys (``jwk``, ``jku``, ``x5c``) or about having been verified is believed.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from service_utils.security.errors import BadKey, BadSignature, ExpiredToken, InvalidToken, RevokedToken
from service_utils.security.hashing import random_token
from service_utils.security.keys import Key, KeySet, KeySource

__all__ = ["Token", "TokenIssuer", "TokenVerifier"]

MAX_SIZE = 16 * 1024  # bytes of a token
MAX_KID = 256  # characters
_FORM = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)", re.ASCII)


class HasHeaders(Protocol):
    """A request, as far as it matters here."""

    @property
    def headers(self) -> Any: ...


@dataclass(frozen=True)
class Token:
    """A token that has been verified."""

    claims: Mapping[str, Any]
    kid: str  #: of the key that signed it
    algorithm: str
    header: Mapping[str, Any]

    @property
    def subject(self) -> str:
        """The claim ``sub``; empty if there is none."""
        return str(self.claims.get("sub", ""))

    @property
    def scopes(self) -> frozenset[str]:
        """The claim ``scope`` (RFC 8693 section 4.2), split."""
        scope = self.claims.get("scope", "")
        return frozenset(scope.split()) if isinstance(scope, str) else frozenset()


class TokenIssuer:
    """Issues tokens signed by ``key``. ``lifetime``: seconds; ``type``: the head's ``typ`` (RFC 9068: ``at+jwt``)."""

    def __init__(
        self, key: Key, *, issuer: str, audience: str | list[str], lifetime: float = 900, type: str = "JWT"
    ) -> None:
        if not key.can_sign:
            raise BadKey(f"the key {key.kid} is public: it can only verify")
        if lifetime <= 0:
            raise ValueError(f"lifetime={lifetime}: give seconds, above 0")
        self.key = key
        self.issuer = issuer
        self.audience = audience
        self.lifetime = lifetime
        self._head = _encode({"alg": key.algorithm, "kid": key.kid, "typ": type})

    def issue(self, subject: str, claims: Mapping[str, Any] | None = None, *, lifetime: float | None = None) -> str:
        """A token for ``subject``, with an id (``jti``) of its own and further claims.

        ValueError for claims that this sets itself. TypeError for what JSON cannot hold.
        """
        now = int(time.time())
        body: dict[str, Any] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": self.audience,
            "iat": now,
            "exp": int(now + (self.lifetime if lifetime is None else lifetime)),
            "jti": random_token(16),
        }
        if claims:
            taken = body.keys() & claims.keys()
            if taken:
                raise ValueError(f"the issuer sets {', '.join(sorted(taken))} itself")
            body |= claims
        signed = b".".join((self._head, _encode(body)))
        return (signed + b"." + _base64(self.key.sign(signed))).decode()


class TokenVerifier:
    """Verifies tokens. Keys, issuer and audience must be told: there is no default that accepts everybody's.

    ``audience``: one or several names of this service; None: tokens for nobody in particular, those with an audience
    are refused (RFC 7519 section 4.1.3).
    ``leeway``: seconds by which clocks may differ.
    ``type``: what ``typ`` of the head must be, if not None; compared as RFC 7515 section 4.1.9 says.
    ``required``: claims that must be there besides ``exp`` and ``iss``.
    ``revoked``: called with the claims after everything else; true refuses the token.
    """

    def __init__(
        self,
        keys: Key | KeySource | Iterable[Key],
        *,
        issuer: str | Collection[str],
        audience: str | Collection[str] | None,
        leeway: int = 10,
        type: str | None = None,
        required: Collection[str] = (),
        revoked: Callable[[Mapping[str, Any]], bool] | None = None,
        max_size: int = MAX_SIZE,
        clock: Callable[[], float] = time.time,
    ) -> None:
        from joserfc.jwt import JWTClaimsRegistry

        if isinstance(keys, Key):
            keys = KeySet([keys])
        self.keys: KeySource = keys if hasattr(keys, "find") else KeySet(keys)  # type: ignore[assignment]
        self.leeway = leeway
        self.max_size = max_size
        self.revoked = revoked
        self._type = type
        self._audience = audience is not None
        options: dict[str, Any] = {name: {"essential": True} for name in required}
        options["exp"] = {"essential": True}
        options["iss"] = {"essential": True, "values": _several(issuer, "issuer")}
        if audience is not None:
            options["aud"] = {"essential": True, "values": _several(audience, "audience")}
        self._claims = JWTClaimsRegistry(lambda: int(clock()), leeway, **options)

    def verify_request(self, request: HasHeaders) -> Token:
        """The token of the field ``Authorization: Bearer`` (RFC 6750 section 2.1). InvalidToken, KeysUnavailable.

        A request with several such fields is refused: whoever stands between may have looked at another one.
        """
        every = getattr(request.headers, "get_all", None)
        if every is not None and len(every("Authorization") or ()) > 1:
            raise InvalidToken("malformed", "the request has Authorization more than once")
        value = request.headers.get("Authorization")
        if not value:
            raise InvalidToken("missing", "the request has no Authorization")
        scheme, _, token = value.partition(" ")
        if scheme.lower() != "bearer":
            raise InvalidToken("missing", f"the request's Authorization is {scheme[:20]!r}, not Bearer")
        return self.verify(token.strip(" "))

    def verify(self, token: str) -> Token:
        """The verified token. InvalidToken says why not; KeysUnavailable when the keys cannot be had."""
        if len(token) > self.max_size:
            raise InvalidToken("too_large", f"the token has {len(token)} characters; {self.max_size} are the limit")
        parts = _FORM.fullmatch(token)
        if parts is None:
            raise InvalidToken("malformed", "a token has three parts of base64url, with dots between them")
        head_text, body_text, signature_text = parts.groups()
        head = _object(head_text, "head")
        key = self._key_for(head)
        try:
            key.verify(f"{head_text}.{body_text}".encode(), _bytes(signature_text, "signature"))
        except BadSignature as error:
            raise InvalidToken("signature", str(error)) from None
        claims = _object(body_text, "body")
        self._check(claims)
        if self.revoked is not None and self.revoked(claims):
            raise RevokedToken("revoked", f"the token {str(claims.get('jti', 'without id'))[:80]!r} has been revoked")
        return Token(claims, key.kid, key.algorithm, head)

    def _key_for(self, head: Mapping[str, Any]) -> Key:
        if "crit" in head:  # RFC 7515 section 4.1.11: who does not understand all of it refuses
            raise InvalidToken("malformed", "the token has critical extensions; none is understood here")
        algorithm, kid, kind = head.get("alg"), head.get("kid"), head.get("typ")
        if kid is not None and (not isinstance(kid, str) or len(kid) > MAX_KID):
            raise InvalidToken("malformed", f"kid must be a text of at most {MAX_KID} characters")
        if self._type is not None and (not isinstance(kind, str) or _media(kind) != _media(self._type)):
            raise InvalidToken("type", f"the token is of the type {str(kind)[:80]!r}, not {self._type!r}")
        if algorithm == "none" or not isinstance(algorithm, str):
            raise InvalidToken("algorithm", "the token is not signed")
        key = self.keys.find(kid)
        if key.algorithm != algorithm:
            raise InvalidToken(
                "algorithm", f"the token says {algorithm[:20]!r}, but the key {key.kid} is for {key.algorithm}"
            )
        return key

    def _check(self, claims: Mapping[str, Any]) -> None:
        from joserfc.errors import ExpiredTokenError, InvalidClaimError, MissingClaimError

        if not self._audience and "aud" in claims:
            raise InvalidToken("audience", "the token is for an audience, and this service has no name")
        try:
            self._claims.validate(dict(claims))
        except ExpiredTokenError:
            raise ExpiredToken("expired", "the token's time is over") from None
        except InvalidClaimError as error:
            reason = {"iss": "issuer", "aud": "audience", "nbf": "not_yet", "iat": "not_yet"}.get(error.claim, "claims")
            raise InvalidToken(reason, f"the claim {error.claim} is not accepted ({error.description})") from None
        except MissingClaimError as error:
            raise InvalidToken("claims", f"the token has no {error.claim}") from None


def _media(kind: str) -> str:
    return kind.lower().removeprefix("application/")


def _several(names: str | Collection[str], what: str) -> list[str]:
    several = [names] if isinstance(names, str) else list(names)
    if not several or not all(several):
        raise ValueError(f"{what}: give a name, or several")
    return several


def _base64(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")


def _encode(value: Mapping[str, Any]) -> bytes:
    return _base64(json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode())


def _bytes(text: str, what: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raw = b""
    # One text for each value (RFC 4648 section 3.5): else a token that was revoked by its text lives on in others.
    if _base64(raw) != text.encode():
        raise InvalidToken("malformed", f"the token's {what} is not base64url")
    return raw


def _object(text: str, what: str) -> dict[str, Any]:
    """A JSON object without repeated names (RFC 7519 section 4), NaN and the like."""
    try:
        value = json.loads(_bytes(text, what), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise InvalidToken("malformed", f"the token's {what} is not a JSON object")
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is repeated")
    return found


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")

"""The errors of security.

::

    EvpyError
    └── SecurityError
        ├── InvalidToken      401   the token is not accepted; also an HTTPError
        │   ├── ExpiredToken  401   it was good once
        │   └── RevokedToken  401   the application's hook does not accept it
        ├── KeysUnavailable   503   the keys of the issuer cannot be had; also an HTTPError
        ├── BadKey                  a key that cannot be used: too short, wrong kind, unknown algorithm
        ├── BadSignature            the signature does not belong to these bytes and this key
        ├── CannotOpen              what was sealed is damaged, forged, bound to something else, or of an unknown key
        └── MissingSecret           a secret is in none of the places where it might be

Clients see why a token was refused in no more detail than RFC 6750 gives (``invalid_token``); ``str(error)`` is for the
operator.
"""

from evpy.errors import EvpyError, HTTPError

__all__ = [
    "BadKey",
    "BadSignature",
    "CannotOpen",
    "ExpiredToken",
    "InvalidToken",
    "KeysUnavailable",
    "MissingSecret",
    "SecurityError",
]


class SecurityError(EvpyError):
    """Base of what security raises on purpose."""


class InvalidToken(SecurityError, HTTPError):
    """A token that is not accepted. A handler that does not catch it answers 401.

    ``reason`` is one word for logs and counters: missing, malformed, too_large, algorithm, key, signature, type,
    claims, issuer, audience, expired, not_yet, revoked.
    """

    reason: str
    explanation: str

    def __init__(self, reason: str, explanation: str) -> None:
        error = "" if reason == "missing" else ' error="invalid_token"'  # RFC 6750 section 3.1
        HTTPError.__init__(self, 401, "this needs a valid token", {"WWW-Authenticate": f"Bearer{error}"})
        self.reason = reason
        self.explanation = explanation

    def __reduce__(self) -> tuple[type["InvalidToken"], tuple[str, str]]:
        return type(self), (self.reason, self.explanation)

    def __str__(self) -> str:
        return f"{self.reason}: {self.explanation}"


class ExpiredToken(InvalidToken):
    """Its time is over."""


class RevokedToken(InvalidToken):
    """The application does not accept it any more."""


class KeysUnavailable(SecurityError, HTTPError):
    """No keys to verify with, and their source does not answer. A handler that does not catch it answers 503."""

    explanation: str

    def __init__(self, explanation: str) -> None:
        HTTPError.__init__(self, 503, "busy, try again later", {"Retry-After": "5"})
        self.explanation = explanation

    def __reduce__(self) -> tuple[type["KeysUnavailable"], tuple[str]]:
        return type(self), (self.explanation,)

    def __str__(self) -> str:
        return self.explanation


class BadKey(SecurityError, ValueError):
    """The key cannot be used for this."""


class BadSignature(SecurityError):
    """Not signed by this key, or not these bytes."""


class CannotOpen(SecurityError):
    """It was not sealed like this."""


class MissingSecret(SecurityError):
    """Its text names the places that were looked into."""

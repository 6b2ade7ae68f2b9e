"""Tokens, passwords, secrets, sealing, signatures, hashes; the choices that can be got wrong are made.

Names are loaded when they are first used; what a part needs is installed by ``pip install 'evpy[security]'``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_utils.lazily import lazily

if TYPE_CHECKING:
    from service_utils.security.errors import (
        BadKey,
        BadSignature,
        CannotOpen,
        ExpiredToken,
        InvalidToken,
        KeysUnavailable,
        MissingSecret,
        RevokedToken,
        SecurityError,
    )
    from service_utils.security.hashing import digest, file_digest, keyed_digest, random_code, random_token, same
    from service_utils.security.jwks import KeySetStatistics, RemoteKeySet
    from service_utils.security.jwt import Token, TokenIssuer, TokenVerifier
    from service_utils.security.keys import Key, KeySet, KeySource
    from service_utils.security.passwords import Passwords, hash_password, needs_rehash, verify_password
    from service_utils.security.sealing import Sealer
    from service_utils.security.secret_values import Secret, load_secret

__all__ = [
    "BadKey",
    "BadSignature",
    "CannotOpen",
    "ExpiredToken",
    "InvalidToken",
    "Key",
    "KeySet",
    "KeySetStatistics",
    "KeySource",
    "KeysUnavailable",
    "MissingSecret",
    "Passwords",
    "RemoteKeySet",
    "RevokedToken",
    "Sealer",
    "Secret",
    "SecurityError",
    "Token",
    "TokenIssuer",
    "TokenVerifier",
    "digest",
    "file_digest",
    "hash_password",
    "keyed_digest",
    "load_secret",
    "needs_rehash",
    "random_code",
    "random_token",
    "same",
    "verify_password",
]

_HOME = {
    "errors": (
        "BadKey", "BadSignature", "CannotOpen", "ExpiredToken", "InvalidToken", "KeysUnavailable", "MissingSecret",
        "RevokedToken", "SecurityError",
    ),
    "hashing": ("digest", "file_digest", "keyed_digest", "random_code", "random_token", "same"),
    "jwks": ("KeySetStatistics", "RemoteKeySet"),
    "jwt": ("Token", "TokenIssuer", "TokenVerifier"),
    "keys": ("Key", "KeySet", "KeySource"),
    "passwords": ("Passwords", "hash_password", "needs_rehash", "verify_password"),
    "sealing": ("Sealer",),
    "secret_values": ("Secret", "load_secret"),
}  # fmt: skip

__getattr__, __dir__ = lazily(__name__, _HOME)

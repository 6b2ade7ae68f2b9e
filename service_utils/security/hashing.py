"""Hashes, comparison in constant time, random tokens: the standard library's, with the safe choice made."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
import string

from efio import run_blocking

__all__ = ["digest", "file_digest", "keyed_digest", "random_code", "random_token", "same"]

OFFLOAD = 256 * 1024  # bytes: hashing more takes longer than handing it to a thread (SHA-256: some 0.2 ms)


def same(one: str | bytes, other: str | bytes) -> bool:
    """Whether both are equal, in a time that tells nothing about where they differ (it does tell their length).

    Use it for whatever somebody might guess: tokens, codes, digests. Strings are compared as UTF-8.
    """
    return hmac.compare_digest(_bytes(one), _bytes(other))


def digest(data: str | bytes, algorithm: str = "sha256") -> str:
    """The digest in hexadecimal; of large data in a thread of efio's pool. Not for passwords: ``hash_password``."""
    raw = _bytes(data)
    if len(raw) > OFFLOAD:
        return run_blocking(_digest, algorithm, raw)
    return _digest(algorithm, raw)


def keyed_digest(key: bytes, data: str | bytes, algorithm: str = "sha256") -> str:
    """HMAC (RFC 2104) in hexadecimal. Compare it by ``same``. ValueError for a key below 16 bytes."""
    if len(key) < 16:
        raise ValueError(f"the key has {len(key)} bytes; use at least 16, better 32: secrets.token_bytes(32)")
    return hmac.new(key, _bytes(data), algorithm).hexdigest()


def file_digest(path: str | os.PathLike[str], algorithm: str = "sha256") -> str:
    """The digest of a file in hexadecimal, read and hashed in a thread of efio's pool. OSError."""
    return run_blocking(_file_digest, os.fspath(path), algorithm)


def random_token(size: int = 32) -> str:
    """``size`` random bytes as URL-safe text. ValueError below 16 bytes, which could be guessed."""
    if size < 16:
        raise ValueError(f"size={size}: a token needs at least 16 bytes; for codes that people type: random_code")
    return secrets.token_urlsafe(size)


def random_code(length: int = 6, alphabet: str = string.digits) -> str:
    """A code for people to type, each character equally likely. Limit the attempts, and let it end soon."""
    if length < 1 or len(set(alphabet)) < 2 or len(set(alphabet)) != len(alphabet):
        raise ValueError("give a length above 0 and an alphabet of at least two different characters")
    return "".join(secrets.choice(alphabet) for _ in range(length))


def _bytes(data: str | bytes) -> bytes:
    return data.encode() if isinstance(data, str) else data


def _digest(algorithm: str, data: bytes) -> str:
    return hashlib.new(algorithm, data).hexdigest()


def _file_digest(path: str, algorithm: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()

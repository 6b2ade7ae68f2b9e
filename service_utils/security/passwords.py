"""Passwords: Argon2id by argon2-cffi, in threads of efio's pool, so that no hub waits for it.

Parameters are those of RFC 9106 section 4 for little memory (64 MiB, 3 passes, 4 lanes), which argon2-cffi has as its
default. One hash takes some 50 ms of a processor. So there are never more at a time than processors: the others wait
in order, as greenlets, and neither memory nor the pool's threads run out when many log in at once. A thread of the pool
itself, in a call that somebody has given to it, does not wait: those whose turn it is need such threads.
"""

from __future__ import annotations

import functools
import os
from typing import Any

from efio import Semaphore, default_pool, run_blocking

__all__ = ["Passwords", "hash_password", "needs_rehash", "verify_password"]

MAX_LENGTH = 4096  # bytes: longer ones are nobody's password


class Passwords:
    """Hashes of one strength. ``memory`` in KiB; the module's functions use one with the defaults.

    ImportError when argon2-cffi is missing.
    """

    def __init__(self, *, time: int = 3, memory: int = 65536, lanes: int = 4, at_once: int | None = None) -> None:
        try:
            from argon2 import PasswordHasher
        except ImportError as error:
            raise ImportError(f"passwords need argon2-cffi: pip install 'evpy[security]' ({error})") from error
        self._hasher = PasswordHasher(time_cost=time, memory_cost=memory, parallelism=lanes)
        self._turn = Semaphore(at_once or os.cpu_count() or 1)

    def hash(self, password: str) -> str:
        """The hash to be kept, with its parameters and salt. ValueError for an empty or endless password."""
        raw = password.encode("utf-8", "surrogatepass")
        if not raw or len(raw) > MAX_LENGTH:
            raise ValueError(f"a password has 1 to {MAX_LENGTH} bytes; this one has {len(raw)}")
        return str(self._call(self._hasher.hash, raw))

    def verify(self, kept: str | None, password: str) -> bool:
        """Whether this is the password. Give None for a user that does not exist: it is False then, and takes as long,
        so that nobody can find out who exists.

        ValueError if ``kept`` is no Argon2 hash.
        """
        from argon2.exceptions import InvalidHashError, VerificationError

        raw = password.encode("utf-8", "surrogatepass")
        if len(raw) > MAX_LENGTH:
            return False
        try:
            self._call(self._hasher.verify, self._nobody if kept is None else kept, raw)
        except InvalidHashError:
            raise ValueError("what was kept is not a hash of Argon2 ($argon2id$...)") from None
        except VerificationError:
            return False
        return kept is not None

    def needs_rehash(self, kept: str) -> bool:
        """Whether it was made with other parameters: hash the password anew after it was verified."""
        return self._hasher.check_needs_rehash(kept)

    @functools.cached_property
    def _nobody(self) -> str:
        return str(self._call(self._hasher.hash, os.urandom(16)))

    def _call(self, function: Any, *arguments: Any) -> Any:
        if default_pool().is_worker():
            return function(*arguments)
        with self._turn:
            return run_blocking(function, *arguments)


@functools.cache
def _default() -> Passwords:
    return Passwords()


def hash_password(password: str) -> str:
    """``Passwords().hash``"""
    return _default().hash(password)


def verify_password(kept: str | None, password: str) -> bool:
    """``Passwords().verify``"""
    return _default().verify(kept, password)


def needs_rehash(kept: str) -> bool:
    """``Passwords().needs_rehash``"""
    return _default().needs_rehash(kept)

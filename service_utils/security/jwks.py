"""Keys that an issuer publishes as a JWKS document (RFC 7517 section 5): cached, followed when they rotate.

* Keys are used for ``ttl`` seconds. In the last fifth of that time, whoever asks next has them fetched in the
  background, so usually nobody waits.
* After ``ttl`` they are fetched before one is used. If the issuer does not answer, the old ones serve until they are
  ``max_stale`` seconds old; so a key that was withdrawn is accepted that long at most.
* A token with an unknown key id has them fetched at once, but not more often than every ``pause`` seconds: else
  anybody could have us flood the issuer.
* There is one fetch at a time, made by a thread of efio's pool; all who need it wait for the same one, ``timeout``
  seconds at most.
"""

from __future__ import annotations

import json
import logging
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass
from typing import Any

from efio import default_pool
from evpy.errors import DeadlineExceeded
from service_utils.pool.native import native_lock
from service_utils.security.errors import BadKey, InvalidToken, KeysUnavailable
from service_utils.security.keys import Key, KeySet

__all__ = ["KeySetStatistics", "RemoteKeySet"]

MAX_DOCUMENT = 512 * 1024  # bytes
MAX_KEYS = 100
log = logging.getLogger("service_utils.security")


@dataclass(frozen=True)
class KeySetStatistics:
    """What a RemoteKeySet has done. Times in seconds."""

    keys: int
    age: float  #: of the keys
    fetched: int
    failed: int
    unknown: int  #: how often somebody asked for an id that nobody has


class RemoteKeySet:
    """The keys at ``url`` (https; http only on this host), or those in the document that ``fetch()`` returns.

    ``algorithms``: what keys are accepted for; secrets never are. ``rsa``: the algorithm of RSA keys that do not say
    theirs. Times in seconds.
    """

    def __init__(
        self,
        url: str = "",
        *,
        fetch: Callable[[], bytes | str] | None = None,
        algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"),
        rsa: str = "RS256",
        ttl: float = 600.0,
        max_stale: float = 3600.0,
        pause: float = 10.0,
        timeout: float = 5.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if bool(url) == (fetch is not None):
            raise ValueError("give either a URL or a function that fetches the document")
        if url:
            _check_url(url)
        self.name = url or getattr(fetch, "__qualname__", "the function")
        self._load: Callable[[], bytes | str] = fetch or (lambda: _download(url, timeout))
        self._algorithms = frozenset(name for name in algorithms if not name.startswith("HS"))
        self._rsa = rsa
        self.ttl = ttl
        self.max_stale = max(max_stale, ttl)
        self.pause = pause
        self.timeout = timeout
        self._clock = clock
        self._lock = native_lock()
        self._set: KeySet | None = None
        self._since = self._tried = float("-inf")
        self._running: Future[None] | None = None
        self._fetched = self._failed = self._unknown = 0
        self._why = ""

    def find(self, kid: str | None) -> Key:
        """The key with this id. InvalidToken if the issuer has none of it; KeysUnavailable."""
        age = self._clock() - self._since
        if age >= self.ttl or self._set is None:
            self._refresh(wait=True)
            if self._set is None or self._clock() - self._since >= self.max_stale:
                raise KeysUnavailable(f"no keys from {self.name}: {self._why or 'no answer in time'}")
        elif age >= self.ttl * 0.8:
            self._refresh(wait=False)
        keys = self._set
        try:
            return keys.find(kid)
        except InvalidToken:
            self._unknown += 1
            if kid is None:
                raise
        self._refresh(wait=True)
        return self._set.find(kid)

    def statistics(self) -> KeySetStatistics:
        """How it is doing."""
        keys = self._set
        age = self._clock() - self._since
        return KeySetStatistics(len(keys) if keys else 0, age, self._fetched, self._failed, self._unknown)

    def _refresh(self, wait: bool) -> None:
        """Has the keys fetched, unless that was just tried. Errors are in ``_why``; here they are only logged."""
        pool = default_pool()
        with self._lock:
            future = self._running
            if future is None or future.done():
                now = self._clock()
                if now - self._tried < (self.pause if self._set is not None else min(self.pause, 1.0)):
                    return
                self._tried = now
                if pool.is_worker():  # its threads must not wait for each other
                    future = None
                else:
                    future = self._running = pool.submit(self._fetch)
        if future is None:
            self._fetch()
        elif wait:
            try:
                future.result(self.timeout)
            except DeadlineExceeded:
                raise
            except (FutureTimeout, TimeoutError):
                self._why = f"no answer within {self.timeout:g} s"

    def _fetch(self) -> None:
        try:
            keys = self._read(self._load())
        except Exception as error:  # noqa: BLE001 - whatever the function of the application raises
            self._failed += 1
            self._why = f"{type(error).__name__}: {error}"
            log.warning("keys cannot be fetched from %s: %s", self.name, self._why)
            return
        self._set = keys
        self._since = self._clock()
        self._fetched += 1
        self._why = ""

    def _read(self, document: bytes | str) -> KeySet:
        """The keys that can be used; others (RFC 7517 section 5) are passed over."""
        if len(document) > MAX_DOCUMENT:
            raise ValueError(f"the document has more than {MAX_DOCUMENT} bytes")
        parsed = json.loads(document)
        listed = parsed.get("keys") if isinstance(parsed, dict) else None
        if not isinstance(listed, list):
            raise ValueError("the document is no JWKS: it has no list of keys")
        found: dict[str, Key] = {}
        for jwk in listed[:MAX_KEYS]:
            key = self._key(jwk)
            if key is not None:
                found.setdefault(key.kid, key)
        if not found:
            raise ValueError(f"none of the {len(listed)} keys can be used")
        return KeySet(found.values())

    def _key(self, jwk: Any) -> Key | None:
        if not isinstance(jwk, dict) or jwk.get("kty") == "oct":
            return None
        rsa = self._rsa if jwk.get("kty") == "RSA" and "alg" not in jwk else None
        try:
            key = Key.from_jwk(jwk, rsa).public()
        except BadKey as error:
            log.debug("a key from %s is of no use: %s", self.name, error)
            return None
        return key if key.algorithm in self._algorithms else None


def _check_url(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or (parts.scheme != "https" and not (parts.scheme == "http" and local)):
        raise ValueError(f"{url!r}: keys are fetched by https only; who can change them can sign every token")


def _download(url: str, timeout: float) -> bytes:
    """The document, without following redirects: the URL is whom we trust."""
    import urllib.request

    class Refuse(urllib.request.HTTPRedirectHandler):
        def redirect_request(self, *_: Any, **__: Any) -> None:
            return None

    deadline = time.monotonic() + timeout
    request = urllib.request.Request(url, headers={"Accept": "application/jwk-set+json, application/json"})
    pieces: list[bytes] = []
    with urllib.request.build_opener(Refuse).open(request, timeout=timeout) as response:
        while piece := response.read1(65536):
            pieces.append(piece)
            if time.monotonic() > deadline:
                raise TimeoutError(f"the document was not complete within {timeout:g} s")
            if sum(map(len, pieces)) > MAX_DOCUMENT:
                break
    return b"".join(pieces)

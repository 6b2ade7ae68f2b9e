"""URLs, as far as a client needs them (RFC 3986; RFC 9110 section 4.2).

What cannot be meant is refused and never repaired: controls and spaces (header injection), backslashes before the path,
ports that are none. Other characters beyond ASCII are encoded, hosts by IDNA.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, unquote, urlencode, urljoin, urlsplit

from service_utils.http.errors import InvalidRequest

__all__ = ["Params", "Url", "join", "parse", "with_params"]

Params = Mapping[str, Any] | Iterable[tuple[str, Any]] | str
_PORTS = {"http": 80, "https": 443}
_forbidden = re.compile(r"[\x00-\x20\x7f]")
_host = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_])?\.?|\[[0-9a-f:.]+\]", re.ASCII)
_SAFE = "%/:=&?~+!$,;'@()*[]"


class Url:
    """A URL of a resource: where it is and what to ask for."""

    __slots__ = ("host", "netloc", "password", "port", "scheme", "target", "text", "user")

    def __init__(self, scheme: str, host: str, port: int, target: str, user: str | None, password: str) -> None:
        self.scheme = scheme
        self.host = host  #: ASCII, lower case, without brackets
        self.port = port
        self.target = target  #: path and query, encoded
        self.user = user  #: None: without credentials
        self.password = password
        shown = f"[{host}]" if ":" in host else host
        self.netloc = shown if port == _PORTS[scheme] else f"{shown}:{port}"
        self.text = f"{scheme}://{self.netloc}{target}"  #: without credentials and fragment

    @property
    def origin(self) -> tuple[str, str, int]:
        """RFC 6454 section 4."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        """Without credentials and fragment."""
        return self.text


@lru_cache(maxsize=2048)
def parse(text: str) -> Url:
    """InvalidRequest when it cannot be meant."""
    if bad := _forbidden.search(text):
        raise InvalidRequest(f"URL {_shown(text)!r}: {bad[0]!r} at position {bad.start()} must be percent-encoded")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:  # its text may have the password in it
        raise InvalidRequest(
            f"URL {_shown(text)!r}: host or port are none; what is special in a user or password is percent-encoded"
        ) from None
    if parts.scheme not in _PORTS:
        raise InvalidRequest(f"URL {_shown(text)!r}: give one that begins with http:// or https://")
    host = (parts.hostname or "").lower()
    if ":" in host:
        host = f"[{host}]"
    elif not host.isascii():
        try:
            host = host.encode("idna").decode("ascii")
        except UnicodeError as error:
            raise InvalidRequest(f"URL {_shown(text)!r}: the host is no domain name: {error}") from None
    if not _host.fullmatch(host) or "\\" in parts.netloc or len(host) > 255 or port == 0:
        raise InvalidRequest(f"URL {_shown(text)!r}: it has no valid host")
    target = quote(parts.path, safe=_SAFE) or "/"
    if parts.query:
        target += "?" + quote(parts.query, safe=_SAFE)
    user = None if parts.username is None else unquote(parts.username)
    if user is not None and ":" in user:
        raise InvalidRequest(f"URL {_shown(text)!r}: a user's name with a colon cannot be sent (RFC 7617)")
    return Url(
        parts.scheme, host.strip("[]"), port or _PORTS[parts.scheme], target, user, unquote(parts.password or "")
    )


def join(base: str, reference: str) -> str:
    """RFC 3986 section 5.3."""
    try:
        return urljoin(base, reference) if base else reference
    except ValueError:  # brackets that hold no address
        raise InvalidRequest(f"URL {_shown(reference)!r}: the host is none") from None


def with_params(url: str, params: Params) -> str:
    """Adds to the query; names and values are encoded, lists are repeated, None is left out."""
    if not isinstance(params, str):
        pairs = params.items() if isinstance(params, Mapping) else params
        params = urlencode([(name, value) for name, value in pairs if value is not None], doseq=True)
    if not params:
        return url
    url, hash_, fragment = url.partition("#")
    return url + ("&" if "?" in url else "?") + params + hash_ + fragment


def _shown(text: str) -> str:
    """For messages: without what may be a password, however it is written."""
    return re.sub(r"//.*@", "//...@", text, flags=re.DOTALL)[:200]

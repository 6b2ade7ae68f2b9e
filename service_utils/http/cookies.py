"""Cookies by the standard library's jar, with a policy as strict as RFC 6265bis: none for whole top-level domains, none
for others; without Domain for that very host alone; none for a part of an address; what is Secure only by https. So
many per domain and so large at most, since who sets them is a stranger.

The jar speaks the language of urllib; two classes here are what it wants to see.
"""

from __future__ import annotations

import ipaddress
import re
from email.message import Message
from http.cookiejar import Cookie, CookieJar, DefaultCookiePolicy
from typing import Any

from service_utils.http.errors import InvalidRequest
from service_utils.http.urls import Url

__all__ = ["CookieJar", "make_jar", "store", "to_send"]

MAX_COOKIE = 4096  # bytes of name and value; RFC 6265 section 6.1
MAX_PER_DOMAIN = 50
MAX_DOMAINS = 1000
_forbidden = re.compile(r"[^\t\x20-\x7e\x80-\xff]")


class _Policy(DefaultCookiePolicy):
    def set_ok(self, cookie: Cookie, request: Any) -> bool:
        if cookie.secure and request.type != "https":
            return False
        if cookie.domain_specified and _is_address(request.origin_req_host):
            return False  # RFC 6265 section 5.1.3: parts of an address are no domain
        if len(cookie.name) + len(cookie.value or "") > MAX_COOKIE:
            return False
        lower = cookie.name.lower()
        if lower.startswith(("__secure-", "__host-")) and not cookie.secure:
            return False
        if lower.startswith("__host-") and (cookie.domain_specified or cookie.path != "/"):
            return False
        return bool(super().set_ok(cookie, request))


class _Jar(CookieJar):
    """With a limit: the oldest make room."""

    _cookies: dict[str, dict[str, dict[str, Cookie]]]

    def set_cookie(self, cookie: Cookie) -> None:
        super().set_cookie(cookie)
        with self._cookies_lock:  # type: ignore[attr-defined]
            if len(self._cookies) > MAX_DOMAINS:
                del self._cookies[next(iter(self._cookies))]
            paths = self._cookies.get(cookie.domain, {})
            while sum(map(len, paths.values())) > MAX_PER_DOMAIN:
                path, cookies = next(iter(paths.items()))
                del cookies[next(iter(cookies))]
                if not cookies:
                    del paths[path]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


class _Question:
    """urllib.request.Request, as far as the jar looks at it."""

    unverifiable = False

    def __init__(self, url: Url) -> None:
        self._url = url
        self.type = url.scheme
        self.host = url.netloc
        self.origin_req_host = url.host
        self.cookie = ""

    def get_full_url(self) -> str:
        return str(self._url)

    def has_header(self, name: str) -> bool:
        return False

    def get_header(self, name: str, default: Any = None) -> Any:
        return default

    def add_unredirected_header(self, name: str, value: str) -> None:
        if name == "Cookie":
            self.cookie = value


class _Answer:
    def __init__(self, values: list[str]) -> None:
        self._message = Message()
        for value in values:
            self._message["Set-Cookie"] = value

    def info(self) -> Message:
        return self._message


def make_jar() -> CookieJar:
    """An empty one."""
    policy = _Policy(
        rfc2965=False,
        strict_domain=True,
        strict_ns_unverifiable=True,
        strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain,
    )
    return _Jar(policy)


def to_send(jar: CookieJar, url: Url) -> str:
    """The value of the Cookie field; "" when there is none."""
    question: Any = _Question(url)
    jar.add_cookie_header(question)
    if question.cookie and _forbidden.search(question.cookie):  # of a jar that somebody has filled by hand
        raise InvalidRequest("a cookie has characters that would change the request")
    return str(question.cookie)


def store(jar: CookieJar, url: Url, values: list[str]) -> None:
    """Keeps what came in Set-Cookie, as far as the server may set it."""
    answer: Any = _Answer(values)
    question: Any = _Question(url)
    jar.extract_cookies(answer, question)

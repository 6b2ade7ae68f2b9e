"""Cookies by the standard library's jar, with the strict policy: none for whole top-level domains, none for others.

The jar speaks the language of urllib; these are the two objects that it wants to see.
"""

from __future__ import annotations

from email.message import Message
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any

from service_utils.http.urls import Url

__all__ = ["CookieJar", "make_jar", "store", "to_send"]


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
    return CookieJar(DefaultCookiePolicy(rfc2965=False, strict_domain=True, strict_ns_unverifiable=True))


def to_send(jar: CookieJar, url: Url) -> str:
    """The value of the Cookie field; "" when there is none."""
    question: Any = _Question(url)
    jar.add_cookie_header(question)
    return str(question.cookie)


def store(jar: CookieJar, url: Url, values: list[str]) -> None:
    """Keeps what came in Set-Cookie, as far as the server may set it."""
    answer: Any = _Answer(values)
    question: Any = _Question(url)
    jar.extract_cookies(answer, question)

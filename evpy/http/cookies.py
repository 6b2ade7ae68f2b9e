"""Cookies, both directions (RFC 6265): quoting by ``http.cookies``, validation here.

``SimpleCookie.load`` is not used for requests: it stops at the first pair that it dislikes and silently loses those
that follow, and a cookie of some other application on the same host is nobody's fault here. Pairs are split as RFC 6265
section 5.4 builds them, only the value's quoting is left to the standard library. What a handler sets must be exactly
what it gets back; what would not survive (controls, characters beyond latin-1, more than browsers keep) is refused.
"""

from __future__ import annotations

import re
from contextlib import suppress
from datetime import UTC, datetime

from evpy.http.headers import is_token

MAX_COOKIE_BYTES = 4096  # name and value; browsers drop larger ones without a word (RFC 6265 section 6.1)

_control = re.compile(r"[\x00-\x1f\x7f]")
_attribute = re.compile(r"[\x20-\x3a\x3c-\x7e]*", re.ASCII)  # RFC 6265 section 4.1.1: any CHAR but controls and ";"
_label = "[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"  # RFC 1034 section 3.5
_domain = re.compile(rf"\.?({_label}\.)*{_label}", re.ASCII | re.IGNORECASE)


def parse_cookies(header: str) -> dict[str, str]:
    """The name-value pairs of a Cookie field (RFC 6265 section 4.2.1); of a repeated name the first one counts.

    User agents send the cookie with the most specific path first, so the first is the one that is meant. Values are
    UTF-8 where they can be, otherwise latin-1.
    """
    if not header.isascii():
        with suppress(UnicodeDecodeError):
            header = header.encode("latin-1").decode("utf-8")
    cookies: dict[str, str] = {}
    for pair in header.split(";"):
        name, equals, value = pair.partition("=")
        name, value = name.strip(" \t"), value.strip(" \t")
        if equals and name and name not in cookies:
            cookies[name] = _unquote(value) if value.startswith('"') else value
    return cookies


def _unquote(value: str) -> str:
    from http.cookies import SimpleCookie

    decoded: str = SimpleCookie().value_decode(value)[0]
    return decoded


def format_cookie(
    name: str,
    value: str,
    *,
    max_age: int | None = None,
    expires: datetime | float | None = None,
    path: str | None = "/",
    domain: str | None = None,
    secure: bool = False,
    httponly: bool = True,
    samesite: str | None = "Lax",
) -> str:
    """The value of a Set-Cookie field (RFC 6265 section 4.1). ValueError for what no browser would keep as it is meant.

    ``max_age`` in seconds; ``expires`` as an aware datetime or Unix time in seconds.
    """
    _check_name(name, secure=secure, path=path, domain=domain)
    _check_value(name, value)
    if samesite is not None and samesite.capitalize() not in ("Lax", "Strict", "None"):
        raise ValueError(f"cookie {name}: samesite is 'Lax', 'Strict', 'None' or None, not {samesite!r}")
    if samesite is not None and samesite.capitalize() == "None" and not secure:
        raise ValueError(f"cookie {name}: browsers reject samesite='None' without secure=True")
    if path is not None and not (path.startswith("/") and _attribute.fullmatch(path)):
        raise ValueError(f"cookie {name}: path {path!r} must start with '/' and hold neither controls nor ';'")
    if domain is not None and not _domain.fullmatch(domain):
        raise ValueError(f"cookie {name}: {domain!r} is no domain name")

    from http.cookies import Morsel, SimpleCookie

    morsel: Morsel[str] = Morsel()
    morsel.set(name, *SimpleCookie().value_encode(value))
    if max_age is not None:
        morsel["max-age"] = str(int(max_age))
    if expires is not None:
        morsel["expires"] = _imf_date(name, expires)
    morsel["path"] = path or ""
    morsel["domain"] = domain or ""
    morsel["secure"] = secure
    morsel["httponly"] = httponly
    morsel["samesite"] = samesite.capitalize() if samesite else ""
    return morsel.OutputString()


def _check_name(name: str, *, secure: bool, path: str | None, domain: str | None) -> None:
    from http.cookies import Morsel

    if not is_token(name):
        raise ValueError(f"cookie {name!r}: a name is made of ASCII letters, digits and !#$%&'*+-.^_`|~")
    if Morsel().isReservedKey(name):
        raise ValueError(f"cookie {name!r}: that is the name of a cookie attribute")
    # RFC 6265bis section 4.1.3: what the prefixes promise, and without which browsers drop the cookie
    if name.lower().startswith(("__secure-", "__host-")) and not secure:
        raise ValueError(f"cookie {name}: this prefix needs secure=True")
    if name.lower().startswith("__host-") and (path != "/" or domain is not None):
        raise ValueError(f"cookie {name}: this prefix needs path='/' and no domain")


def _check_value(name: str, value: str) -> None:
    if not isinstance(value, str):
        raise TypeError(f"cookie {name}: the value must be str, not {type(value).__name__}")
    if _control.search(value) or any(ord(c) > 255 for c in value):
        raise ValueError(f"cookie {name}: only latin-1 without controls survives; use urllib.parse.quote or base64")
    if len(name) + len(value) > MAX_COOKIE_BYTES:
        raise ValueError(f"cookie {name}: {len(name) + len(value)} bytes, browsers keep at most {MAX_COOKIE_BYTES}")


def _imf_date(name: str, when: datetime | float) -> str:
    from email.utils import format_datetime

    if not isinstance(when, datetime):
        when = datetime.fromtimestamp(when, UTC)
    if when.tzinfo is None:
        raise ValueError(f"cookie {name}: expires needs a time zone, as in datetime.now(UTC) + timedelta(days=1)")
    return format_datetime(when.astimezone(UTC), usegmt=True)

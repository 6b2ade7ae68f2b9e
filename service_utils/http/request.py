"""One call: what is asked, by when, and how it goes on the wire."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from time import monotonic
from typing import TYPE_CHECKING, Any

from service_utils.http.bodies import Body
from service_utils.http.errors import InvalidRequest
from service_utils.http.policy import Timeouts
from service_utils.http.urls import Url

if TYPE_CHECKING:
    from service_utils.http.origins import Origin

__all__ = ["Auth", "Call", "Fields", "Usual", "check_fields", "encode_fields"]

Fields = Mapping[str, str] | Iterable[tuple[str, str]]
Auth = tuple[str, str] | str  #: user and password, or a bearer token

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})  # RFC 9110 section 9.2.2
CREDENTIALS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-auth", "x-auth-token", "x-api-key", "api-key"}
)
_GUARDED = CREDENTIALS | {"host"}
_OURS = frozenset({"content-length", "transfer-encoding", "connection", "upgrade", "keep-alive", "te", "expect"})
_token = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+", re.ASCII)  # RFC 9110 section 5.6.2
_forbidden = re.compile(r"[^\t\x20-\x7e\x80-\xff]")  # section 5.5
HEADS, LONGEST_HEAD = 500, 2000  # how many a client remembers; bytes
LIMITED_PART = 65536  # bytes of a body that travel with the head


@dataclass(slots=True)
class Call:
    """What changes with redirects is written here."""

    method: str
    url: Url
    body: Body | None
    fields: list[tuple[str, str]]  #: lower-case names; those of this request
    timeouts: Timeouts
    stream: bool
    idempotent: bool
    certified: bool = True  #: the client's certificate may be shown
    trusted: bool = True  #: the client's own credentials may be sent
    deadline: float = 0.0
    sent: bool = False  #: something of a body that cannot be sent again

    def left(self) -> float:
        return self.deadline - monotonic()


@lru_cache(maxsize=100)
def check_method(method: str) -> str:
    """In capitals. InvalidRequest."""
    if not _token.fullmatch(method):
        raise InvalidRequest(f"method {method!r} is none")
    method = method.upper()
    if method == "CONNECT":
        raise InvalidRequest("CONNECT is what proxies are asked; give proxy= to the client")
    return method


def check_fields(fields: Fields) -> list[tuple[str, str]]:
    """Names in lower case. InvalidRequest for what would not arrive as it is, or would change the framing."""
    checked = []
    for name, value in fields.items() if isinstance(fields, Mapping) else fields:
        if not isinstance(name, str) or not _token.fullmatch(name):
            raise InvalidRequest(f"header {name!r}: a name is made of ASCII letters, digits and !#$%&'*+-.^_`|~")
        if not isinstance(value, str):
            raise InvalidRequest(f"header {name}: the value must be str, not {type(value).__name__}")
        if bad := _forbidden.search(value):
            raise InvalidRequest(f"header {name}: {bad[0]!r} at position {bad.start()} is not allowed in a value")
        if name.lower() in _OURS:
            raise InvalidRequest(f"header {name}: the client alone decides how messages are framed; leave it out")
        checked.append((name.lower(), value.strip(" \t")))
    return checked


def encode_fields(fields: Iterable[tuple[str, str]]) -> bytes:
    """For the wire."""
    return "".join([f"{name.title()}: {value}\r\n" for name, value in fields]).encode("latin-1")


def auth_value(auth: Any) -> str:
    """For Authorization. InvalidRequest."""
    from service_utils.http.origins import basic

    if isinstance(auth, str):
        return check_fields([("authorization", f"Bearer {auth}")])[0][1]
    try:
        user, password = auth
    except (TypeError, ValueError):
        raise InvalidRequest("auth= takes (user, password) or a bearer token") from None
    if not (isinstance(user, str) and isinstance(password, str)):
        raise InvalidRequest("auth=: user and password must be str")
    if ":" in user:
        raise InvalidRequest("auth=: a user's name with a colon cannot be sent (RFC 7617)")
    return basic(user, password)


class Usual:
    """The fields that a client sends with every request, and heads made with them.

    ``fields``, checked, in place of the ``defaults`` of the same names. Those with credentials, and a Host, go only to
    where the call is trusted.
    """

    def __init__(self, defaults: list[tuple[str, str]], fields: list[tuple[str, str]]) -> None:
        names = {name for name, _ in fields}
        self._defaults = [field for field in defaults if field[0] not in names]
        self._public = [field for field in fields if field[0] not in _GUARDED]
        self._secret = [field for field in fields if field[0] in _GUARDED]
        self._usual = encode_fields([*self._defaults, *fields])
        self._names = frozenset(name for name, _ in fields)
        self._heads: dict[tuple[Origin, str, Url], bytes] = {}  # made before

    def head(self, origin: Origin, call: Call, cookie: str) -> bytes:
        """The head of a request."""
        if cookie or call.fields or call.body is not None or not call.trusted:
            return self._make(origin, call, cookie)
        key = origin, call.method, call.url
        head = self._heads.get(key)
        if head is None:
            head = self._make(origin, call, cookie)
            if len(self._heads) >= HEADS:
                self._heads.clear()
            if len(head) <= LONGEST_HEAD:
                self._heads[key] = head
        return head

    def _make(self, origin: Origin, call: Call, cookie: str) -> bytes:
        url, fields, body = call.url, call.fields, call.body
        target = str(url) if origin.absolute else url.target
        if fields or not call.trusted:
            own = {name for name, _ in fields}
            ours = (*self._defaults, *self._public, *(self._secret if call.trusted else ()))
            kept = [field for field in ours if field[0] not in own]
            usual, mine = encode_fields(kept), encode_fields(fields)
            named = frozenset(own.union(name for name, _ in kept))
        else:
            usual, mine, named = self._usual, b"", self._names
        common = origin.common
        if "host" in named:
            common = common.partition(b"\r\n")[2]
        more = f"Cookie: {cookie}\r\n" if cookie and "cookie" not in named else ""
        if body is not None:
            more += "Transfer-Encoding: chunked\r\n" if body.length is None else f"Content-Length: {body.length}\r\n"
            if body.type is not None and "content-type" not in named:
                more += f"Content-Type: {body.type}\r\n"
        elif call.method in ("POST", "PUT", "PATCH"):
            more += "Content-Length: 0\r\n"  # RFC 9110 section 8.6
        return b"%b %b HTTP/1.1\r\n%b%b%b%b\r\n" % (
            call.method.encode("ascii"), target.encode("ascii"), common, usual, mine, more.encode("latin-1"),
        )  # fmt: skip

"""Header fields: the case-insensitive multi-value mapping, and the few field grammars that more than one module needs.

Field values are latin-1 text, one character per octet (RFC 9110 section 5.5). What a handler sets is checked at the
moment it is set, so that the traceback points at the handler's line; the native core checks again what goes on the
wire.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from evpy.http.multidict import MultiDict

HeadersLike = Mapping[str, "str | Iterable[str]"] | Iterable[tuple[str, str]]

TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # RFC 9110 section 5.6.2

_token = re.compile(TOKEN, re.ASCII)
_forbidden = re.compile(r"[^\t\x20-\x7e\x80-\xff]")  # RFC 9110 section 5.5: no controls but HTAB; octets only
_parameter = re.compile(rf';[ \t]*(?:({TOKEN})=(?:({TOKEN})|"((?:[^"\\]|\\.)*)"))?[ \t]*', re.ASCII)


def is_token(text: str) -> bool:
    """True for a ``token`` of RFC 9110 section 5.6.2 (field names, methods, cookie names)."""
    return _token.fullmatch(text) is not None


def check_field(name: Any, value: Any) -> None:
    """Raises TypeError or ValueError unless this is a field that may go into a response.

    How a message is framed is the server's business, so Transfer-Encoding is refused, and of Connection everything but
    ``close``.
    """
    if not (isinstance(name, str) and isinstance(value, str)):
        wrong = value if isinstance(name, str) else name
        raise TypeError(f"response header {name!r}: name and value must be str, not {type(wrong).__name__}")
    if not _token.fullmatch(name):
        raise ValueError(f"response header {name!r}: a name is made of ASCII letters, digits and !#$%&'*+-.^_`|~")
    bad = _forbidden.search(value)
    if bad:
        raise ValueError(
            f"response header {name}: {bad[0]!r} at position {bad.start()} is not allowed"
            " (no line breaks or other controls; percent-encode what is not latin-1)"
        )
    if name[0] in "TtCc" and _frames(name.lower(), value):
        raise ValueError(f"response header {name}: the server alone decides how messages are framed; leave it out")


def _frames(name: str, value: str) -> bool:
    return name == "transfer-encoding" or (name == "connection" and value.strip().lower() != "close")


class Headers(MultiDict[str]):
    """Header fields as received, in order; names are case-insensitive (RFC 9110 section 5.1), values latin-1."""

    __slots__ = ()

    @staticmethod
    def _key(name: str) -> str:
        return name.lower()

    def combined(self, name: str) -> str:
        """All values of a list-based field joined by ", " (RFC 9110 section 5.3); "" when there is none."""
        return ", ".join(self.get_all(name))


class MutableHeaders(Headers):
    """The header fields of a response: ``h[name] = value`` replaces, ``h.add(name, value)`` appends.

    Takes name-value pairs or a mapping; a mapping's value may be a list for a repeated field. TypeError and ValueError
    as in ``check_field``.
    """

    __slots__ = ()

    def __init__(self, fields: HeadersLike = ()) -> None:
        super().__init__()
        if fields:
            for name, value in _flatten(fields):
                self.add(name, value)

    def copy(self) -> MutableHeaders:
        """A copy that can be changed on its own."""
        twin = MutableHeaders()
        twin._pairs = list(self._pairs)
        twin._index = twin._make_index()
        return twin

    def __setitem__(self, name: str, value: str) -> None:
        check_field(name, value)
        self._drop(name)
        self._pairs.append((name, value))
        self._index[name.lower()] = [value]

    def __delitem__(self, name: str) -> None:
        if name not in self:
            raise KeyError(name)
        self._drop(name)

    def _drop(self, name: str) -> None:
        lower = name.lower()
        if self._index.pop(lower, None) is not None:
            self._pairs = [pair for pair in self._pairs if pair[0].lower() != lower]

    def add(self, name: str, value: str) -> None:
        """Appends one more field of this name, as Set-Cookie and Link need it."""
        check_field(name, value)
        self._pairs.append((name, value))
        self._index.setdefault(name.lower(), []).append(value)

    def setdefault(self, name: str, value: str) -> str:
        """Sets the field unless it is there; returns its (first) value."""
        if name not in self:
            self.add(name, value)
        return self[name]

    def pop(self, name: str, default: str | None = None) -> str | None:
        """Removes all fields of this name and returns the first value, or ``default``."""
        value = self.get(name, default)
        self._drop(name)
        return value

    def update(self, fields: HeadersLike) -> None:
        """Replaces every name that occurs in ``fields``."""
        new = MutableHeaders(fields)
        for name in new:
            self._drop(name)
        for name, value in new.pairs():
            self.add(name, value)


def _flatten(fields: HeadersLike) -> Iterator[tuple[str, str]]:
    if isinstance(fields, MultiDict):
        yield from fields.pairs()
    elif isinstance(fields, Mapping):
        for name, value in fields.items():
            if isinstance(value, str):
                yield name, value
            elif isinstance(value, Iterable) and not isinstance(value, bytes):
                for one in value:
                    yield name, one
            else:
                raise TypeError(f"response header {name!r}: the value must be str, not {type(value).__name__}")
    else:
        for pair in fields:
            try:
                name, value = pair
            except (TypeError, ValueError):
                raise TypeError(f"response headers: {pair!r} is not a (name, value) pair") from None
            yield name, value


def parse_media_type(value: str) -> tuple[str, dict[str, str]]:
    """``Text/HTML; Charset="utf-8"`` -> ``("text/html", {"charset": "utf-8"})`` (RFC 9110 section 8.3.1).

    Parameter names are lower-cased, of repeated ones the first counts; what does not follow the grammar ends the list.
    """
    essence, semicolon, _ = value.partition(";")
    parameters: dict[str, str] = {}
    position = len(essence)
    while semicolon and position < len(value):
        match = _parameter.match(value, position)
        if not match:
            break
        name, token, quoted = match.groups()
        if name:
            parameters.setdefault(name.lower(), token if token is not None else re.sub(r"\\(.)", r"\1", quoted))
        position = match.end()
    return essence.strip().lower(), parameters


def prefers_json(accept: str) -> bool:
    """True when an Accept field (RFC 9110 section 12.5.1) ranks JSON before HTML and plain text.

    Only what the client names counts: ``*/*`` says nothing about the taste of whoever reads an error message. Of equal
    weights the one that is named first wins.
    """
    best: dict[bool, tuple[float, int]] = {}
    for position, item in enumerate(accept.split(",")):
        media_type, parameters = parse_media_type(item)
        if media_type in ("application/json", "application/problem+json"):
            json = True
        elif media_type in ("text/html", "text/plain", "text/*", "application/xhtml+xml"):
            json = False
        else:
            continue
        try:
            weight = float(parameters.get("q", "1"))
        except ValueError:
            continue
        best[json] = max(best.get(json, (0.0, 0)), (weight, -position))
    return best.get(True, (0.0, 0))[0] > 0 and best[True] > best.get(False, (0.0, 0))

"""URL-encoded names and values: query strings and the bodies of simple forms.

This follows the WHATWG URL standard (section 5.1), with one difference: bytes that are no UTF-8 are refused with 400
instead of being replaced silently.
"""

from __future__ import annotations

from evpy.errors import HTTPError


def parse_urlencoded(text: str, *, what: str, max_fields: int | None = None) -> list[tuple[str, str]]:
    """Name-value pairs of a query string or an URL-encoded body, given as latin-1 text.

    HTTPError 400 when a name or value is no UTF-8 (``what`` names the place), 413 for more than ``max_fields`` fields.
    A "%" that no two hexadecimal digits follow stands for itself, as the standard wants it.
    """
    if max_fields is not None and text.count("&") >= max_fields:
        raise HTTPError(413, f"the {what} has more than {max_fields} fields")
    pairs = []
    for piece in text.split("&"):
        if piece:
            name, _, value = piece.partition("=")
            pairs.append((_decode(name, what), _decode(value, what)))
    return pairs


def _decode(text: str, what: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    if "%" not in text and text.isascii():
        return text
    from urllib.parse import unquote_to_bytes

    try:
        return unquote_to_bytes(text.encode("latin-1")).decode("utf-8")
    except UnicodeDecodeError:
        raise HTTPError(400, f"the {what} is not UTF-8: {text[:80]!r}") from None

"""Conditional requests (RFC 9110 section 13): does the client's precondition hold for what we would send?"""

from __future__ import annotations

import re
from collections.abc import Callable

Header = Callable[[str], "str | None"]

_entity_tag = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')  # section 8.8.3


def evaluate(header: Header, etag: str, modified: int) -> int:
    """200 to go on, 304 or 412 to stop, for GET and HEAD in the order of section 13.2.2.

    ``header`` gives request fields by lower-case name, ``etag`` is the entity tag of what would be sent, ``modified``
    its time of change in whole seconds of Unix time.
    """
    if_match = header("if-match")
    if if_match is not None:
        if not _matches(if_match, etag, weak=False):
            return 412
    else:
        unmodified_since = _date(header("if-unmodified-since"))
        if unmodified_since is not None and modified > unmodified_since:
            return 412
    if_none_match = header("if-none-match")
    if if_none_match is not None:
        return 304 if _matches(if_none_match, etag, weak=True) else 200
    modified_since = _date(header("if-modified-since"))
    return 304 if modified_since is not None and modified <= modified_since else 200


def range_applies(if_range: str | None, etag: str, modified: int) -> bool:
    """Whether a Range field counts under this If-Range (section 13.1.5): it is absent, or matches exactly."""
    if if_range is None:
        return True
    tag = if_range.strip()
    if _entity_tag.fullmatch(tag):
        return tag == etag and not tag.startswith("W/")
    return _date(if_range) == modified


def _matches(field: str, etag: str, *, weak: bool) -> bool:
    """Any of a list of entity tags; by weak comparison their W/ does not count (section 8.8.3.2)."""
    if field.strip() == "*":
        return True
    candidates = (tag[0] for tag in _entity_tag.finditer(field))
    if weak:
        return any(tag.removeprefix("W/") == etag.removeprefix("W/") for tag in candidates)
    return any(tag == etag and not tag.startswith("W/") for tag in candidates)


def http_date(seconds: float) -> str:
    """IMF-fixdate of a Unix time (section 5.6.7)."""
    from email.utils import formatdate

    return formatdate(int(seconds), usegmt=True)


def _date(value: str | None) -> int | None:
    """Unix time of any of the three formats of section 5.6.7; None for what is no date, which is to be ignored."""
    if value is None:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime

    try:
        date = parsedate_to_datetime(value)
        return int((date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp())
    except (ValueError, OverflowError):
        return None

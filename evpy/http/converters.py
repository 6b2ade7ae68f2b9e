"""Converters of path parameters: from the text of a segment to a value, and back.

``parse`` raises ValueError when the text is no such value; the route then does not match. They accept less than
Python's constructors do (``int(" 1_0 ")``), so that a value has few spellings in URLs.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from uuid import UUID

_int = re.compile(r"-?[0-9]+", re.ASCII)
_float = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_uuid = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


@dataclass(frozen=True, slots=True, eq=False)
class Converter:
    """``rank``: converters with a lower one are tried first. ``tail``: takes all remaining segments."""

    name: str
    parse: Callable[[str], Any]
    format: Callable[[Any], str]
    rank: int
    tail: bool = False


def _parse_int(text: str) -> int:
    if not _int.fullmatch(text):
        raise ValueError(text)
    return int(text)


def _parse_float(text: str) -> float:
    if not _float.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _format_float(value: float) -> str:
    from decimal import Decimal

    return format(Decimal(repr(float(value))), "f")  # never an exponent


def _parse_uuid(text: str) -> UUID:
    if not _uuid.fullmatch(text):
        raise ValueError(text)
    from uuid import UUID

    return UUID(text)


def _parse_text(text: str) -> str:
    if not text:
        raise ValueError("empty")
    return text


CONVERTERS = {
    converter.name: converter
    for converter in (
        Converter("int", _parse_int, str, rank=10),
        Converter("float", _parse_float, _format_float, rank=20),
        Converter("uuid", _parse_uuid, str, rank=30),
        Converter("str", _parse_text, str, rank=90),
        Converter("path", _parse_text, str, rank=99, tail=True),
    )
}

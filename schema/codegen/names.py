"""Python names for XML names: readable, deterministic, never a keyword, never twice in one scope."""

from __future__ import annotations

import keyword
import re
import unicodedata

__all__ = ["Scope", "class_name", "field_name", "module_name"]

_WORDS = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_a-zA-Z]+")
# What msgspec.Struct and object have as attributes, and soft keywords that would hide what generated code uses.
_TAKEN = frozenset(
    {"self", "cls", "str", "int", "float", "bool", "bytes", "list", "dict", "object", "None", "property"}
)


def _identifier(text: str, fallback: str) -> str:
    text = unicodedata.normalize("NFKC", text)  # as Python does with identifiers
    text = re.sub(r"\W", "_", text)
    if not text or not (text[0].isalpha() or text[0] == "_"):
        text = f"{fallback}_{text}".rstrip("_")
    text = text.strip("_") or fallback
    if not text.isidentifier():
        text = fallback
    return f"{text}_" if keyword.iskeyword(text) or text in _TAKEN else text


def field_name(name: str) -> str:
    """``InvoiceTypeCode`` becomes ``invoice_type_code``, ``IBAN`` ``iban``, ``xml:lang`` ``lang``."""
    words = _WORDS.findall(name)
    return _identifier("_".join(words).lower() if words else name, "field")


def class_name(name: str) -> str:
    """``purchaseOrder`` becomes ``PurchaseOrder``; what is in capitals stays so."""
    parts = [part for part in re.split(r"[\W_]+", name) if part]
    return _identifier("".join(part[0].upper() + part[1:] for part in parts), "Type")


def module_name(stem: str) -> str:
    """A module's name for a file's: lower case, words parted by underscores."""
    return field_name(re.sub(r"\W+", "_", stem))


class Scope:
    """Names that are in use; a second one gets ``_1``, the third ``_2``."""

    def __init__(self, taken: frozenset[str] = frozenset()) -> None:
        self._used = set(taken)

    def claim(self, name: str) -> str:
        """The name itself, or the first free numbered form of it."""
        found, number = name, 0
        while found in self._used:
            number += 1
            found = f"{name}_{number}"
        self._used.add(found)
        return found

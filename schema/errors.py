"""What can be wrong, split by whose fault it is.

::

    ValueError
    +-- SchemaError        the schema: not valid, not supported, not reachable, not safe        (evschema: exit code 2)
    +-- ValidationError    the document or the object: at least one Problem                      (evschema: exit code 1)
        +-- LimitExceeded  it was not judged, because a budget of size, depth or time was used up

Both carry ``errors``, a tuple of ``Problem``: data to act upon. Their text is made from it, for people. Codes are
stable: those of XML Schema 1.0 (``cvc-...`` for instances, appendix C.2,
https://www.w3.org/TR/xmlschema-1/#outcome-src) where the standard has one, else one of the short list in
``OWN_CODES``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["OWN_CODES", "LimitExceeded", "Problem", "SchemaError", "ValidationError"]

OWN_CODES = {
    "xml-not-well-formed": "the text is no XML",
    "json-not-well-formed": "the text is no JSON",
    "doctype-refused": "the document has a DOCTYPE",
    "unknown-root": "the schema has no such element",
    "wrong-type": "the value is of another Python or JSON type than the schema asks for",
    "unknown-member": "the JSON object has a member that the schema does not know",
    "missing-member": "the JSON object lacks a member",
    "limit": "a budget of size, depth or time was used up",
    "rule": "a rule beyond the schema",
    "schema-invalid": "the schema breaks a rule of XML Schema",
    "schema-unreachable": "a file that the schema includes or imports cannot be read",
    "schema-unsupported": "the schema uses what is not supported",
    "schema-unsafe": "the schema holds something that an attacker could use",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault.

    ``path`` leads to it: ``/order/items/item[3]/qty`` in XML, ``items.item[2].qty`` in JSON and objects, "" where
    there is none. ``line`` counts from 1; None when it is not known. ``value`` is what was found there, if that is a
    text; ``message`` is the broken rule in words. ``source`` names the file, for faults of schemas.
    """

    code: str
    message: str
    path: str = ""
    line: int | None = None
    value: str | None = None
    source: str | None = None

    def __str__(self) -> str:
        place = self.source or ""
        if self.line is not None:
            place += f":{self.line}" if place else f"line {self.line}"
        where = " ".join(filter(None, (place, self.path)))
        return f"{where}: {self.message} [{self.code}]" if where else f"{self.message} [{self.code}]"


class _Problems(ValueError):
    """Carries problems; the text lists the first ones."""

    SHOWN = 20

    def __init__(self, errors: Iterable[Problem], *, more: int = 0) -> None:
        self.errors: tuple[Problem, ...] = tuple(errors)
        self.more = more
        super().__init__(self.errors)

    def __str__(self) -> str:
        lines = [str(error) for error in self.errors[: self.SHOWN]]
        left = len(self.errors) - len(lines) + self.more
        if left:
            lines.append(f"... and {left} more")
        return "\n".join(lines)


class SchemaError(_Problems):
    """The schema cannot be used; ``errors`` says why. ``more`` counts what was found beyond the listed ones."""


class ValidationError(_Problems):
    """The document or object is not valid; ``errors`` says why. ``more`` counts what was found beyond those."""


class LimitExceeded(ValidationError):
    """The document was not judged: it is larger or deeper than allowed, or judging it took too long."""

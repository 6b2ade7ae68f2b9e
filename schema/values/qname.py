"""Qualified names as values (xs:QName, xs:NOTATION)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from schema.values.opaque import opaque

if TYPE_CHECKING:
    from schema.runtime.writing import Prefixes

__all__ = ["QName"]


@opaque
@dataclass(frozen=True, slots=True)
class QName:
    """A name in a namespace ("": none). Its text, ``{namespace}local``, is the form in JSON."""

    namespace: str
    local: str

    def __str__(self) -> str:
        return f"{{{self.namespace}}}{self.local}" if self.namespace else self.local

    @classmethod
    def parse(cls, text: str) -> QName:
        """From ``{namespace}local``."""
        if text.startswith("{"):
            uri, brace, name = text[1:].partition("}")
            if not brace:
                raise ValueError(f"{text!r} is no name in the form {{namespace}}local")
            return cls(uri, name)
        return cls("", text)

    def lexical(self, prefixes: Prefixes) -> str:
        """``prefix:local``, with the prefix noted for declaration."""
        return f"{prefixes.of(self.namespace)}:{self.local}" if self.namespace else self.local

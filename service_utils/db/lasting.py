"""What outlives its transaction: settings, roles, locks, temporary tables, prepared statements of a session.

Whoever gets the connection next would find it, so such a connection is not lent again. Texts are looked at, each once;
what they do not show, such as what a function of the database sets, is not seen. One too many costs a connection, one
too few mixes up two users: in doubt it lasts.
"""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["lasts"]

_KNOWN = 4000  # characters of a text; longer ones (lists of thousands) are not worth remembering
_FLAGS = re.IGNORECASE | re.DOTALL | re.VERBOSE

# Few texts have one of the words; the others need no second look.
_WORDS = {
    "postgresql": ("set", "listen", "load", "prepare", "do", "temp", "hold", "advisory"),
    "mysql": ("set", "use", "lock", "flush", "prepare", "temporary", "handler", "/*", ":=", "@"),
    "sqlite": ("pragma", "attach", "detach", "temp"),
}

_PATTERNS = {
    "postgresql": re.compile(
        r"""
        (?:\A|;) (?:\s+|--[^\n]*\n|/\*.*?\*/)* (?:
            set\s+ (?!(?:local|transaction|constraints)\b) | reset\b | listen\b | load\b | do\b
            | prepare\s+ (?!transaction\b)
            | create\s+ (?:or\s+replace\s+)? (?:global\s+|local\s+)? temp
            | declare\b .* \bwith\s+hold\b )
        | \binto\s+ (?:global\s+|local\s+)? temp
        | \bpg_(?:try_)?advisory_lock (?:_shared)? \s*\(
        | \bset_config \s*\( (?!(?:(?!\bset_config\b).)* \btrue\s*\))
        """,
        _FLAGS,
    ),
    "mysql": re.compile(
        r"""
        \A (?:\s+|--\s[^\n]*\n|\#[^\n]*\n|/\*.*?\*/)* (?:
            set\s+ (?!statement\b) | use\b | lock\s+table | flush\b | prepare\b | handler\b
            | create\s+ (?:or\s+replace\s+)? temporary\b )
        | /\*M?! | \bget_lock\s*\( | := | \binto\s+@
        """,
        _FLAGS,
    ),
    "sqlite": re.compile(
        r"""
        \A (?:\s+|--[^\n]*\n|/\*.*?\*/)* (?:explain\s+(?:query\s+plan\s+)?)? (?:
            pragma\s+ (?:[\w"]+\s*\.\s*)?
                (?!(?:table_(?:x?info|list)|index_(?:x?info|list)|foreign_key_(?:list|check)|integrity_check|quick_check
                |wal_checkpoint|optimize)\b) \w+ \s*[=(]
            | attach\b | detach\b | create\s+temp )
        """,
        _FLAGS,
    ),
}


def lasts(text: str, dialect: str) -> bool:
    """Whether a statement leaves something behind on its connection."""
    return _looked_at(text, dialect) if len(text) <= _KNOWN else _look_at(text, dialect)


def _look_at(text: str, dialect: str) -> bool:
    lower = text.lower()
    return any(word in lower for word in _WORDS[dialect]) and _PATTERNS[dialect].search(text) is not None


_looked_at = lru_cache(maxsize=2000)(_look_at)

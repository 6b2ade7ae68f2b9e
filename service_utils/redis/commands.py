"""What is special about some commands: for how long the server may think about them, and what outlives them.

Connections are shared, so what a command leaves behind on its connection (another database, another user, an open
transaction) would reach whoever gets the connection next; such a connection is ended when it is given back.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

__all__ = ["leaves", "patience"]

_CHANGES = frozenset({
    "SELECT", "AUTH", "HELLO", "MULTI", "WATCH", "MONITOR", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "READONLY",
    "READWRITE", "SYNC", "PSYNC", "CLIENT REPLY", "CLIENT SETNAME", "CLIENT SETINFO", "CLIENT TRACKING",
    "CLIENT NO-EVICT", "CLIENT NO-TOUCH", "CLIENT CACHING", "SCRIPT DEBUG",
})  # fmt: skip
_ENDS = frozenset({"EXEC", "DISCARD", "UNWATCH"})  # of MULTI and WATCH
_PARENTS = frozenset({"CLIENT", "SCRIPT"})
# How long they block: which argument says it, and in which part of a second.
_BLOCKS = {
    "BLPOP": (-1, 1.0), "BRPOP": (-1, 1.0), "BRPOPLPUSH": (-1, 1.0), "BLMOVE": (-1, 1.0), "BZPOPMIN": (-1, 1.0),
    "BZPOPMAX": (-1, 1.0), "BLMPOP": (1, 1.0), "BZMPOP": (1, 1.0), "WAIT": (-1, 0.001), "WAITAOF": (-1, 0.001),
    "XREAD": (0, 0.001), "XREADGROUP": (0, 0.001),
}  # fmt: skip
_SPECIAL = frozenset((*_CHANGES, *_ENDS, *_BLOCKS, *_PARENTS))


def _word(word: Any) -> str:
    text = word.decode("latin-1") if isinstance(word, bytes) else str(word)
    return text.upper()


def _name(command: Sequence[Any]) -> str:
    """In capitals, with the second word where that matters; "" for a command about which nothing is special."""
    name = _word(command[0])
    if " " in name:  # redis-py takes such apart
        name, second = name.split()[:2]
    elif name in _PARENTS:
        second = _word(command[1]) if len(command) > 1 else ""
    else:
        return name if name in _SPECIAL else ""
    return f"{name} {second}" if name in _PARENTS else name


def leaves(commands: Iterable[Sequence[Any]], watched: bool) -> tuple[bool, bool]:
    """Whether something is left behind on the connection for good, and whether keys are watched after that."""
    changed = multi = False
    for command in commands:
        name = _name(command)
        if not name:
            continue
        if name in _ENDS:
            multi = watched = False
        elif name == "MULTI":
            multi = True
        elif name == "WATCH":
            watched = True
        else:
            changed = changed or name in _CHANGES
    return changed or multi, watched


def patience(command: Sequence[Any]) -> float:
    """For how many seconds the server was asked to wait before it answers; infinity: for ever."""
    place, unit = _BLOCKS.get(_name(command), (None, 0.0))
    if place is None:
        return 0.0
    try:
        if place == 0:
            words = [_word(word) for word in command[:12]]  # options come before the names of streams
            if "BLOCK" not in words:
                return 0.0
            place = words.index("BLOCK") + 1
        seconds = float(command[place]) * unit
    except (IndexError, TypeError, ValueError):  # the server will say so
        return 0.0
    return seconds if seconds > 0 else math.inf if seconds == 0 else 0.0

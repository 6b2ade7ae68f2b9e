r"""Patterns that an attacker could use: those that a matcher may have to try in exponentially many ways.

libxml2 backtracks: 33 characters against ``(a|aa)+b`` or ``(.*a){12}`` take a third of a second, a few more take
minutes, and no length facet helps. What such patterns have in common is *exponential ambiguity*: a state of the
automaton from which one word leads back to it along two different ways (Weber and Seidl, "On the degree of ambiguity
of finite automata", 1991, criterion EDA). That is decidable: in the product of the (Glushkov) automaton with itself,
a pair of different states lies on a cycle through a pair of equal ones.

Counted repetition is looked at in two ways: as an unbounded one, which finds ``(.*a){12}``, and as a few copies, which
finds ``(\d{1,3})*``. ``(a+)+`` is let through: the automaton has but one place, and libxml2 takes no time. Python's
parser reads the patterns after XML Schema's own escapes are replaced by ranges of about the same extent; what it
cannot read is let through.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

__all__ = ["is_ambiguous"]

_TOP = 0x10FFFF
_LIMIT = 400  # positions; the product has its square
Ranges = tuple[tuple[int, int], ...]
_CATEGORIES: dict[Any, Ranges] = {
    _constants.CATEGORY_DIGIT: ((48, 57),),
    _constants.CATEGORY_NOT_DIGIT: ((0, 47), (58, _TOP)),
    _constants.CATEGORY_SPACE: ((9, 10), (13, 13), (32, 32)),
    _constants.CATEGORY_NOT_SPACE: ((0, 8), (11, 12), (14, 31), (33, _TOP)),
    _constants.CATEGORY_WORD: ((48, 57), (65, 90), (95, 95), (97, 122), (128, _TOP)),
    _constants.CATEGORY_NOT_WORD: ((0, 47), (58, 64), (91, 94), (96, 96), (123, 127)),
}
_ESCAPE = re.compile(r"\\(?:[pP]\{[^}]*\}|.)|[\[\]^$|]|-\[", re.DOTALL)


def _translated(pattern: str) -> str:
    """For Python: ``^`` and ``$`` are characters; \\i, \\c and \\p{..} are ranges; subtraction is left out."""
    out, inside, skipped = [], 0, 0
    position = 0
    for found in _ESCAPE.finditer(pattern):
        if not skipped:
            out.append(pattern[position : found.start()])
        position = found.end()
        text = found[0]
        if text == "-[" and inside:
            skipped += 1
            continue
        if text == "[":
            inside += 1
        elif text == "]":
            if skipped:
                skipped -= 1
                continue
            inside -= 1
        if skipped:
            continue
        if text[0] == "\\" and text[1] in "icIC":
            wide = "A-Za-z_:" + ("0-9.\\-" if text[1] == "c" else "") + "\u0080-\U0010ffff"
            text = wide if inside else f"[{wide}]"
        elif text[:2] in (r"\p", r"\P"):
            text = "A-Za-z0-9\u0080-\U0010ffff" if inside else "[A-Za-z0-9\u0080-\U0010ffff]"
        elif text == "|" and not inside:
            text = "|()"  # else Python's parser merges alternatives that libxml2 tries one after the other
        elif text in ("^", "$") and not inside:
            text = f"\\{text}"
        out.append(text)
    out.append(pattern[position:])
    return "".join(out)


class _Automaton:
    """Glushkov's: a state for each place of a character. ``follow`` leads from a place to those that may come next."""

    def __init__(self, *, copies: bool) -> None:
        self.copies = copies
        self.classes: list[Ranges] = []
        self.follow: list[set[int]] = []

    def place(self, ranges: Ranges) -> tuple[bool, set[int], set[int]]:
        if len(self.classes) >= _LIMIT:
            raise OverflowError
        self.classes.append(ranges)
        self.follow.append(set())
        own = {len(self.classes) - 1}
        return False, own, own

    def link(self, last: Iterable[int], first: set[int]) -> None:
        for place in last:
            self.follow[place] |= first

    def sequence(self, items: Any) -> tuple[bool, set[int], set[int]]:
        empty, first, last = True, set[int](), set[int]()
        for item in items:
            e, f, la = self.item(item)
            self.link(last, f)
            first |= f if empty else set()
            last = la | (last if e else set())
            empty = empty and e
        return empty, first, last

    def copied(self, inner: Any, low: int, high: int) -> tuple[bool, set[int], set[int]]:
        """At most three copies; as many of them optional as fit."""
        count = min(high, 3)
        needed = count if low == high else min(low, count - 1)
        empty, first, last = True, set[int](), set[int]()
        for number in range(count):
            e, f, la = self.sequence(inner)
            e = e or number >= needed
            self.link(last, f)
            first |= f if empty else set()
            last = la | (last if e else set())
            empty = empty and e
        return empty, first, last

    def item(self, item: Any) -> tuple[bool, set[int], set[int]]:
        kind, value = item
        if kind is _constants.LITERAL:
            return self.place(((value, value),))
        if kind is _constants.NOT_LITERAL:
            return self.place(((0, value - 1), (value + 1, _TOP)))
        if kind is _constants.ANY:
            return self.place(((0, 9), (11, 12), (14, _TOP)))
        if kind is _constants.IN:
            return self.place(_ranges(value))
        if kind in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            low, high, inner = value
            if self.copies and high not in (1, _constants.MAXREPEAT):
                return self.copied(inner, int(low), int(high))
            empty, first, last = self.sequence(inner)
            if high != 1:
                self.link(last, first)
            return empty or low == 0, first, last
        if kind is _constants.SUBPATTERN:
            return self.sequence(value[-1])
        if kind is _constants.BRANCH:
            parts = [self.sequence(branch) for branch in value[1]]
            return any(p[0] for p in parts), set().union(*(p[1] for p in parts)), set().union(*(p[2] for p in parts))
        raise ValueError(kind)


def _ranges(items: Any) -> Ranges:
    found: list[tuple[int, int]] = []
    negate = False
    for kind, value in items:
        if kind is _constants.NEGATE:
            negate = True
        elif kind is _constants.LITERAL:
            found.append((value, value))
        elif kind is _constants.RANGE:
            found.append((value[0], value[1]))
        else:
            found += _CATEGORIES[value]
    if not negate:
        return tuple(found)
    rest, start = [], 0
    for low, high in sorted(found):
        if low > start:
            rest.append((start, low - 1))
        start = max(start, high + 1)
    return (*rest, (start, _TOP)) if start <= _TOP else tuple(rest)


def _meet(a: Ranges, b: Ranges) -> bool:
    return any(low <= top and bottom <= high for low, high in a for bottom, top in b)


def is_ambiguous(pattern: str) -> bool:
    """Whether some text can be matched in a number of ways that grows exponentially with its length."""
    for copies in (False, True):
        automaton = _Automaton(copies=copies)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                automaton.sequence(_parser.parse(_translated(pattern)))
        except (re.error, ValueError, KeyError, OverflowError, RecursionError):
            continue
        if _eda(automaton):
            return True
    return False


def _eda(automaton: _Automaton) -> bool:
    count = len(automaton.classes)
    meets = [[_meet(a, b) for b in automaton.classes] for a in automaton.classes]

    def after(pair: tuple[int, int]) -> Iterable[tuple[int, int]]:
        for a in automaton.follow[pair[0]]:
            for b in automaton.follow[pair[1]]:
                if meets[a][b]:
                    yield a, b

    for start in range(count):
        # Pairs that can be reached from (start, start); one of two different states that leads back is the proof.
        seen = {(start, start)}
        queue = [(start, start)]
        before: dict[tuple[int, int], list[tuple[int, int]]] = {}
        while queue:
            pair = queue.pop()
            for other in after(pair):
                before.setdefault(other, []).append(pair)
                if other not in seen:
                    seen.add(other)
                    queue.append(other)
        back = set(before.get((start, start), ()))
        queue = list(back)
        while queue:
            pair = queue.pop()
            if pair[0] != pair[1]:
                return True
            for other in before.get(pair, ()):
                if other not in back:
                    back.add(other)
                    queue.append(other)
    return False

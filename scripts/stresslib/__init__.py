"""Stress tests of efio that take minutes. A module stress_PART.py for each part: a list of ``Scenario``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Scenario", "Violation"]


class Violation(Exception):
    """What must hold does not; the text says what."""


@dataclass(frozen=True)
class Scenario:
    """One test. ``run`` gets the amount of work and returns one line about what was seen; raises Violation."""

    name: str
    what: str
    amount: int  # at scale 1
    run: Callable[[int], str]

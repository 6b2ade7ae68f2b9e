"""Where things are, and how this program speaks to the person who runs it."""

from __future__ import annotations

import sys
from pathlib import Path

__all__ = ["APPS", "BENCH", "LIB", "LOGS", "RESULTS", "ROOT", "VENV", "BenchError", "say"]

LIB = Path(__file__).resolve().parent
ROOT = LIB.parent.parent
APPS = LIB / "apps"
BENCH = ROOT / ".bench"  # everything that is made: nothing of it is kept in the repository
VENV = BENCH / "venv"
RESULTS = BENCH / "results"
LOGS = BENCH / "logs"


class BenchError(Exception):
    """Something that stops a server or a whole benchmark; the text is one line for the reader."""


def say(text: str = "", *, end: str = "\n") -> None:
    """Prints at once, so that progress shows in pipes too."""
    sys.stdout.write(text + end)
    sys.stdout.flush()

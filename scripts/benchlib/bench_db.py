"""scripts/bench db [PART ...]: service_utils with databases beside its peers; a part is a module db_PART.

The machinery is that of bench_efio.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence

from benchlib.bench_efio import EfioOptions
from benchlib.places import LIB, BenchError, say
from benchlib.results import Target

__all__ = ["PARTS", "parts", "run"]

PARTS = tuple(sorted(path.stem.removeprefix("db_") for path in LIB.glob("db_*.py")))


def parts() -> dict[str, str]:
    """Name and one line of every part."""
    return {name: importlib.import_module(f"benchlib.db_{name}").TEXT for name in PARTS}


def run(names: Sequence[str], options: EfioOptions) -> list[Target]:
    """The given parts, or all."""
    if unknown := [name for name in names if name not in PARTS]:
        raise BenchError(f"db has no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    targets: list[Target] = []
    for name in names or PARTS:
        module = importlib.import_module(f"benchlib.db_{name}")
        say(f"== db {name}: {module.TEXT}")
        targets += module.run(options)
    return targets

"""efio: threads, queues, shared memory and files. It never imports evpy.

Names are looked up when they are first used, so that importing efio costs next to nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

# The public names, and where each one lives.
_HOMES = {
    "Lock": "efio.locks",
    "RLock": "efio.locks",
    "Waiter": "efio.parking",
}

__all__ = ["Lock", "RLock", "Waiter"]

if TYPE_CHECKING:
    from efio.locks import Lock, RLock
    from efio.parking import Waiter


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'efio' has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})

"""Python's garbage collector, kept from looking at objects while they are made.

A large document becomes tens of thousands of lists within some ten milliseconds, and with each few hundred of them the
collector starts over, with all objects of the program every now and then: for nothing, since nothing that readers make
is in a cycle, and at the price of the reading itself. So it is off for that time, unless a loop's other work goes on.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["paused"]


@contextmanager
def paused() -> Iterator[None]:
    """No collection starts by itself in this block; where none would, nothing changes."""
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        gc.enable()

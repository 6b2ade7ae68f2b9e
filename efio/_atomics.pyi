"""Types of the compiled module; the explanations are in _atomics.pyx."""

from collections.abc import Callable
from typing import Generic, TypeVar, final

_T = TypeVar("_T")

@final
class AtomicInt:
    """A signed 64-bit number; each method is one step, seen from any thread. OverflowError beyond 64 bits."""

    def __init__(self, value: int = 0) -> None: ...
    def load(self) -> int: ...
    def store(self, value: int) -> None: ...
    def exchange(self, value: int) -> int:
        """Stores; what was there before."""

    def add(self, n: int = 1) -> int:
        """Adds; the sum."""

    def fetch_add(self, n: int = 1) -> int:
        """Adds; what was there before."""

    def compare_exchange(self, expected: int, desired: int) -> bool:
        """Stores ``desired`` if ``expected`` was there; whether it was."""

    def __int__(self) -> int: ...
    def __index__(self) -> int: ...

@final
class AtomicRef(Generic[_T]):
    """A reference to an object; each method but update() is one step. Objects are compared by identity."""

    def __init__(self, value: _T) -> None: ...
    def load(self) -> _T: ...
    def store(self, value: _T) -> None: ...
    def exchange(self, value: _T) -> _T:
        """Stores; what was there before."""

    def compare_exchange(self, expected: _T, desired: _T) -> bool:
        """Stores ``desired`` if ``expected`` itself was there; whether it was."""

    def update(self, function: Callable[[_T], _T]) -> _T:
        """Replaces what is there by function(what is there), which is called again if it was replaced meanwhile."""

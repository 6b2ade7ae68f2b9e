"""AtomicInt and AtomicRef in Python: the twins of _atomics.pyx, with a lock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from efio._pure.parking import allocate_lock

__all__ = ["AtomicInt", "AtomicRef"]


def _number(value: Any) -> int:
    number = int(value.__index__())
    if not -(2**63) <= number < 2**63:
        raise OverflowError(f"AtomicInt: {number} does not fit into 64 bits")
    return number


class AtomicInt:
    def __init__(self, value: int = 0) -> None:
        self._guard = allocate_lock()
        self._value = _number(value)

    def load(self) -> int:
        return self._value

    def store(self, value: int) -> None:
        self._value = _number(value)

    def exchange(self, value: int) -> int:
        value = _number(value)
        with self._guard:
            before, self._value = self._value, value
        return before

    def add(self, n: int = 1) -> int:
        return self.fetch_add(n) + n

    def fetch_add(self, n: int = 1) -> int:
        n = _number(n)
        with self._guard:
            before, self._value = self._value, _number(self._value + n)
        return before

    def compare_exchange(self, expected: int, desired: int) -> bool:
        expected, desired = _number(expected), _number(desired)
        with self._guard:
            if self._value != expected:
                return False
            self._value = desired
        return True

    def __int__(self) -> int:
        return self._value

    def __index__(self) -> int:
        return self._value

    def __repr__(self) -> str:
        return f"AtomicInt({self._value})"


class AtomicRef:
    def __init__(self, value: Any = None) -> None:
        self._guard = allocate_lock()
        self._value = value

    def load(self) -> Any:
        return self._value

    def store(self, value: Any) -> None:
        self.exchange(value)

    def exchange(self, value: Any) -> Any:
        with self._guard:
            before, self._value = self._value, value
        return before

    def compare_exchange(self, expected: Any, desired: Any) -> bool:
        with self._guard:
            if self._value is not expected:
                return False
            self._value = desired
        return True

    def update(self, function: Callable[[Any], Any]) -> Any:
        while True:
            before = self._value
            after = function(before)
            if self.compare_exchange(before, after):
                return after

    def __repr__(self) -> str:
        return f"AtomicRef({self._value!r})"

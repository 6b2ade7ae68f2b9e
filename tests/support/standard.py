"""The standard library's own tests of locks, for ours: without what they guess about the speed of the machine."""

from __future__ import annotations

import unittest
from typing import Any

import pytest

__all__ = ["lock_tests"]


def lock_tests() -> Any:
    """The module test.lock_tests; skips where there is none."""
    module = pytest.importorskip("test.lock_tests", reason="this Python comes without its tests")

    def took_long_enough(_case: unittest.TestCase, actual: float, expected: float) -> None:
        assert actual >= expected * 0.6  # and, in the original, not ten times as long

    def barrier(case: Any) -> None:
        case.barrier = case.barriertype(case.N, timeout=60.0)  # of one that is not to break; the original: 2

    module.BaseTestCase.assertTimeout = took_long_enough
    module.BarrierTests.setUp = barrier
    return module

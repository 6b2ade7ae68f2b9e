"""Fixtures for the tests of ``evpy.http``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest


def _sibling(name: str) -> ModuleType:
    """A module beside this file; test directories are not on sys.path (--import-mode=importlib)."""
    spec = importlib.util.spec_from_file_location(f"evpy_http_{name}", Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


FakeRequest = _sibling("fakes").FakeRequest


@pytest.fixture(scope="session")
def fake() -> type:
    """The class FakeRequest of fakes.py."""
    return FakeRequest  # type: ignore[no-any-return]

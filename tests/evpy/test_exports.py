"""What ``evpy`` exports, and that importing it loads neither gevent nor the native core."""

import subprocess
import sys

import pytest

import evpy


@pytest.mark.parametrize("name", evpy.__all__)
def test_every_exported_name_exists(name: str) -> None:
    assert getattr(evpy, name).__name__ == name


def test_the_list_is_the_contract() -> None:
    assert evpy.__all__ == sorted(evpy.__all__)
    assert set(evpy._HOME) == set(evpy.__all__)
    assert set(evpy.__all__) <= set(dir(evpy))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        evpy.nonsense  # noqa: B018


def test_importing_evpy_is_cheap() -> None:
    code = "import sys, evpy; print([m for m in ('gevent', 'greenlet', 'evpy._core', 'msgspec') if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"

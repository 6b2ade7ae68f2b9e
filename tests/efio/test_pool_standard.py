"""The standard library's own tests of concurrent.futures, on ThreadPool and Future.

Left out are the tests of process pools (test_hang_global_shutdown_lock makes 50 of them, for a lock that is not here).
"""

import importlib
import logging
import unittest
from typing import Any

import pytest

import efio

util: Any = pytest.importorskip(
    "test.test_concurrent_futures.util", reason="this Python comes without its tests (or they are laid out differently)"
)
NAMES = ["test_thread_pool", "test_shutdown", "test_init", "test_wait", "test_as_completed", "test_future"]
LEFT_OUT = {"test_hang_global_shutdown_lock"}
SLOW = 5


def _ours(monkeypatch: pytest.MonkeyPatch, module: Any) -> None:
    monkeypatch.setattr(util.ThreadPoolMixin, "executor_type", efio.ThreadPool)
    monkeypatch.setattr(util, "Future", efio.Future)
    for name in dir(util):
        if name.endswith("_FUTURE"):
            old = getattr(util, name)
            new = util.create_future(old._state, old._exception, old._result)
            monkeypatch.setattr(module, name, new, raising=False)
    monkeypatch.setattr(module, "Future", efio.Future, raising=False)
    if hasattr(module, "assert_python_ok"):  # programs that import the executor by its name
        original = module.assert_python_ok

        def with_efio(*args: str) -> Any:
            return original(
                *(a.replace("concurrent.futures import ThreadPool\n", "efio import ThreadPool\n") for a in args)
            )

        monkeypatch.setattr(module, "assert_python_ok", with_efio)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_standard(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = importlib.import_module(f"test.test_concurrent_futures.{name}")
    _ours(monkeypatch, module)
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's; some tests look at what is written to stderr
    suite = unittest.TestSuite()
    for group in unittest.defaultTestLoader.loadTestsFromModule(module):
        assert isinstance(group, unittest.TestSuite)
        for case in group:
            if "ProcessPool" not in type(case).__name__ and case.id().rpartition(".")[2] not in LEFT_OUT:
                suite.addTest(case)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    assert result.testsRun > 0
    assert not result.failures + result.errors, "\n".join(text for _, text in result.failures + result.errors)

from __future__ import annotations

import functools
import os
import traceback

from evpy.http import usercode
from evpy.http.converters import CONVERTERS
from evpy.http.usercode import code_of, describe_callable, is_ours, relative, user_only, user_traceback


def raised(function, *args):
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError("nothing was raised")


def called_by_ours(function):
    """Calls it from a frame that says it is in evpy."""
    namespace: dict[str, object] = {"function": function}
    exec(compile("def call(): function()", os.path.dirname(usercode.__file__) + "/x.py", "exec"), namespace)
    return namespace["call"]


def fail():
    raise KeyError("x")


def fail_below_ours():
    called_by_ours(fail)()


def names(tb) -> list[str]:
    return [frame.name for frame in traceback.extract_tb(tb)]


def test_ours() -> None:
    assert is_ours(usercode.__file__)
    assert is_ours("evpy/_core.pyx")
    assert is_ours("../evpy/binding/scheduler.pxi")
    assert is_ours("<frozen importlib._bootstrap>")
    assert not is_ours(__file__)
    assert not is_ours("/srv/evpy_app/main.py")


def test_tracebacks_begin_at_the_application() -> None:
    tb = raised(called_by_ours(fail_below_ours)).__traceback__
    assert names(tb) == ["raised", "call", "fail_below_ours", "call", "fail"]
    assert names(user_traceback(tb.tb_next)) == ["fail_below_ours", "call", "fail"]
    assert names(user_only(tb)) == ["raised", "fail_below_ours", "fail"]


def test_a_traceback_of_ours_alone_is_kept() -> None:
    tb = raised(CONVERTERS["int"].parse, "x").__traceback__.tb_next
    assert user_traceback(tb) is tb
    assert user_only(tb) is None
    assert user_traceback(None) is None


class Callable:
    def __call__(self, request): ...

    def method(self, request): ...


def test_where_callables_are() -> None:
    line = fail.__code__.co_firstlineno
    where = f"({__file__}:{line})"
    assert describe_callable(fail) == f"fail() {where}"
    assert describe_callable(functools.partial(fail)) == f"partial() {where}"
    assert describe_callable(functools.wraps(fail)(lambda: None)) == f"fail() {where}"
    assert describe_callable(Callable()).startswith(f"Callable() ({__file__}:")
    assert describe_callable(Callable().method).startswith(f"Callable.method() ({__file__}:")
    assert describe_callable(len) == "len() (builtins)"
    assert code_of(Callable()) is Callable.__call__.__code__


def test_relative_names(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert relative(str(tmp_path / "a" / "b.py")) == "a/b.py"
    assert relative("/usr/lib/x.py") == "/usr/lib/x.py"

"""Where the application's code is: locations for messages, tracebacks without our own frames."""

from __future__ import annotations

import os
import re
from types import TracebackType
from typing import Any

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_IMPORT_SYSTEM = "<frozen importlib"
_CYTHON = re.compile(r"evpy/(binding/\w+\.pxi|_core\.pyx)$")  # paths relative to wherever it was compiled


def is_ours(filename: str) -> bool:
    """True for files of evpy and for the import machinery, which stand between the server and the application."""
    return filename.startswith((_OURS, _IMPORT_SYSTEM)) or _CYTHON.search(filename) is not None


def user_traceback(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame of the application on; all of it when there is none (then the bug is ours)."""
    first = traceback
    while first is not None and is_ours(first.tb_frame.f_code.co_filename):
        first = first.tb_next
    return first or traceback


def user_only(traceback: TracebackType | None) -> TracebackType | None:
    """A copy of the traceback that has the application's frames alone, also where ours stand between or below them."""
    frames = []
    while traceback is not None:
        if not is_ours(traceback.tb_frame.f_code.co_filename):
            frames.append(traceback)
        traceback = traceback.tb_next
    copy: TracebackType | None = None
    for frame in reversed(frames):
        copy = TracebackType(copy, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return copy


def describe_callable(function: Any) -> str:
    """``handle() (/srv/app/main.py:12)``; for an object that is called, its class and where its ``__call__`` is."""
    code = code_of(function)
    name = getattr(function, "__qualname__", None) or type(function).__name__
    if code is None:
        module = getattr(function, "__module__", None) or "?"
        return f"{name}() ({module})"
    return f"{name}() ({code.co_filename}:{code.co_firstlineno})"


def code_of(function: Any) -> Any:
    """The code object behind a function, method, partial or callable object; None for what has none."""
    for _ in range(10):
        if hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        elif hasattr(function, "func"):  # functools.partial
            function = function.func
        elif hasattr(function, "__func__"):  # bound method
            function = function.__func__
        else:
            break
    code = getattr(function, "__code__", None)
    if code is None and not isinstance(function, type):
        code = getattr(getattr(type(function), "__call__", None), "__code__", None)  # noqa: B004 - the function itself
    return code


def relative(path: str) -> str:
    """``path`` as a person in the current directory would write it."""
    try:
        short = os.path.relpath(path)
    except (OSError, ValueError):
        return path
    return path if short.startswith("..") else short

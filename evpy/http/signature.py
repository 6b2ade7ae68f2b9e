"""Can this object be called as a handler? Asked at start-up, so that no request has to find out by a TypeError."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from evpy.http.usercode import describe_callable


def signature_problem(handler: Any, parameters: Iterable[str] = ()) -> str | None:
    """Why ``handler(request, **parameters)`` cannot work, in a sentence; None when it can, or when nobody can know."""
    if not callable(handler):
        return f"{handler!r} is not callable"
    if is_async(handler):
        return f"{describe_callable(handler)} is async: write def instead, blocking calls switch by themselves"
    try:
        signature = inspect.signature(handler)
    except (TypeError, ValueError):  # some callables of C
        return None
    try:
        signature.bind(None, **dict.fromkeys(parameters))
    except TypeError as error:
        call = ", ".join(["request", *parameters])
        return f"{describe_callable(handler)} cannot be called as handler({call}): {error}"
    return None


def is_async(handler: Any) -> bool:
    """True for async functions and generators, and for objects whose ``__call__`` is one."""
    functions = (handler, getattr(type(handler), "__call__", None))  # noqa: B004 - the function, not whether there is one
    return any(inspect.iscoroutinefunction(f) or inspect.isasyncgenfunction(f) for f in functions)


def foreign_interface(app: Any) -> str | None:
    """ "WSGI" or "ASGI" when the arguments that ``app`` takes say so, else None."""
    try:
        signature = inspect.signature(app)
    except (TypeError, ValueError):
        return None
    for count, interface in ((2, "WSGI"), (3, "ASGI")):
        try:
            signature.bind(*[None] * count)
        except TypeError:
            continue
        if signature_problem(app) is not None:
            return interface
    return None

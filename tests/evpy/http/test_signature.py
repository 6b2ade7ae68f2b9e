from __future__ import annotations

import functools

import pytest

from evpy.http.router import Router
from evpy.http.signature import foreign_interface, is_async, signature_problem


def handler(request): ...


def with_options(request, flag=False, *, other=None): ...


def wsgi(environ, start_response): ...


async def asgi(scope, receive, send): ...


async def async_handler(request): ...


async def async_generator(request):
    yield b""


def asgi2(scope):
    return asgi


class Wsgi:
    def __init__(self, environ, start_response) -> None: ...


class Handler:
    def __call__(self, request): ...


class Asgi:
    async def __call__(self, scope, receive, send): ...


@pytest.mark.parametrize(
    "good",
    [
        handler,
        with_options,
        Handler(),
        Handler().__call__,
        functools.partial(wsgi, 1),
        Router(),
        lambda *a, **k: None,
        len,
    ],
)
def test_handlers(good) -> None:
    assert signature_problem(good) is None
    assert foreign_interface(good) is None


def test_path_parameters() -> None:
    assert signature_problem(with_options, ["flag", "other"]) is None
    assert "unexpected keyword argument 'id'" in (signature_problem(handler, ["id"]) or "")


@pytest.mark.parametrize(
    ("bad", "problem", "interface"),
    [
        (wsgi, "wsgi() (", "WSGI"),
        (Wsgi, "Wsgi() (", "WSGI"),
        (asgi, "is async: write def", "ASGI"),
        (Asgi(), "is async: write def", "ASGI"),
        (async_handler, "is async: write def", None),
        (async_generator, "is async: write def", None),
        (lambda: None, "too many positional arguments", None),
        (lambda a, b, c, d: None, "missing a required argument: 'b'", None),
    ],
)
def test_others(bad, problem: str, interface: str | None) -> None:
    assert problem in (signature_problem(bad) or "")
    assert foreign_interface(bad) == interface


def test_not_callable() -> None:
    assert signature_problem(5) == "5 is not callable"


def test_async() -> None:
    assert is_async(async_handler)
    assert is_async(Asgi())
    assert not is_async(handler)
    assert not is_async(asgi2)

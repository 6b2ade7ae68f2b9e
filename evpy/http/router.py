"""``Router``: which function answers which path and method.

::

    router = Router()

    @router.get("/users/{id:int}")
    def show(request, id): ...

    handle = router                      # what evserver calls

Routes form a tree with one level per path segment. At each level literal segments are looked up in a dictionary before
parameters are tried, the more specific converter first; so matching costs a step per segment, however many routes there
are, and the order of registration does not matter. Segments are split before they are percent-decoded: a "%2F" inside a
parameter is part of its value. Invariant: ``match(url_for(name, **p))`` finds that route with those parameters.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from evpy.errors import HTTPError
from evpy.http.converters import CONVERTERS, Converter
from evpy.http.headers import is_token
from evpy.http.request import decode_path
from evpy.http.response import Response
from evpy.http.signature import signature_problem
from evpy.http.usercode import describe_callable

if TYPE_CHECKING:
    from evpy.http.request import RequestMixin

Handler = Callable[..., Any]
H = TypeVar("H", bound=Handler)

_parameter = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)(?::([A-Za-z_][A-Za-z0-9_]*))?\}", re.ASCII)


Segment = str | tuple[str, Converter]  # literal, or parameter name and converter


@dataclass(frozen=True, slots=True)
class Route:
    """One registered function: ``pattern`` with all prefixes, upper-case ``methods``, ``name`` for url_for."""

    pattern: str
    methods: frozenset[str]
    handler: Handler
    name: str
    segments: tuple[Segment, ...] = field(repr=False)
    parameters: tuple[str, ...]


class _Node:
    """One path segment of the tree, and what follows it."""

    __slots__ = ("literals", "parameters", "routes", "tails")

    def __init__(self) -> None:
        self.literals: dict[str, _Node] = {}
        self.parameters: list[tuple[Converter, _Node]] = []  # by rank, the most specific first
        self.tails: list[tuple[Converter, _Node]] = []  # converters that take all remaining segments
        self.routes: dict[str, Route] = {}  # by method: the path may end here


class Router:
    """A callable for ``handle`` that dispatches by path and method; parameters are passed as keyword arguments.

    Patterns are literal segments and parameters, ``{name}`` or ``{name:converter}`` with int, str, path, uuid, float or
    one of ``add_converter``; a parameter is a whole segment, ``path`` takes all that follow. HEAD is answered by GET's
    function and OPTIONS with the Allow field unless they have routes of their own; an unknown path raises HTTPError
    404, an unknown method 405 with Allow. A trailing slash makes another path.
    """

    def __init__(self, prefix: str = "") -> None:
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(f"Router prefix {prefix!r} must start with '/' and not end with one")
        self.prefix = prefix
        self.routes: list[Route] = []
        self._root = _Node()
        self._names: dict[str, Route] = {}
        self._converters = dict(CONVERTERS)
        self._parents: list[tuple[Router, str]] = []

    # --- registration

    def route(self, pattern: str, methods: Iterable[str] = ("GET",), *, name: str | None = None) -> Callable[[H], H]:
        """Decorator: registers a function for these methods. ``name`` for url_for, by default the function's own.

        ValueError for a malformed pattern, a method and path or an explicit ``name`` that is taken; TypeError for a
        function that cannot take the parameters, or is async.
        """

        def register(handler: H) -> H:
            self.add(pattern, handler, methods, name=name)
            return handler

        return register

    def get(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for GET (and HEAD)."""
        return self.route(pattern, ("GET",), name=name)

    def post(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for POST."""
        return self.route(pattern, ("POST",), name=name)

    def put(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for PUT."""
        return self.route(pattern, ("PUT",), name=name)

    def patch(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for PATCH."""
        return self.route(pattern, ("PATCH",), name=name)

    def delete(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for DELETE."""
        return self.route(pattern, ("DELETE",), name=name)

    def head(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for HEAD, where it can be answered cheaper than by GET's function."""
        return self.route(pattern, ("HEAD",), name=name)

    def options(self, pattern: str, *, name: str | None = None) -> Callable[[H], H]:
        """``route`` for OPTIONS, as CORS needs it."""
        return self.route(pattern, ("OPTIONS",), name=name)

    def add(
        self, pattern: str, handler: Handler, methods: Iterable[str] = ("GET",), *, name: str | None = None
    ) -> None:
        """``route`` without the decorator."""
        if isinstance(methods, str):
            raise TypeError(f"route {pattern!r}: methods is a list of names, as in [{methods!r}]")
        names = frozenset(method.upper() for method in methods)
        if not names or not all(map(is_token, names)):
            raise ValueError(f"route {pattern!r}: {sorted(names)} are no methods")
        full = self.prefix + pattern
        own: str = name or getattr(handler, "__name__", None) or type(handler).__name__
        self._insert(full, names, handler, own, self._parse(full), explicit=name is not None)

    def add_converter(
        self, name: str, parse: Callable[[str], Any], format: Callable[[Any], str] = str, *, tail: bool = False
    ) -> None:
        """A converter for the patterns of this router that are registered afterwards.

        ``parse`` turns the decoded segment into the value and raises ValueError when the route does not match;
        ``format`` is its inverse for url_for. With ``tail`` it takes all remaining segments, joined by "/".
        """
        self._converters[name] = Converter(name, parse, format, rank=50, tail=tail)

    def mount(self, prefix: str, router: Router) -> None:
        """Adds all routes of ``router``, also those it gets later, to this one, under ``prefix`` ("" for none)."""
        if not isinstance(router, Router):
            raise TypeError(f"mount({prefix!r}): a Router is expected, not {type(router).__name__}")
        if prefix and (not prefix.startswith("/") or prefix.endswith("/")):
            raise ValueError(f"mount: prefix {prefix!r} must start with '/' and not end with one")
        if router is self or self._is_below(router):
            raise ValueError(f"mount({prefix!r}): a router cannot contain itself")
        for route in list(router.routes):
            self._adopt(prefix, route)
        router._parents.append((self, prefix))

    def _is_below(self, router: Router) -> bool:
        return any(parent is router or parent._is_below(router) for parent, _ in self._parents)

    def _adopt(self, prefix: str, route: Route) -> None:
        before = self.prefix + prefix
        segments = (*self._parse(before), *route.segments) if before else route.segments
        self._insert(before + route.pattern, route.methods, route.handler, route.name, segments, explicit=False)

    def _insert(
        self,
        pattern: str,
        methods: frozenset[str],
        handler: Handler,
        name: str,
        segments: tuple[Segment, ...],
        *,
        explicit: bool,
    ) -> None:
        parameters = tuple(segment[0] for segment in segments if isinstance(segment, tuple))
        if len(set(parameters)) < len(parameters):
            raise ValueError(f"route {pattern!r}: two parameters have the same name")
        problem = signature_problem(handler, parameters)
        if problem:  # now, and not at the first request
            raise TypeError(f"route {pattern!r}: {problem}")
        route = Route(pattern, methods, handler, name, segments, parameters)
        node = self._root
        for segment in route.segments:
            node = _child(node, segment)
        for method in route.methods:
            if method in node.routes:
                raise ValueError(
                    f"route {route.pattern!r}: {method} is taken by {describe_callable(node.routes[method].handler)}"
                )
        if explicit and route.name in self._names:
            raise ValueError(
                f"route {route.pattern!r}: the name {route.name!r} is that of {self._names[route.name].pattern!r}"
            )
        for method in route.methods:
            node.routes[method] = route
        self.routes.append(route)
        self._names.setdefault(route.name, route)
        for parent, prefix in self._parents:
            parent._adopt(prefix, route)

    def _parse(self, pattern: str) -> tuple[Segment, ...]:
        if not pattern.startswith("/"):
            raise ValueError(f"route {pattern!r} must start with '/'")
        segments: list[Segment] = []
        for text in pattern[1:].split("/"):
            match = _parameter.fullmatch(text)
            if match is None:
                if "{" in text or "}" in text:
                    raise ValueError(
                        f"route {pattern!r}: {text!r} is neither literal nor one {{name}} or {{name:converter}}"
                    )
                segments.append(text)
                continue
            name, kind = match[1], match[2] or "str"
            converter = self._converters.get(kind)
            if converter is None:
                known = ", ".join(sorted(self._converters))
                raise ValueError(f"route {pattern!r}: there is no converter {kind!r} (there are {known})")
            segments.append((name, converter))
        if any(isinstance(segment, tuple) and segment[1].tail for segment in segments[:-1]):
            raise ValueError(f"route {pattern!r}: a parameter that takes the rest of the path must be the last segment")
        return tuple(segments)

    # --- matching

    def __call__(self, request: RequestMixin) -> Any:
        """Calls the function that is registered for the request's path and method, and returns its result."""
        method, raw_path = request.method, request.raw_path
        if raw_path == "*":  # RFC 9110 section 9.3.7: OPTIONS for the server as a whole
            return self._options(method, {name for route in self.routes for name in route.methods})
        route, parameters, allowed = self.match(method, raw_path)
        if route is None:
            if not allowed:
                raise HTTPError(404)
            return self._options(method, allowed)
        request._own_cache()["endpoint"] = route.handler
        return route.handler(request, **parameters)

    def match(self, method: str, raw_path: str) -> tuple[Route | None, dict[str, Any], set[str]]:
        """(route, its parameters, {}) or, without a route, (None, {}, methods that this path has routes for).

        ``raw_path`` is percent-encoded, as received; HTTPError 400 when it is not UTF-8.
        """
        if not raw_path.startswith("/"):
            return None, {}, set()
        segments = raw_path[1:].split("/")
        if "%" in raw_path or not raw_path.isascii():
            segments = [decode_path(segment) for segment in segments]
        allowed: set[str] = set()
        values: list[Any] = []
        route = _find(self._root, segments, 0, method, values, allowed)
        if route is None and method == "HEAD" and "GET" in allowed:
            route = _find(self._root, segments, 0, "GET", values, allowed)
        if route is None:
            return None, {}, allowed
        return route, dict(zip(route.parameters, values, strict=True)) if values else {}, set()

    @staticmethod
    def _options(method: str, allowed: set[str]) -> Response:
        methods = allowed | {"OPTIONS"} | ({"HEAD"} if "GET" in allowed else set())
        allow = {"Allow": ", ".join(sorted(methods))}
        if method == "OPTIONS":
            return Response(status=204, headers=allow)
        raise HTTPError(405, f"{method} is not possible here, only {allow['Allow']}", allow)

    def url_for(self, name: str, /, **parameters: Any) -> str:
        """The path of a route, percent-encoded; parameters that its pattern does not have become the query string.

        LookupError for an unknown name, TypeError for a missing parameter, ValueError for one that its converter would
        not accept back.
        """
        from urllib.parse import quote, urlencode

        route = self._names.get(name)
        if route is None:
            known = ", ".join(sorted(self._names)) or "none"
            raise LookupError(f"url_for: there is no route named {name!r} (there are {known})")
        path = ""
        for segment in route.segments:
            if isinstance(segment, str):
                path += "/" + quote(segment, safe="!$&'()*+,;=:@")  # RFC 3986 section 3.3: pchar
                continue
            parameter, converter = segment
            if parameter not in parameters:
                raise TypeError(f"url_for({name!r}): {route.pattern} needs the parameter {parameter!r}")
            text = converter.format(parameters.pop(parameter))
            try:
                converter.parse(text)
                if {".", ".."} & set(text.split("/") if converter.tail else (text,)):
                    raise ValueError  # clients resolve dot segments before they send anything (RFC 3986 section 5.2.4)
            except ValueError:
                raise ValueError(f"url_for({name!r}): {text!r} is no {converter.name} for {parameter!r}") from None
            path += "/" + quote(text, safe="!$&'()*+,;=:@" + ("/" if converter.tail else ""))
        return path + ("?" + urlencode(parameters, doseq=True) if parameters else "")


def _child(node: _Node, segment: Segment) -> _Node:
    if isinstance(segment, str):
        return node.literals.setdefault(segment, _Node())
    converter = segment[1]
    branches = node.tails if converter.tail else node.parameters
    for known, child in branches:
        if known is converter:
            return child
    child = _Node()
    branches.append((converter, child))
    branches.sort(key=lambda branch: branch[0].rank)
    return child


def _find(node: _Node, segments: list[str], at: int, method: str, values: list[Any], allowed: set[str]) -> Route | None:
    """The route for the segments from ``at`` on. Collects parameters in ``values``, methods in ``allowed``."""
    if at == len(segments):
        found = node.routes.get(method)
        if found is None:
            allowed.update(node.routes)
        return found
    segment = segments[at]
    child = node.literals.get(segment)
    if child is not None:
        route = _find(child, segments, at + 1, method, values, allowed)
        if route is not None:
            return route
    if node.parameters:
        route = _try(node.parameters, segment, segments, at + 1, method, values, allowed)
        if route is not None:
            return route
    if node.tails:
        return _try(node.tails, "/".join(segments[at:]), segments, len(segments), method, values, allowed)
    return None


def _try(
    branches: list[tuple[Converter, _Node]],
    text: str,
    segments: list[str],
    after: int,
    method: str,
    values: list[Any],
    allowed: set[str],
) -> Route | None:
    """The route through one of the parameters for which ``text`` is a value."""
    depth = len(values)
    for converter, child in branches:
        try:
            values.append(converter.parse(text))
        except ValueError:
            continue
        route = _find(child, segments, after, method, values, allowed)
        if route is not None:
            return route
        del values[depth:]
    return None

from __future__ import annotations

import datetime
import functools
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import HTTPError
from evpy.http.router import Router


def answer(name: str) -> Callable[..., object]:
    def handler(request, **parameters):
        return name, parameters

    handler.__name__ = name
    return handler


def router_of(*routes: str, method: str = "GET") -> Router:
    router = Router()
    for pattern in routes:
        router.add(pattern, answer(pattern), [method])
    return router


def call(fake, router: Router, target: str, method: str = "GET"):
    return router(fake(method, target))


def status(fake, router: Router, target: str, method: str = "GET") -> int:
    with pytest.raises(HTTPError) as caught:
        call(fake, router, target, method)
    return caught.value.status


def test_literals_parameters_and_methods(fake) -> None:
    router = Router()

    @router.get("/users")
    def users(request):
        return "all"

    @router.get("/users/{id:int}")
    def show(request, id):
        return "show", id

    @router.post("/users")
    def create(request):
        return "create"

    @router.route("/users/{id:int}", ["put", "PATCH"])
    def change(request, id):
        return request.method, id

    @router.delete("/users/{id:int}")
    def remove(request, *, id):
        return "remove", id

    assert call(fake, router, "/users?x=1") == "all"
    assert call(fake, router, "/users/7") == ("show", 7)
    assert call(fake, router, "/users", "POST") == "create"
    assert call(fake, router, "/users/7", "PUT") == ("PUT", 7)
    assert call(fake, router, "/users/7", "PATCH") == ("PATCH", 7)
    assert call(fake, router, "/users/7", "DELETE") == ("remove", 7)
    assert status(fake, router, "/users/x") == 404
    assert status(fake, router, "/users/") == 404
    assert status(fake, router, "/") == 404
    assert status(fake, router, "/users/7/8") == 404
    request = fake("GET", "/users/7")
    router(request)
    assert request._cache["endpoint"] is show
    assert users(None) == "all"  # decorators return the function


def test_every_method_has_its_decorator(fake) -> None:
    router = Router()
    for method in ("get", "post", "put", "patch", "delete", "head", "options"):
        getattr(router, method)("/x")(answer(method))
        assert call(fake, router, "/x", method.upper()) == (method, {})


# --- precedence


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", ("/", {})),
        ("/a", ("/a", {})),
        ("/a/", ("/a/", {})),
        ("/1", ("/{x:int}", {"x": 1})),
        ("/-1.5", ("/{x:float}", {"x": -1.5})),
        ("/b", ("/{x}", {"x": "b"})),
        ("/a/b", ("/a/b", {})),
        ("/a/1", ("/a/{x:int}", {"x": 1})),
        ("/a/c", ("/{x}/c", {"x": "a"})),  # the literal branch /a leads nowhere: back
        ("/a/d", ("/{rest:path}", {"rest": "a/d"})),
        ("/a/b/", ("/{rest:path}", {"rest": "a/b/"})),
        ("/f/x/y/z", ("/f/{p:path}", {"p": "x/y/z"})),
        ("/f/", ("/{rest:path}", {"rest": "f/"})),
        ("//", ("/{rest:path}", {"rest": "/"})),
    ],
)
def test_the_most_specific_route_wins(fake, target: str, expected) -> None:
    patterns = [
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a/{x:int}",
        "/{x}",
        "/{x:int}",
        "/{x:float}",
        "/{x}/c",
        "/f/{p:path}",
        "/{rest:path}",
    ]
    assert call(fake, router_of(*patterns), target) == expected
    assert call(fake, router_of(*reversed(patterns)), target) == expected


def test_backtracking_forgets_values(fake) -> None:
    router = router_of("/{a:int}/{b:int}/x", "/{c}/{d}/y")
    assert call(fake, router, "/1/2/x") == ("/{a:int}/{b:int}/x", {"a": 1, "b": 2})
    assert call(fake, router, "/1/2/y") == ("/{c}/{d}/y", {"c": "1", "d": "2"})


def test_another_route_may_have_the_method(fake) -> None:
    router = router_of("/users/me")
    router.add("/users/{name}", answer("delete"), ["DELETE"])
    assert call(fake, router, "/users/me", "DELETE") == ("delete", {"name": "me"})
    with pytest.raises(HTTPError) as caught:
        call(fake, router, "/users/me", "PUT")
    assert caught.value.headers == (("Allow", "DELETE, GET, HEAD, OPTIONS"),)


# --- encoding


def test_segments_are_split_before_they_are_decoded(fake) -> None:
    router = router_of("/f/{name}", "/caf\xe9", "/p/{rest:path}")
    assert call(fake, router, "/f/a%2Fb%20c") == ("/f/{name}", {"name": "a/b c"})
    assert call(fake, router, "/caf%C3%A9") == ("/caf\xe9", {})
    assert call(fake, router, "/%66/x") == ("/f/{name}", {"name": "x"})
    assert call(fake, router, "/p/a/%C3%A9/../b") == ("/p/{rest:path}", {"rest": "a/\xe9/../b"})
    assert status(fake, router, "/f/%FF") == 400


# --- methods


def test_head_is_get(fake) -> None:
    router = router_of("/a")
    assert call(fake, router, "/a", "HEAD") == ("/a", {})
    router.add("/a", answer("own"), ["HEAD"])
    assert call(fake, router, "/a", "HEAD") == ("own", {})
    assert status(fake, router_of("/a", method="POST"), "/a", "HEAD") == 405


def test_options_and_405(fake) -> None:
    router = router_of("/a/{x}")
    router.add("/a/{y}", answer("post"), ["POST"])
    response = call(fake, router, "/a/1", "OPTIONS")
    assert (response.status, response.headers["Allow"]) == (204, "GET, HEAD, OPTIONS, POST")
    with pytest.raises(HTTPError, match="405 DELETE is not possible here, only GET, HEAD, OPTIONS, POST") as caught:
        call(fake, router, "/a/1", "DELETE")
    assert caught.value.headers == (("Allow", "GET, HEAD, OPTIONS, POST"),)
    assert status(fake, router, "/none", "OPTIONS") == 404
    router.add("/a/{z}", answer("own"), ["OPTIONS"])
    assert call(fake, router, "/a/1", "OPTIONS") == ("own", {"z": "1"})


def test_options_for_the_server(fake) -> None:
    router = router_of("/a")
    router.add("/b", answer("b"), ["PUT"])
    assert call(fake, router, "*", "OPTIONS").headers["Allow"] == "GET, HEAD, OPTIONS, PUT"
    assert status(fake, router, "*", "GET") == 405
    assert status(fake, router, "nonsense") == 404


# --- mounting


def test_prefixes_and_mounts(fake) -> None:
    api = Router(prefix="/v1")
    api.add("/users/{id:int}", answer("user"))
    site = Router()
    site.mount("/api", api)
    top = Router(prefix="/top")
    top.mount("/{tenant}", site)
    api.add("/late", answer("late"))  # after mounting
    assert call(fake, api, "/v1/users/1") == ("user", {"id": 1})
    assert call(fake, site, "/api/v1/users/1") == ("user", {"id": 1})
    assert call(fake, site, "/api/v1/late") == ("late", {})
    assert call(fake, top, "/top/acme/api/v1/users/1") == ("user", {"tenant": "acme", "id": 1})
    assert call(fake, top, "/top/acme/api/v1/late") == ("late", {"tenant": "acme"})
    assert status(fake, site, "/v1/late") == 404
    assert top.url_for("user", tenant="a b", id=1) == "/top/a%20b/api/v1/users/1"
    assert [route.pattern for route in top.routes] == [
        "/top/{tenant}/api/v1/users/{id:int}",
        "/top/{tenant}/api/v1/late",
    ]


def test_impossible_mounts() -> None:
    a, b = Router(), Router()
    with pytest.raises(ValueError, match="cannot contain itself"):
        a.mount("/x", a)
    a.mount("/x", b)
    with pytest.raises(ValueError, match="cannot contain itself"):
        b.mount("/y", a)
    with pytest.raises(TypeError, match="a Router is expected, not function"):
        a.mount("/x", answer("x"))  # type: ignore[arg-type]
    for prefix in ("x", "/x/"):
        with pytest.raises(ValueError, match="must start with '/'"):
            a.mount(prefix, Router())
        with pytest.raises(ValueError, match="must start with '/'"):
            Router(prefix=prefix)


# --- converters


def test_custom_converters(fake) -> None:
    router = Router()
    router.add_converter("date", datetime.date.fromisoformat, datetime.date.isoformat)
    router.add_converter("rest", lambda text: text.split("/"), "/".join, tail=True)
    router.add("/{day:date}", answer("day"))
    router.add("/{other}", answer("other"))
    router.add("/r/{parts:rest}", answer("rest"))
    assert call(fake, router, "/2030-01-02") == ("day", {"day": datetime.date(2030, 1, 2)})
    assert call(fake, router, "/2030-13-02") == ("other", {"other": "2030-13-02"})
    assert call(fake, router, "/r/a/b") == ("rest", {"parts": ["a", "b"]})
    assert router.url_for("day", day=datetime.date(2030, 1, 2)) == "/2030-01-02"
    assert router.url_for("rest", parts=["a", "b"]) == "/r/a/b"
    outer = Router()
    outer.mount("/m", router)
    assert call(fake, outer, "/m/2030-01-02") == ("day", {"day": datetime.date(2030, 1, 2)})


# --- url_for


def test_url_for() -> None:
    router = router_of("/", "/caf\xe9/{name}", "/files/{path:path}", "/n/{x:int}")
    assert router.url_for("/") == "/"
    assert router.url_for("/caf\xe9/{name}", name="a/b c?") == "/caf%C3%A9/a%2Fb%20c%3F"
    assert router.url_for("/files/{path:path}", path="a b/c") == "/files/a%20b/c"
    assert router.url_for("/n/{x:int}", x=5, q=["a", "b"], r="&") == "/n/5?q=a&q=b&r=%26"
    with pytest.raises(LookupError, match="no route named 'nope' \\(there are "):
        router.url_for("nope")
    with pytest.raises(TypeError, match="needs the parameter 'x'"):
        router.url_for("/n/{x:int}")
    with pytest.raises(ValueError, match="'a' is no int for 'x'"):
        router.url_for("/n/{x:int}", x="a")
    for dots in (".", ".."):
        with pytest.raises(ValueError, match="is no str"):
            router.url_for("/caf\xe9/{name}", name=dots)
        with pytest.raises(ValueError, match="is no path"):
            router.url_for("/files/{path:path}", path=f"a/{dots}/b")


def test_names() -> None:
    router = Router()
    router.add("/a", answer("same"))
    router.add("/b", answer("same"))  # the first one has the name
    assert router.url_for("same") == "/a"
    router.add("/c", answer("x"), name="own")
    with pytest.raises(ValueError, match="the name 'own' is that of '/c'"):
        router.add("/d", answer("x"), name="own")
    router.add("/e", functools.partial(answer("x"), y=1), ["GET"])
    assert router.url_for("partial") == "/e"


SEGMENT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(lambda s: s not in (".", ".."))


@given(
    SEGMENT, st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.uuids(), st.lists(SEGMENT, min_size=1)
)
def test_url_for_is_matched(name, i, f, u, tail) -> None:
    router = router_of("/x/{name}/{i:int}/{f:float}/{u:uuid}/{tail:path}")
    parameters = {"name": name, "i": i, "f": f, "u": u, "tail": "/".join(tail)}
    if {".", ".."} & set(parameters["tail"].split("/")):
        return
    route, found, _ = router.match("GET", router.url_for(router.routes[0].name, **parameters))
    assert route is router.routes[0]
    assert found == parameters


@given(
    st.lists(st.lists(st.sampled_from(["a", "b", "{p}", "{p:int}", "1"]), min_size=1, max_size=3), max_size=6),
    st.data(),
)
def test_agrees_with_trying_every_route(patterns, data) -> None:
    """Whether something matches is what a list of regular expressions would say."""
    router = Router()
    kept = []
    for segments in patterns:
        named = [s.replace("p", f"p{i}") if s[0] == "{" else s for i, s in enumerate(segments)]
        shape = [s if s[0] != "{" else ("int" if s == "{p:int}" else "str") for s in segments]
        if shape not in kept:
            router.add("/" + "/".join(named), answer("x"))
            kept.append(shape)
    path = data.draw(st.lists(st.sampled_from(["a", "b", "1", "c"]), min_size=1, max_size=3))

    def fits(shape: list[str]) -> bool:
        return len(shape) == len(path) and all(
            s == "str" or (s == "int" and p == "1") or s == p for s, p in zip(shape, path, strict=True)
        )

    route, _, _ = router.match("GET", "/" + "/".join(path))
    assert (route is not None) == any(map(fits, kept))


# --- registration mistakes


@pytest.mark.parametrize(
    ("pattern", "complaint"),
    [
        ("users", "must start with '/'"),
        ("/{id:nope}", "there is no converter 'nope' \\(there are float, int, path, str, uuid\\)"),
        ("/{id", "'{id' is neither literal nor one"),
        ("/a{id}", "'a{id}' is neither"),
        ("/{}", "'{}' is neither"),
        ("/{1a}", "is neither"),
        ("/{a}/{a}", "two parameters have the same name"),
        ("/{p:path}/x", "must be the last segment"),
    ],
)
def test_malformed_patterns(pattern: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        Router().add(pattern, answer("x"))


async def async_handler(request): ...


def no_arguments(): ...


def wants_more(request, id, other): ...


def request_is_parameter(id): ...


@pytest.mark.parametrize(
    ("handler", "complaint"),
    [
        (async_handler, r"async_handler\(\) \(.*test_router.py:\d+\) is async: write def"),
        (no_arguments, r"cannot be called as handler\(request, id\)"),
        (wants_more, "missing a required argument: 'other'"),
        (request_is_parameter, "multiple values for argument 'id'"),
        (answer, "cannot be called"),
        ("text", "'text' is not callable"),
    ],
)
def test_unfit_handlers(handler, complaint: str) -> None:
    with pytest.raises(TypeError, match=complaint):
        Router().add("/{id}", handler)


def test_taken_routes_and_wrong_methods() -> None:
    router = router_of("/a/{x}")
    with pytest.raises(ValueError, match=r"route '/a/{y}': GET is taken by .*test_router.py:\d+\)"):
        router.add("/a/{y}", answer("x"))
    with pytest.raises(TypeError, match="methods is a list of names"):
        router.add("/b", answer("x"), "GET")
    for methods in ([], ["G T"], [""]):
        with pytest.raises(ValueError, match="are no methods"):
            router.add("/b", answer("x"), methods)
    assert len(router.routes) == 1

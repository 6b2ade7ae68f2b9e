"""The kinds of targets: a script, a router, a directory, a script that maps requests, a module."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from serving import Answer, Server

ROUTER = """
from evpy import Response, Router

api = Router(prefix="/api")

@api.get("/users/{id:int}")
def show(request, id):
    return {"user": id}

@api.put("/users/{id:int}")
@api.delete("/users/{id:int}")
def change(request, id):
    return f"{request.method} {id}"

@api.get("/users/{name}")
def by_name(request, name):
    return {"name": name, "url": api.url_for("show", id=7, q="a b")}

@api.get("/files/{path:path}")
def file(request, path):
    return path

@api.head("/cheap")
def cheap(request):
    return Response(headers={"X-Cheap": "yes"})

@api.get("/cheap")
def dear(request):
    return "dear"

@api.options("/cors")
def cors(request):
    return Response(status=204, headers={"Access-Control-Allow-Origin": "*"})

@api.get("/cors")
def with_cors(request):
    return "shared"

@api.route("/brew", methods=["BREW"])
def brew(request):
    return "coffee"

handle = Router()
handle.mount("", api)
"""


@pytest.fixture(scope="module")
def router(serve: Callable[..., Server]) -> Server:
    return serve(ROUTER)


def ask(server: Server, method: str, target: str) -> Answer:
    with server.client() as client:
        client.send(f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        answer = client.answer(method)
        client.send(b"GET /api/users/1 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.answer().body == b'{"user":1}', "the connection is where it should be"
        return answer


def test_routes(router: Server) -> None:
    assert router.get("/api/users/5").json() == {"user": 5}
    assert router.get("/api/users/%C3%BC").json() == {"name": "ü", "url": "/api/users/7?q=a+b"}
    assert router.get("/api/files/a/b%2Fc.txt").body == b"a/b/c.txt"
    assert ask(router, "PUT", "/api/users/5").body == b"PUT 5"
    assert ask(router, "DELETE", "/api/users/5").body == b"DELETE 5"
    assert ask(router, "BREW", "/api/brew").body == b"coffee"
    assert router.get("/api/none").status == 404
    assert router.get("/users/5").status == 404


def test_a_method_that_is_not_possible(router: Server) -> None:
    answer = ask(router, "POST", "/api/users/5")
    assert (answer.status, answer.header("allow")) == (405, "DELETE, GET, HEAD, OPTIONS, PUT")
    assert ask(router, "GET", "/api/brew").header("allow") == "BREW, OPTIONS"


def test_options(router: Server) -> None:
    answer = ask(router, "OPTIONS", "/api/users/5")
    assert (answer.status, answer.header("allow"), answer.body) == (204, "DELETE, GET, HEAD, OPTIONS, PUT", b"")
    assert ask(router, "OPTIONS", "/api/cors").header("access-control-allow-origin") == "*"
    assert ask(router, "OPTIONS", "*").header("allow") == "BREW, DELETE, GET, HEAD, OPTIONS, PUT"
    assert ask(router, "OPTIONS", "/api/none").status == 404


def test_head(router: Server) -> None:
    head, get = ask(router, "HEAD", "/api/users/5"), ask(router, "GET", "/api/users/5")
    assert (head.status, head.body) == (200, b"")
    assert head.header("content-length") == get.header("content-length") == str(len(get.body))
    assert ask(router, "HEAD", "/api/cheap").header("x-cheap") == "yes"
    assert ask(router, "HEAD", "/api/none").status == 404
    assert ask(router, "HEAD", "/api/brew").status == 405


@pytest.fixture(scope="module")
def site(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("site")
    files = {
        "index.py": "import helper\ndef handle(request):\n    return helper.greet('root')\n",
        "helper.py": "def greet(name):\n    return f'hello from {name}'\n",
        "users.py": "def handle(request):\n    return 'users'\n",
        "blog/index.py": "def handle(request):\n    return 'blog'\n",
        "blog/archive.py": "from helper import greet\ndef handle(request):\n    return greet('archive')\n",
        "_private.py": "def handle(request):\n    return 'private'\n",
        ".hidden.py": "def handle(request):\n    return 'hidden'\n",
        "broken.py": "def handle(request:\n",
        "data.txt": "data",
    }
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (folder.parent / "outside.py").write_text("def handle(request):\n    return 'outside'\n")
    return serve(folder)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/", b"hello from root"),
        ("/users", b"users"),
        ("/blog", b"blog"),
        ("/blog/", b"blog"),
        ("/blog/archive", b"hello from archive"),
        ("/blog/archive?x=1", b"hello from archive"),
    ],
)
def test_a_directory_is_its_scripts(site: Server, path: str, body: bytes) -> None:
    assert site.get(path).body == body
    assert site.get(path).body == body


@pytest.mark.parametrize(
    "path",
    ["/none", "/_private", "/.hidden", "/users.py", "/data.txt", "/../outside", "/%2e%2e/outside", "/..%2foutside",
     "//users", "/users/", "/users%00", "/helper"],
)  # fmt: skip
def test_nothing_else_of_a_directory_is_served(site: Server, path: str) -> None:
    assert site.get(path).status == 404


def test_a_broken_script_of_a_directory_is_500(site: Server) -> None:
    answer = site.get("/broken")
    assert answer.status == 500
    assert b"SyntaxError" not in answer.body
    site.wait_log("GET /broken: SyntaxError")
    assert site.get("/users").status == 200


MAPPING = """
def map_request(request):
    return {"/": "pages.py", "/about": "pages.py:about", "/none": None, "/bad": "nowhere.py", "/odd": 5,
            "/missing": "pages.py:missing", "/up": "../outside.py", "/private": "pages.py:_secret"}[request.path]
"""
PAGES = """
def handle(request):
    return "home"

def about(request):
    return f"about {request.path}"

def _secret(request):
    return "secret"
"""


@pytest.fixture(scope="module")
def mapped(serve: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    folder = tmp_path_factory.mktemp("mapped")
    (folder / "map.py").write_text(MAPPING)
    (folder / "pages.py").write_text(PAGES)
    (folder.parent / "outside.py").write_text("def handle(request):\n    return 'outside'\n")
    return serve(folder / "map.py")


def test_a_mapping_script_names_the_function(mapped: Server) -> None:
    assert mapped.get("/").body == b"home"
    assert mapped.get("/about").body == b"about /about"
    assert mapped.get("/none").status == 404
    for path, says in {
        "/bad": "'nowhere.py', but there is no such file",
        "/odd": 'returned int, not "file.py:function" or None',
        "/missing": "pages.py has no missing",
        "/up": 'not "file.py:function" within its directory',
        "/private": 'not "file.py:function" within its directory',
        "/unknown": "KeyError: '/unknown'",
    }.items():
        assert mapped.get(path).status == 500, path
        mapped.wait_log(f"GET {path}: .*{says}")


def test_another_function_of_a_script_and_a_module(mode: str, tmp_path: Path) -> None:
    (tmp_path / "pages.py").write_text(PAGES)
    with Server(f"{tmp_path}/pages.py:about", "-w", mode) as server:
        assert server.get("/x").body == b"about /x"
    (tmp_path / "shop").mkdir()
    (tmp_path / "shop/__init__.py").write_text("")
    (tmp_path / "shop/web.py").write_text(PAGES)
    with Server("shop.web:about", "-w", mode, "--chdir", str(tmp_path)) as server:
        assert server.get("/y").body == b"about /y"

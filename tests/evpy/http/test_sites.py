from __future__ import annotations

import os
import sys

import pytest

from evpy.errors import HTTPError
from evpy.http.scripts import Scripts
from evpy.http.sites import Directory, Mapping, MappingError


@pytest.fixture(autouse=True)
def modules():
    """Whatever a test loads is forgotten."""
    before = dict(sys.modules)
    yield
    sys.modules.clear()
    sys.modules.update(before)


@pytest.fixture
def site(tmp_path):
    def make(*files: str) -> str:
        for name in files:
            path = tmp_path / "site" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"def handle(request): return {name!r}\ndef other(request): return 'other'\n")
        return str(tmp_path / "site")

    return make


def answers(fake, app, target: str):
    request = fake("GET", target)
    try:
        return app(request)
    except HTTPError as error:
        return error.status


def test_urls_are_files(site, fake) -> None:
    app = Directory(
        Scripts(site("index.py", "p_a.py", "p_d/index.py", "p_d/x.py", "p_d/e/y-z.py", "p_both.py", "p_both/index.py"))
    )
    for target, expected in {
        "/": "index.py",
        "/index": "index.py",
        "/p_a": "p_a.py",
        "/p_a?x=/": "p_a.py",
        "/p_%61": "p_a.py",
        "/p_d": "p_d/index.py",
        "/p_d/": "p_d/index.py",
        "/p_d/x": "p_d/x.py",
        "/p_d/e/y-z": "p_d/e/y-z.py",
        "/p_both": "p_both.py",
        "/p_both/": "p_both/index.py",
        "/p_a/": 404,
        "/p_d/e": 404,
        "/p_d/e/": 404,
        "/p_a.py": 404,
        "/p_a/b": 404,
        "/none": 404,
        "/%FF": 400,
        "*": 404,
    }.items():
        for _ in range(2):  # found, then remembered
            assert answers(fake, app, target) == expected, target
    request = fake("GET", "/p_a")
    app(request)
    assert request._cache["endpoint"].__name__ == "handle"


@pytest.mark.parametrize(
    "target",
    ["/../secret", "/a/../../secret", "/%2e%2e/secret", "/..%2fsecret", "/.hidden", "/.git/x", "/_private",
     "/d/_private", "//etc/passwd", "/d//x", "/a%00", "/a%2Fb", "/..\\secret", "/d/.", "/./a"],
)  # fmt: skip
def test_what_urls_cannot_reach(site, fake, target: str) -> None:
    root = site(
        "a.py",
        "a/b.py",
        "d/x.py",
        "../secret.py",
        ".hidden.py",
        ".git/x.py",
        "_private.py",
        "d/_private.py",
        "d/index.py",
    )
    loaded = set(sys.modules)
    assert answers(fake, Directory(Scripts(root)), target) == 404
    assert set(sys.modules) == loaded


def test_only_existing_scripts_are_remembered(site, fake) -> None:
    app = Directory(Scripts(site("p_mem.py")))
    for target in ("/p_mem", "/p_%6dem", "/none", "/none2"):
        answers(fake, app, target)
    assert list(app._paths) == ["/p_mem"]


def test_a_script_that_comes_and_goes(site, fake) -> None:
    root = site("p_one.py")
    app = Directory(Scripts(root, debug=True))
    assert answers(fake, app, "/p_two") == 404
    site("p_two.py")
    assert answers(fake, app, "/p_two") == "p_two.py"
    os.unlink(f"{root}/p_two.py")
    assert answers(fake, app, "/p_two") == 404


def test_a_script_without_handle_is_no_page(tmp_path, fake, caplog) -> None:
    (tmp_path / "helper_x.py").write_text("x = 1\n")
    assert answers(fake, Directory(Scripts(str(tmp_path))), "/helper_x") == 404
    assert "helper_x.py has no function handle(request)" in caplog.text


def test_errors_of_a_script_are_the_requests(tmp_path, fake) -> None:
    (tmp_path / "p_broken.py").write_text("def handle(request:\n")
    (tmp_path / "p_missing.py").write_text("open('/nonexistent/file')\n")
    app = Directory(Scripts(str(tmp_path)))
    with pytest.raises(SyntaxError):
        app(fake("GET", "/p_broken"))
    with pytest.raises(FileNotFoundError):
        app(fake("GET", "/p_missing"))


# --- mapping


def mapping(root: str, answer: object) -> Mapping:
    return Mapping(Scripts(root), lambda request: answer, "map_request() (mapper.py:1)")


def test_the_mapping_script_decides(site, fake) -> None:
    root = site("m_a.py", "m_d/b.py")
    for answer, expected in {
        "m_a.py": "m_a.py",
        "m_a.py:other": "other",
        "m_d/b.py:handle": "m_d/b.py",
        None: 404,
    }.items():
        assert answers(fake, mapping(root, answer), "/x") == expected


def test_functions_are_loaded_once(site, fake) -> None:
    app = mapping(site("m_once.py"), "m_once.py:other")
    request = fake()
    app(request)
    endpoint = request._cache["endpoint"]
    app(request)
    assert request._cache["endpoint"] is endpoint
    assert len(app._checked) == 1


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (5, 'returned int, not "file.py:function" or None'),
        (("m.py", "handle"), "returned tuple"),
        ("m", 'not "file.py:function" within its directory'),
        ("../m.py", "within its directory"),
        ("/etc/m.py", "within its directory"),
        ("m_x/../m.py", "within its directory"),
        ("_m.py", "within its directory"),
        (".m.py", "within its directory"),
        ("m_ok.py:_private", "within its directory"),
        ("m_none.py", "returned 'm_none.py', but there is no such file"),
        ("m_ok.py:nope", "returned 'm_ok.py:nope', but m_ok.py has no nope"),
        ("m_ok.py:text", "'text' is not callable"),
        ("m_ok.py:two", "cannot be called as handler"),
    ],
)
def test_answers_that_name_nothing(tmp_path, fake, answer: object, complaint: str) -> None:
    (tmp_path / "m_ok.py").write_text("text = 'text'\ndef two(a, b): pass\ndef _private(request): pass\n")
    with pytest.raises(MappingError) as caught:
        mapping(str(tmp_path), answer)(fake())
    assert str(caught.value).startswith("map_request() (mapper.py:1) returned ")
    assert complaint in str(caught.value)


def test_a_changed_script_is_seen_in_debug(tmp_path, fake) -> None:
    file = tmp_path / "m_changing.py"
    file.write_text("def handle(request): return 1\n")
    app = Mapping(Scripts(str(tmp_path), debug=True), lambda request: "m_changing.py", "m")
    assert app(fake()) == 1
    file.write_text("def handle(request): return 22\n")
    assert app(fake()) == 22

"""The scripts in docs/handlers.md do what the guide says."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import msgspec
import pytest

from evpy.http.handlers import load_target
from evpy.http.results import send_result

GUIDE = Path(__file__).parents[3] / "docs" / "handlers.md"
SCRIPTS = re.findall(r"^```python\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def forget(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    before, path = dict(sys.modules), list(sys.path)
    yield
    sys.modules.clear()
    sys.modules.update(before)
    sys.path[:] = path


def script(containing: str):
    """Loads the one script of the guide with this text in it."""
    (text,) = [text for text in SCRIPTS if containing in text]
    Path("guide_script.py").write_text(text, encoding="utf-8")
    return load_target("guide_script.py").app


def test_all_scripts_are_tested() -> None:
    assert len(SCRIPTS) == 8


def test_hello(fake) -> None:
    assert script('"hello": name')(fake("GET", "/?name=you")) == {"hello": "you"}


def test_hash(fake) -> None:
    answer = script("sha256")(fake("PUT", body=[b"a", b"bc"]))
    assert answer["sha256"].startswith("ba7816bf")


def test_upload(fake, tmp_path) -> None:
    script("photo.save")
    (tmp_path / "guide_script.py").write_text(
        (tmp_path / "guide_script.py").read_text().replace("/srv/photos", str(tmp_path))
    )
    del sys.modules["guide_script"]
    app = load_target("guide_script.py").app
    body = (
        b'--X\r\nContent-Disposition: form-data; name="title"\r\n\r\nme\r\n--X\r\nContent-Disposition: form-data; '
        b'name="photo"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nPNG\r\n--X--\r\n'
    )
    request = fake("POST", headers={"Content-Type": "multipart/form-data; boundary=X"}, body=body)
    assert app(request) == {"title": "me", "name": "a.png", "bytes": 3}
    request._cleanup()
    assert (tmp_path / request.id).read_bytes() == b"PNG"


def test_response(fake) -> None:
    request = fake()
    send_result(request, script("<h1>Hello</h1>")(request))
    assert request.got_all("set-cookie") == [
        "seen=yes; HttpOnly; Max-Age=3600; Path=/; SameSite=Lax",
        "theme=dark; Path=/; SameSite=Lax",
    ]
    assert request.got("link") == "</style.css>; rel=preload"


def test_file(fake) -> None:
    response = script("/srv/www")(fake("GET", "/a%20b.txt"))
    assert (response.path, response.root) == ("/a b.txt", "/srv/www")


def test_events(fake, monkeypatch) -> None:
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    response = script("ticks")(fake(headers={"Last-Event-ID": "7"}))
    assert next(response.items).encode() == b'event: tick\nid: 8\ndata: {"n":8}\n\n'


def test_routes(fake) -> None:
    app = script("show(request, id)")
    assert app(fake("GET", "/users/1")) == {"id": 1, "name": "Ada"}
    created = app(fake("POST", "/users", body=msgspec.json.encode({"name": "Bob"})))
    assert created == ({"id": 2}, 201, {"Location": "/users/2"})
    assert app(fake("GET", "/static/a/b.css")).path == "a/b.css"


def test_mapping(fake) -> None:
    app = script("map_request")
    Path("shop.py").write_text("def show(request): return 'show'\ndef buy(request): return 'buy'\n")
    Path("admin.py").write_text("def handle(request): return 'admin'\n")
    assert [app(fake("GET", "/")), app(fake("POST", "/")), app(fake("GET", "/admin"))] == ["show", "buy", "admin"]

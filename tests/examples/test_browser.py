"""The pages of the examples as a browser sees them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Browser
from serving import Server

EXAMPLES = Path(__file__).parents[2] / "examples"

pytestmark = pytest.mark.skipif(
    browser.find() is None and not os.environ.get("CI"),
    reason="no browser: install it with apt-get install chromium",
)


@pytest.fixture
def page() -> Iterator[Browser]:
    with Browser() as page:
        yield page
        problems = [event for event in page.events if event["method"] == "Runtime.exceptionThrown"]
        assert problems == []


def test_the_guestbook_is_signed(page: Browser, tmp_path: Path) -> None:
    with Server(EXAMPLES / "guestbook/main.py", "-w", "2", env={"GUESTBOOK_DB": str(tmp_path / "db")}) as server:
        page.open(f"http://127.0.0.1:{server.port}/")
        assert page.run("document.title") == "Guestbook"
        for name, text in (("Ada", "Zürich & back"), ("<b>Bob</b>", "<script>document.title = 'mine'</script>")):
            for field, value in (("name", name), ("text", text)):
                page.run(f"document.querySelector('[name={field}]').value = {value!r}")
            page.after(lambda: page.run("document.querySelector('button').click()"))
        assert page.run("location.pathname") == "/"
        assert page.run("document.title") == "Guestbook", "what a visitor has written does not run"
        assert page.run("[...document.querySelectorAll('li')].map(entry => entry.textContent)") == [
            "<b>Bob</b>: <script>document.title = 'mine'</script>",
            "Ada: Zürich & back",
        ]
        assert page.screenshot().startswith(b"\x89PNG")


def test_the_ticker_ticks(page: Browser) -> None:
    with Server(EXAMPLES / "ticker/main.py", "-w", "2", "--grace", "0.2") as server:
        page.open(f"http://127.0.0.1:{server.port}/")
        price = "document.getElementById('price').textContent"
        first = page.wait(f"{price} != '...' && {price}")
        assert 80 < float(first) < 120
        second = page.wait(f"{price} != {first!r} && {price}")
        assert 80 < float(second) < 120


def test_a_form_uploads_a_file(page: Browser, tmp_path: Path) -> None:
    (tmp_path / "ü.txt").write_text("hello")
    with Server(EXAMPLES / "upload/main.py", "-w", "1") as server:
        page.open(f"http://127.0.0.1:{server.port}/")
        page.call("DOM.enable")
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        field = page.call("DOM.querySelector", nodeId=root, selector="input[type=file]")["nodeId"]
        page.call("DOM.setFileInputFiles", nodeId=field, files=[str(tmp_path / "ü.txt")])
        page.after(lambda: page.run("document.querySelector('button').click()"))
        assert '"filename":"ü.txt","size":5' in page.run("document.body.textContent")


def test_fortunes_are_shown_and_none_of_them_runs(page: Browser, tmp_path: Path) -> None:
    with Server(EXAMPLES / "fortunes/main.py", "-w", "1", env={"FORTUNES_DB": f"sqlite:{tmp_path}/db"}) as server:
        page.open(f"http://127.0.0.1:{server.port}/")
        page.after(lambda: page.run("document.querySelector('a').click()"))
        assert page.run("location.pathname") == "/fortunes"
        shown = page.run("[...document.querySelectorAll('tr')].map(row => row.lastElementChild.textContent)")
        assert shown[0] == "message"
        assert len(shown) == 14
        assert '<script>alert("This should not be displayed in a browser alert box.");</script>' in shown
        assert "フレームワークのベンチマーク" in shown
        assert page.screenshot().startswith(b"\x89PNG")


def test_the_shop_shows_prices_in_several_currencies(page: Browser, tmp_path: Path) -> None:
    env = {"SHOP_DB": f"sqlite:{tmp_path}/db", "SHOP_REDIS": "redis://127.0.0.1:1/0"}
    with Server(EXAMPLES / "shop/main.py", "-w", "1", env=env) as server:
        page.open(f"http://127.0.0.1:{server.port}/")
        cells = "[...document.querySelectorAll('tr')].map(row => [...row.children].map(cell => cell.textContent))"
        assert page.run(cells) == [
            ["article", "EUR", "in stock"],
            ["Tea", "3.20", "100"],
            ["Coffee", "4.50", "100"],
            ["<b>Cocoa</b>", "5.10", "2"],
        ]
        page.after(lambda: page.run("[...document.querySelectorAll('a')].find(a => a.textContent == 'JPY').click()"))
        assert page.run(cells)[:2] == [["article", "JPY", "in stock"], ["Tea", "522.24", "100"]]
        assert page.screenshot().startswith(b"\x89PNG")

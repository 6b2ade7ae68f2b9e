from __future__ import annotations

import html
import re

from evpy.http import debugpage


class Nasty:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Endless:
    def __repr__(self) -> str:
        return "<" + "e" * 100_000


def fail(depth: int = 0):
    password = "hunter2"  # noqa: F841
    markup = "<script>alert(1)</script>"
    nasty, endless = Nasty(), [Endless()] * 50  # noqa: F841
    if depth:
        fail(depth - 1)
    try:
        raise KeyError(markup)
    except KeyError as error:
        raise ValueError("outer <b>") from error


def error_of(function, *args):
    try:
        function(*args)
    except Exception as error:  # noqa: BLE001
        return error
    raise AssertionError


def page(fake, error) -> str:
    request = fake("GET", "/<x>?a=1", {"Cookie": "sid=topsecret", "X-Seen": "<i>"})
    return debugpage.page(request, error).decode()


def test_shows_frames_source_and_locals(fake) -> None:
    text = page(fake, error_of(fail))
    visible = html.unescape(re.sub(r"<[^>]*>", "", text))
    assert "ValueError: outer <b>" in visible
    assert "The direct cause was" in visible
    assert 'raise ValueError("outer <b>") from error' in visible
    assert "test_debugpage.py:" in visible
    assert "'<script>alert(1)</script>'" in visible
    assert "0123456789abcdef" in visible


def test_everything_is_escaped_and_nothing_can_run(fake) -> None:
    text = page(fake, error_of(fail))
    assert "<script" not in text
    assert "<b>" not in text
    assert "<i>" not in text
    assert "<x>" not in text
    assert ("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'") in debugpage.FIELDS
    assert ("Cache-Control", "no-store") in debugpage.FIELDS


def test_secrets_are_masked(fake) -> None:
    rows = re.findall(r"<tr><td>(.*?)</td><td>(.*?)</td></tr>", page(fake, error_of(fail)), re.DOTALL)
    assert ("password", "(masked)") in rows
    assert ("Cookie", "(masked)") in rows
    assert ("X-Seen", "&lt;i&gt;") in rows


def test_no_repr_breaks_or_floods_the_page(fake) -> None:
    text = page(fake, error_of(fail))
    assert "Nasty" in text
    assert len(text) < 100_000


def test_deep_recursion_is_cut(fake) -> None:
    text = page(fake, error_of(fail, 200))
    assert "frames left out" in text
    assert text.count("<details") <= 2 * debugpage.MAX_FRAMES


def test_a_circle_of_causes_ends(fake) -> None:
    one, two = KeyError("one"), KeyError("two")
    one.__cause__, two.__cause__ = two, one
    assert page(fake, one).count("class=message") == 2


def test_an_error_without_traceback(fake) -> None:
    assert "KeyError" in page(fake, KeyError("x"))
    assert debugpage.text(KeyError("x")) == "KeyError: 'x'\n"

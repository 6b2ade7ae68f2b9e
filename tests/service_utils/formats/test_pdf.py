"""PDF from HTML, by both engines; and that HTML of strangers reads and asks nothing."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import gevent
import pytest

from service_utils.formats import PdfFailed, PdfPrinter, Sheet, html_to_pdf
from service_utils.formats.chromium import find_browser

#: a green square of one pixel, as PNG
GREEN = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c6360f8cf000002020100c6d3a5"
    "3f0000000049454e44ae426082"
)


# WeasyPrint says so where libharfbuzz-subset0 is missing; it goes on without.
pytestmark = pytest.mark.filterwarnings("ignore:HarfBuzz-Subset will be required:DeprecationWarning")


def need_weasyprint() -> None:
    """Its libraries, which come with Chromium; without them: skipped with the reason, under CI a failure."""
    try:
        PdfPrinter("weasyprint").print("x")
    except PdfFailed as error:
        if os.environ.get("CI"):
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error))


@pytest.fixture(params=["chromium", "weasyprint"])
def printer(request: pytest.FixtureRequest) -> Iterator[PdfPrinter]:
    if request.param == "chromium" and find_browser() is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium: apt-get install -y --no-install-recommends chromium", pytrace=False)
        pytest.skip("no Chromium: apt-get install -y --no-install-recommends chromium")
    if request.param == "weasyprint":
        need_weasyprint()
    printer = PdfPrinter(request.param, sandbox=os.geteuid() != 0, timeout=60)
    yield printer
    assert printer.close(20)


def images(pdf: bytes) -> int:
    """How many there are of one pixel; a browser draws others in place of those that it has not got."""
    heads = re.split(rb"\bendobj\b|\bstream\b", pdf)
    return sum(all(re.search(word, one) for word in (rb"/Image\b", rb"/Width 1\b", rb"/Height 1\b")) for one in heads)


def plain(pdf: bytes) -> bytes:
    """With its streams unpacked."""
    unpacked = [pdf]
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL):
        with suppress(zlib.error):
            unpacked.append(zlib.decompress(stream))
    return b"\n".join(unpacked)


def boxes(pdf: bytes) -> list[tuple[int, int]]:
    found = re.findall(rb"/MediaBox\s*\[\s*0 0 ([\d.]+) ([\d.]+)\s*\]", plain(pdf))
    return [(round(float(width) / 72 * 25.4), round(float(height) / 72 * 25.4)) for width, height in found]


def test_pages(printer: PdfPrinter) -> None:
    pages = "<html><head><title>t</title></head><p>one<p style='break-before: page'>two"
    assert boxes(gevent.spawn(printer.print, pages).get()) == [(210, 297)] * 2
    sheet = Sheet("A5", landscape=True, margin=(0, 0, 0, 0))
    assert boxes(printer.print("<p>x", sheet)) == [(210, 148)]
    own = "<style>@page { size: 100mm 50mm }</style><p>x"
    assert boxes(printer.print(own)) == [(100, 50)]
    with pytest.raises(ValueError, match="one of A3"):
        printer.print("x", Sheet("A99"))


def test_resources(printer: PdfPrinter) -> None:
    html = "<link rel=stylesheet href=style.css><img src='green.png'><img src='missing.png'>"
    given = {"green.png": GREEN, "style.css": b"@page { size: 80mm 40mm }"}
    pdf = printer.print(html, resources=given)
    assert images(pdf) == 1
    assert boxes(pdf) == [(80, 40)]


def test_nothing_else_is_loaded(printer: PdfPrinter, tmp_path: Path) -> None:
    (tmp_path / "secret.png").write_bytes(GREEN)
    (tmp_path / "secret.html").write_text("<p>s3cret" * 50)
    asked: list[Any] = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        html = f"""<html><head><title>mine</title>
            <meta http-equiv=refresh content="0;url={url}/refresh"><link rel=stylesheet href="{url}/style.css">
            <link rel=preconnect href="{url}"><link rel=prefetch href="{url}/x"><base href="file://{tmp_path}/">
            <style>@import url({url}/import.css); p {{ background: url({url}/b.png) }}</style></head>
            <p>text<img src="{url}/img.png"><img src="file://{tmp_path}/secret.png"><img src="secret.png">
            <iframe src="file://{tmp_path}/secret.html"></iframe><iframe src="{url}/frame"></iframe>
            <object data="file:///etc/passwd"></object><embed src="{url}/embed">
            <script>document.body.innerHTML = '<p>'.repeat(1000); location = '{url}/script'</script>"""
        pdf = printer.print(html)
        with suppress(TimeoutError):
            while True:
                connection = server.accept()[0]
                asked.append(connection.recv(100))
                connection.close()
    assert asked == []
    assert images(pdf) == 0
    assert len(boxes(pdf)) == 1
    if printer.engine == "chromium":
        assert b"/Title (mine)" in pdf, "the page did not go elsewhere"


def test_one_after_the_other_and_interrupted() -> None:
    if find_browser() is None:
        pytest.skip("no Chromium")
    printer = PdfPrinter("chromium", sandbox=os.geteuid() != 0, timeout=60)
    printing = [gevent.spawn(printer.print, f"<p>{n}") for n in range(3)]
    gevent.joinall(printing, raise_error=True)
    pool: Any = printer._pool
    assert pool.statistics().connected == 1
    os.kill(pool._idle[0].connection._pid, signal.SIGKILL)
    assert printer.print("<p>x").startswith(b"%PDF")
    assert (pool.statistics().connected, pool.statistics().discarded) == (2, 1)

    killed = gevent.spawn(printer.print, "<p>x")
    while not pool.statistics().held:
        gevent.sleep(0.001)
    killed.kill()
    thread_result: list[bytes] = []
    thread = threading.Thread(target=lambda: thread_result.append(printer.print("<p>y")))
    thread.start()
    thread.join(60)
    assert thread_result[0].startswith(b"%PDF")
    assert printer.close(20)


def test_libraries_of_weasyprint_are_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "weasyprint.py").write_text("raise OSError('cannot load library libpango\\nmore')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "weasyprint", raising=False)
    with pytest.raises(PdfFailed, match=r"apt-get install libpango-1.0-0 .*\(cannot load library libpango\)$"):
        PdfPrinter("weasyprint").print("x")


def test_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = tmp_path / "silent"
    silent.write_text("#!/bin/sh\nexec sleep 60\n")
    silent.chmod(0o755)
    with pytest.raises(PdfFailed, match="time for this page is over"):
        PdfPrinter("chromium", browser=str(silent), sandbox=False, timeout=0.1).print("x")
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(PdfFailed, match="no Chromium is installed"):
        PdfPrinter("chromium")
    assert PdfPrinter().engine == "weasyprint"
    broken = PdfPrinter("chromium", browser="/bin/false", sandbox=False)
    with pytest.raises(PdfFailed, match="has ended"):
        broken.print("x")
    if os.geteuid() == 0:
        with pytest.raises(PdfFailed, match="as root"):
            PdfPrinter("chromium", browser="/bin/true")
    with pytest.raises(ValueError, match="auto, chromium"):
        PdfPrinter("paper")
    need_weasyprint()
    assert html_to_pdf("<p>x").startswith(b"%PDF")

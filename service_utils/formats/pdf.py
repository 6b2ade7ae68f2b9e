"""HTML to PDF: by a headless Chromium, or by WeasyPrint where there is none.

Both load nothing but what they are given: no file of this machine and no other server, whatever the HTML says.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from efio import run_blocking
from evpy.errors import DeadlineExceeded
from service_utils.formats.chromium import PAGE, Browser, BrowserGone, find_browser
from service_utils.formats.errors import PdfFailed
from service_utils.formats.mime import media_type
from service_utils.pool import Connector, Pool, PoolExhausted

__all__ = ["PdfPrinter", "Sheet", "html_to_pdf"]

INCH = 25.4  # mm
LIBRARIES = "libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0"  # Debian's, of WeasyPrint
PAPERS = {
    "A3": (297.0, 420.0),
    "A4": (210.0, 297.0),
    "A5": (148.0, 210.0),
    "Letter": (215.9, 279.4),
    "Legal": (215.9, 355.6),
}


@dataclass(frozen=True)
class Sheet:
    """The paper. Sizes and margins (top, right, bottom, left) in mm; an ``@page`` rule of the HTML wins over them.

    ``header`` and ``footer`` are HTML in which elements of the classes ``pageNumber``, ``totalPages``, ``title`` and
    ``date`` are filled in (Chromium only; with WeasyPrint use CSS's margin boxes).
    """

    paper: str | tuple[float, float] = "A4"
    landscape: bool = False
    margin: tuple[float, float, float, float] = (10.0, 10.0, 10.0, 10.0)
    background: bool = True
    scale: float = 1.0
    pages: str = ""  #: such as "1-3, 5"; all by default (Chromium only)
    header: str = ""
    footer: str = ""

    @property
    def size(self) -> tuple[float, float]:
        """Width and height, as it lies. ValueError for a paper that is not known."""
        if isinstance(self.paper, str) and self.paper not in PAPERS:
            raise ValueError(f"paper={self.paper!r}: it is one of {', '.join(PAPERS)}, or its size in mm")
        width, height = PAPERS[self.paper] if isinstance(self.paper, str) else self.paper
        return (height, width) if self.landscape else (width, height)


class PdfPrinter:
    """Prints pages with up to ``browsers`` browsers, which are kept for the next pages.

    ``engine``: "chromium", "weasyprint" or "auto" (Chromium if it is installed). ``sandbox=False`` is for root, as whom
    Chromium's own sandbox does not work, and only for HTML that you trust. ``timeout``: seconds for a page (Chromium
    only: WeasyPrint goes on until it is done).
    ValueError; PdfFailed if there is no such engine.
    """

    def __init__(
        self,
        engine: str = "auto",
        *,
        browser: str = "",
        browsers: int = 1,
        sandbox: bool = True,
        timeout: float = 30.0,
        pages_per_browser: int = 100,
    ) -> None:
        if engine not in ("auto", "chromium", "weasyprint"):
            raise ValueError(f"engine={engine!r}: it is auto, chromium or weasyprint")
        path = (browser or find_browser()) if engine != "weasyprint" else None
        if engine == "chromium" and path is None:
            raise PdfFailed("no Chromium is installed: apt-get install chromium, or engine='weasyprint'")
        if path is not None and sandbox and os.geteuid() == 0:
            if engine == "chromium":
                raise PdfFailed("Chromium's sandbox does not work as root; run as another user, or give sandbox=False")
            path = None
        self.engine = "chromium" if path is not None else "weasyprint"
        self.timeout = timeout
        self.sandbox = sandbox
        self.pages_per_browser = pages_per_browser
        self._pool: Pool[Browser] | None = None
        if path is not None:
            connector = _Browsers(path, self)
            self._pool = Pool(connector, size=browsers, timeout=timeout, max_idle=60, max_age=600, name="browsers")

    def print(
        self,
        html: str,
        sheet: Sheet | None = None,
        *,
        resources: Mapping[str, bytes] | None = None,
        timeout: float | None = None,
    ) -> bytes:
        """The PDF of a page. ``resources``: what its relative URLs (images, style sheets, fonts) name. PdfFailed."""
        sheet = sheet or Sheet()
        seconds = self.timeout if timeout is None else timeout
        if self._pool is None:
            return run_blocking(_weasyprint, html, sheet, dict(resources or {}))
        while True:
            kept = False
            try:
                with self._pool.acquire(seconds) as browser:
                    kept = browser.printed > 0
                    return browser.print(html, resources or {}, _options(sheet), seconds)
            except BrowserGone:
                if not kept:  # else it has ended since its last page: another one is started
                    raise
            except PoolExhausted as error:
                raise PdfFailed(f"no browser became free: {error}") from error
            except DeadlineExceeded:
                raise
            except OSError as error:
                raise PdfFailed(f"the browser cannot be started: {error}") from error

    def close(self, timeout: float = 0.0) -> bool:
        """Ends the browsers; whether those at work were done within ``timeout`` seconds."""
        return self._pool.close(timeout) if self._pool is not None else True


class _Browsers(Connector[Browser]):
    def __init__(self, path: str, printer: PdfPrinter) -> None:
        self._path = path
        self._printer = printer

    def connect(self, timeout: float) -> Browser:
        return Browser(self._path, min(timeout, self._printer.timeout), sandbox=self._printer.sandbox)

    def close(self, connection: Browser) -> None:
        connection.close()

    def is_clean(self, connection: Browser) -> bool:
        return connection.idle and connection.printed < self._printer.pages_per_browser

    def is_alive(self, connection: Browser, timeout: float) -> bool:
        from time import monotonic

        connection.deadline = monotonic() + timeout
        return bool(connection.call("Browser.getVersion"))


def _options(sheet: Sheet) -> dict[str, Any]:
    width, height = sheet.size
    top, right, bottom, left = sheet.margin
    options: dict[str, Any] = {
        "paperWidth": width / INCH, "paperHeight": height / INCH, "printBackground": sheet.background,
        "marginTop": top / INCH, "marginRight": right / INCH, "marginBottom": bottom / INCH, "marginLeft": left / INCH,
        "scale": sheet.scale, "preferCSSPageSize": True, "pageRanges": sheet.pages,
    }  # fmt: skip
    if sheet.header or sheet.footer:
        options |= {
            "displayHeaderFooter": True,
            "headerTemplate": sheet.header or " ",
            "footerTemplate": sheet.footer or " ",
        }
    return options


def _weasyprint(html: str, sheet: Sheet, resources: Mapping[str, bytes]) -> bytes:
    try:
        import weasyprint
        from weasyprint.urls import URLFetcher, URLFetcherResponse
    except ImportError as error:
        raise ImportError(f"PDF without a browser needs weasyprint: pip install 'evpy[pdf]' ({error})") from error
    except OSError as error:  # the library is there, and what it loads is not
        raise PdfFailed(f"WeasyPrint needs more: apt-get install {LIBRARIES} ({str(error).splitlines()[0]})") from None

    class Fetcher(URLFetcher):  # type: ignore[misc, unused-ignore]
        def fetch(self, url: str, headers: Any = None) -> Any:
            if url.startswith("data:"):
                return super().fetch(url, headers)
            name = url.removeprefix(PAGE)
            if not url.startswith(PAGE) or name not in resources:
                raise ValueError(f"not given: {url}")
            return URLFetcherResponse(url, resources[name], {"Content-Type": media_type(name)})

    width, height = sheet.size
    margins = " ".join(f"{size}mm" for size in sheet.margin)
    fetcher = Fetcher(allowed_protocols=("data",))
    # Before the page's own rules, which win.
    page = f"<style>@page {{ size: {width}mm {height}mm; margin: {margins} }}</style>"
    try:
        document = weasyprint.HTML(string=_with_style(html, page), base_url=PAGE, url_fetcher=fetcher)
        return bytes(document.write_pdf(zoom=sheet.scale))
    except Exception as error:
        raise PdfFailed(f"the page cannot be printed: {type(error).__name__}: {error}") from error


def _with_style(html: str, style: str) -> str:
    at = html.lower().find("<head>")
    if at >= 0:
        return html[: at + 6] + style + html[at + 6 :]
    at = html.lower().find("<html")
    if at >= 0 and (end := html.find(">", at)) >= 0:
        return html[: end + 1] + style + html[end + 1 :]
    return style + html


@functools.cache
def _default() -> PdfPrinter:
    return PdfPrinter()


def html_to_pdf(html: str, sheet: Sheet | None = None, *, resources: Mapping[str, bytes] | None = None) -> bytes:
    """``PdfPrinter().print``, with one that is made at the first call."""
    return _default().print(html, sheet, resources=resources)

"""A headless Chromium that prints pages, told what to do by the DevTools protocol over a pair of pipes.

https://chromedevtools.github.io/devtools-protocol/, on ``--remote-debugging-pipe``: JSON messages that end with NUL, to
the browser's descriptor 3 and from its descriptor 4. No port that somebody else could use, and a browser whose parent
is killed sees the end of its pipe and ends, too.

What a page may load is decided here: every request of it is stopped (domain Fetch) and answered from what was given,
or refused; and names are not resolved. So HTML of strangers reads no file and asks no other server. Scripts do not run.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import shutil
import signal
import tempfile
from collections.abc import Mapping
from time import monotonic
from typing import Any

import msgspec

from efio import run_blocking
from service_utils.formats.errors import PdfFailed
from service_utils.formats.mime import media_type
from service_utils.waiting import READ, WRITE, Waits

__all__ = ["Browser", "BrowserGone", "find_browser"]

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome-headless-shell")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-breakpad", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--no-proxy-server", "--host-resolver-rules=MAP * ~NOTFOUND",
    "--disable-features=WebRtcHideLocalIpsWithMdns,Translate,OptimizationHints", "--mute-audio", "--hide-scrollbars",
)  # fmt: skip
PAGE = "http://document.invalid/"  # RFC 2606: a name that nobody has
CHUNK = 1 << 20  # bytes
MAX_ANSWER = 512 * 1024 * 1024  # bytes


def find_browser() -> str | None:
    """The path of a Chromium or Chrome, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class BrowserGone(PdfFailed):
    """The browser's process has ended."""


class Browser:
    """One browser process. Its user is one greenlet or thread at a time (a pool's business)."""

    def __init__(self, path: str, timeout: float, *, sandbox: bool) -> None:
        self.deadline = monotonic() + timeout
        self.printed = 0
        self.idle = False
        self._number = 0
        self._page: _Page | None = None
        self._buffer = bytearray()
        self._folder = tempfile.mkdtemp(prefix="evpy-pdf-")
        flags = [*FLAGS, f"--user-data-dir={self._folder}", *(() if sandbox else ("--no-sandbox",)), "about:blank"]
        theirs_in, self._to = _pipe()
        self._from, theirs_out = _pipe()
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, os.path.join(self._folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
            (os.POSIX_SPAWN_DUP2, theirs_in, 3),
            (os.POSIX_SPAWN_DUP2, theirs_out, 4),
        ]
        try:
            self._pid = os.posix_spawn(path, [path, *flags], dict(os.environ), file_actions=actions, setsid=True)
        except OSError:
            for fd in (self._to, self._from):
                os.close(fd)
            shutil.rmtree(self._folder, ignore_errors=True)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        os.set_blocking(self._to, False)
        os.set_blocking(self._from, False)
        self._read_waits, self._write_waits = Waits(self._from), Waits(self._to)
        try:
            self.call("Browser.getVersion")
        except BaseException:
            self.close()
            raise
        self.idle = True

    def close(self) -> None:
        """Kills it and whatever it has started; there is nothing to be saved."""
        if self._pid < 0:
            return
        pid, self._pid = self._pid, -1
        self._read_waits.close()
        self._write_waits.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
        os.close(self._to)
        os.close(self._from)
        run_blocking(_bury, pid, self._folder)

    # --- the protocol

    def call(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Calls a method; its result. PdfFailed for what the browser says against it, and when it has ended."""
        number = self.send(method, session, **parameters)
        while True:
            message = self.receive()
            if message.get("id") == number:
                if "error" in message:
                    raise PdfFailed(f"the browser refuses {method}: {message['error'].get('message')}")
                return message.get("result", {})  # type: ignore[no-any-return]
            self._on_event(message)

    def _on_event(self, message: Mapping[str, Any]) -> None:
        """What the browser says by itself."""
        if self._page is not None:
            self._page.on_event(message)

    def send(self, method: str, session: str | None = None, **parameters: Any) -> int:
        """Calls a method whose answer nobody waits for."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if session is not None:
            message["sessionId"] = session
        view = memoryview(msgspec.json.encode(message) + b"\0")
        while view:
            try:
                view = view[os.write(self._to, view) :]
            except BlockingIOError:
                self._wait(self._write_waits, WRITE)
            except OSError as error:
                raise BrowserGone(f"the browser has ended ({error}): {self._last_words()}") from None
        return self._number

    def receive(self) -> dict[str, Any]:
        """The next message."""
        searched = 0
        while (end := self._buffer.find(0, searched)) < 0:
            searched = len(self._buffer)
            try:
                data = os.read(self._from, CHUNK)
            except BlockingIOError:
                self._wait(self._read_waits, READ)
                continue
            if not data:
                raise BrowserGone(f"the browser has ended: {self._last_words()}")
            self._buffer += data
            if len(self._buffer) > MAX_ANSWER:
                raise PdfFailed(f"the page becomes more than {MAX_ANSWER} bytes")
        text = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return msgspec.json.decode(text)  # type: ignore[no-any-return]

    def _wait(self, waits: Waits, events: int) -> None:
        left = self.deadline - monotonic()
        if left <= 0 or not waits.wait(events, left):
            raise PdfFailed("the time for this page is over")

    def _last_words(self) -> str:
        try:
            with open(os.path.join(self._folder, "log"), encoding="utf-8", errors="replace") as log:
                return log.read()[-500:].strip()
        except OSError:
            return ""

    # --- printing

    def print(self, html: str, resources: Mapping[str, bytes], options: Mapping[str, Any], timeout: float) -> bytes:
        """A PDF of the page, whose relative URLs name ``resources``. PdfFailed."""
        self.deadline = monotonic() + timeout
        self.idle = False
        context = self.call("Target.createBrowserContext")["browserContextId"]
        target = self.call("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._page = _Page(self, session, html.encode("utf-8", "replace"), resources)
        try:
            self.call("Emulation.setScriptExecutionDisabled", session, value=True)
            self.call("Fetch.enable", session, patterns=[{"urlPattern": "*"}])
            self.call("Page.enable", session)
            self.send("Page.navigate", session, url=PAGE)
            while not page.loaded:
                self._on_event(self.receive())
            found = self.call("Page.printToPDF", session, **options)
        finally:
            self._page = None
        self.call("Target.disposeBrowserContext", browserContextId=context)
        self.printed += 1
        self.idle = True
        return base64.b64decode(found["data"])


class _Page:
    """What one page asks for, and gets."""

    def __init__(self, browser: Browser, session: str, html: bytes, resources: Mapping[str, bytes]) -> None:
        self._browser = browser
        self._session = session
        self._html: bytes | None = html
        self._resources = resources
        self.loaded = False

    def on_event(self, message: Mapping[str, Any]) -> None:
        if message.get("sessionId") != self._session:
            return
        if message.get("method") == "Page.loadEventFired":
            self.loaded = True
        elif message.get("method") == "Fetch.requestPaused":
            self._answer(message["params"])
        elif message.get("method") == "Inspector.targetCrashed":
            raise PdfFailed("the page has crashed in the browser")

    def _answer(self, asked: Mapping[str, Any]) -> None:
        url: str = asked["request"]["url"]
        if url == PAGE and self._html is not None:
            body, self._html = self._html, None
            self._give(asked, "text/html; charset=utf-8", body)
            return
        name = url.removeprefix(PAGE)
        if url.startswith("data:"):
            self._browser.send("Fetch.continueRequest", self._session, requestId=asked["requestId"])
        elif url.startswith(PAGE) and name in self._resources and asked.get("resourceType") != "Document":
            self._give(asked, media_type(name), self._resources[name])
        else:
            # "Aborted": if the page wants to go elsewhere, it stays what it is.
            reason = "Aborted" if asked.get("resourceType") == "Document" else "BlockedByClient"
            self._browser.send("Fetch.failRequest", self._session, requestId=asked["requestId"], errorReason=reason)

    def _give(self, asked: Mapping[str, Any], kind: str, body: bytes) -> None:
        self._browser.send(
            "Fetch.fulfillRequest", self._session, requestId=asked["requestId"], responseCode=200,
            responseHeaders=[{"name": "Content-Type", "value": kind}], body=base64.b64encode(body).decode(),
        )  # fmt: skip


def _bury(pid: int, folder: str) -> None:
    with contextlib.suppress(ChildProcessError):  # a loop that reaps everybody's children has been faster
        os.waitpid(pid, 0)
    shutil.rmtree(folder, ignore_errors=True)


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are above those that the browser wants to have, and that nobody inherits."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low)
    for fd in low:
        os.close(fd)
    return high[0], high[1]

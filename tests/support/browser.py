"""A real browser without a window: Chromium, told what to do over a pipe.

The Chrome DevTools Protocol (https://chromedevtools.github.io/devtools-protocol/) on ``--remote-debugging-pipe``: JSON
messages that end with NUL, to the browser's descriptor 3 and from its descriptor 4. No driver, no port, no library.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

PATIENCE = 60.0  # seconds; a browser that starts on a busy machine takes its time
NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--remote-debugging-pipe", "--no-first-run", "--no-default-browser-check", "--disable-gpu",
    "--disable-breakpad", "--disable-dev-shm-usage", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-extensions", "--no-proxy-server", "--window-size=800,600",
)  # fmt: skip


def find() -> str | None:
    """The path of a Chromium, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Browser:
    """One browser with one page. ``with Browser() as page: page.open(url); page.run("document.title")``."""

    def __init__(self) -> None:
        path = find()
        assert path is not None, "no Chromium is installed"
        self._folder = tempfile.TemporaryDirectory(prefix="evpy-browser-")
        flags = [*FLAGS, f"--user-data-dir={self._folder.name}"]
        if os.getuid() == 0:  # Chromium's sandbox refuses to run as root; what it opens here is our own
            flags.append("--no-sandbox")
        self._log = Path(self._folder.name, "log")
        read_end, self._to = _pipe()
        self._from, write_end = _pipe()
        # The browser wants its ends as descriptors 3 and 4.
        command = f'exec "$@" 3<&{read_end} 4>&{write_end}'
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["bash", "-c", command, "browser", path, *flags, "about:blank"],
                pass_fds=(read_end, write_end),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        os.close(read_end)
        os.close(write_end)
        self._buffer = b""
        self._number = 0
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        try:
            targets = self.call("Target.getTargets")["targetInfos"]
            page = next(target["targetId"] for target in targets if target["type"] == "page")
            self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            self.call("Page.enable")
            self.call("Runtime.enable")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            self._session = None
            self.call("Browser.close")
        os.close(self._to)
        os.close(self._from)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        with contextlib.suppress(ProcessLookupError):  # its session: what it has started and not taken with it
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._folder.cleanup()

    # --- the protocol

    def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """Calls a method and returns its result; RuntimeError with what the browser says against it."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._message()
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def _message(self) -> dict[str, Any]:
        deadline = time.monotonic() + PATIENCE
        while b"\0" not in self._buffer:
            if not select.select([self._from], [], [], max(0.0, deadline - time.monotonic()))[0]:
                raise RuntimeError(f"the browser does not answer: {self.log()}")
            data = os.read(self._from, 1 << 20)
            if not data:
                raise RuntimeError(f"the browser has ended: {self.log()}")
            self._buffer += data
        text, _, self._buffer = self._buffer.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        if "method" in message:
            self.events.append(message)
        return message

    def log(self) -> str:
        """The end of what the browser has written to its standard streams."""
        return self._log.read_text(errors="replace")[-2000:]

    # --- the page

    def open(self, url: str) -> None:
        """Opens a page and waits until it has been loaded."""
        self.after(lambda: self.call("Page.navigate", url=url))

    def after(self, act: Any) -> None:
        """Does what makes the page load another document, and waits until that has been loaded."""
        self.events.clear()
        act()
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self._message()

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page; of a promise, what it comes to."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in result:
            raise RuntimeError(f"{script}: {result['exceptionDetails']}")
        return result["result"].get("value")

    def wait(self, condition: str) -> Any:
        """Waits in the page until a JavaScript expression is true, looking whenever the document changes; its value."""
        return self.run(
            "new Promise(resolve => {"
            f"  const look = () => {{ const value = {condition}; if (value) resolve(value); return value; }};"
            "  if (!look()) new MutationObserver((_, observer) => { if (look()) observer.disconnect(); })"
            "    .observe(document, {subtree: true, childList: true, characterData: true, attributes: true}); })"
        )

    def screenshot(self) -> bytes:
        """What the page looks like, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])


def _pipe() -> tuple[int, int]:
    """A pipe whose descriptors are not among the first ten, for a shell to move."""
    low = os.pipe()
    high = tuple(fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 10) for fd in low)
    for fd in low:
        os.close(fd)
    return high[0], high[1]

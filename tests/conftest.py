"""What every test gets: the proof that it left nothing behind.

A fixture that every test uses compares file descriptors, threads and child processes of the test process before and
after; the same is done around each module and the whole session, for fixtures of those scopes. What is still there
after a short grace (a thread that is just ending, a child that is being reaped) fails the test by name. Seen in uvloop
(`_testbase.py`) and NGINX Unit (`conftest.py`).

Processes that lose their parent are handed to the test process (PR_SET_CHILD_SUBREAPER): a worker that outlives its
supervisor is found, too.

A gevent hub that a test has started in the main thread ends with the test, so that each one begins without. So do the
threads of efio's default pool.

Tests that must leave something say why: @pytest.mark.leaves_behind("the reason").
"""

import contextlib
import ctypes
import functools
import gc
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import hypothesis
import pytest

pytest_plugins = ["pytester"]

# No verdict may depend on the speed of the machine; in CI, nor on chance.
hypothesis.settings.register_profile("evpy", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("evpy")

GRACE = 20.0  # seconds; used up only when something stays
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


class Holdings(NamedTuple):
    """What this process holds, by number: a description of each descriptor, thread and child."""

    descriptors: dict[int, str]
    threads: dict[int, str]
    children: dict[int, str]

    def beyond(self, earlier: "Holdings") -> list[str]:
        """One line for each thing that is held now and was not held earlier."""
        # A descriptor's number is used again, so what it leads to counts. Threads and children may change their names.
        return [
            *(f"descriptor {n}: {what}" for n, what in self.descriptors.items() if earlier.descriptors.get(n) != what),
            *(f"thread {n}: {what}" for n, what in self.threads.items() if n not in earlier.threads),
            *(f"process {n}: {what}" for n, what in self.children.items() if n not in earlier.children),
        ]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:  # gone meanwhile
        return ""


def _holdings(native_threads: bool) -> Holdings:
    descriptors = {}
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # the descriptor of this listing
            descriptors[int(name)] = os.readlink(f"/proc/self/fd/{name}").removesuffix(" (deleted)")
    names = {thread.native_id or 0: thread.name for thread in threading.enumerate()}
    # Asked for one by one: a listing of /proc/self/task may leave out a living thread while another one ends.
    threads = {tid: name for tid, name in names.items() if os.path.exists(f"/proc/self/task/{tid}")}
    tasks = {*map(int, os.listdir("/proc/self/task")), *threads}
    if native_threads:
        threads |= {tid: _read(f"/proc/self/task/{tid}/comm").strip() for tid in tasks - names.keys()}
    children = {}
    for pid in _children(tasks):
        # One that has ended is no longer there; if nobody waits for it, subprocess warns about that by itself.
        if not _read(f"/proc/{pid}/stat").rpartition(")")[2].startswith(" Z"):
            children[pid] = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return Holdings(descriptors, threads, children)


def _children(tasks: set[int]) -> list[int]:
    """The kernel may leave out a living one while another one ends (proc(5)): looks until it is told the same twice."""

    def once() -> list[int]:
        return [int(pid) for tid in tasks for pid in _read(f"/proc/self/task/{tid}/children").split()]

    last, found = None, once()
    while found != last:
        last, found = found, once()
    return found


def _gevent_hub() -> object | None:
    hubs = sys.modules.get("gevent._hub_local")
    return hubs.get_hub_if_exists() if hubs else None


_known: set[str] = set()  # what has been reported (once is enough) or excused
_interrupted = False


def pytest_keyboard_interrupt() -> None:
    """Whoever has stopped a test in the middle is not told what it left, but what had failed until then."""
    global _interrupted  # noqa: PLW0603
    _interrupted = True


@contextlib.contextmanager
def _nothing_left_behind(by: str, excused: bool = False) -> Iterator[None]:
    # pytest's faulthandler_timeout has a native thread of its own for each test: beyond one test they say nothing.
    look = functools.partial(_holdings, native_threads=by == "the test")
    had_hub = _gevent_hub() is not None
    before = look()
    yield
    if not had_hub and (hub := _gevent_hub()) is not None:  # a hub that never ran is falsy
        hub.destroy(destroy_loop=True)  # type: ignore[attr-defined]
    if (pools := sys.modules.get("efio.pool")) is not None:
        pools.end_default_pool()
    if _interrupted:
        return
    now = look()
    deadline = time.monotonic() + GRACE
    while not excused and not _known.issuperset(now.beyond(before)) and time.monotonic() < deadline:
        gc.collect()
        time.sleep(0.01)
        now = look()
    left = [line for line in now.beyond(before) if line not in _known]
    _known.update(left)
    if excused or not left:
        return
    for pid in now.children.keys() - before.children.keys():  # they shall not disturb the tests that follow
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    pytest.fail("\n".join([f"{by} left behind:", *left]), pytrace=False)


@pytest.fixture(autouse=True, scope="session")
def _session_leaves_nothing() -> Iterator[None]:
    with _nothing_left_behind("the session's fixtures"):
        yield


@pytest.fixture(autouse=True, scope="module")
def _module_leaves_nothing(_session_leaves_nothing: None) -> Iterator[None]:
    with _nothing_left_behind("the module's fixtures"):
        yield


@pytest.fixture(autouse=True)
def _test_leaves_nothing(request: pytest.FixtureRequest, _module_leaves_nothing: None) -> Iterator[None]:
    marker = request.node.get_closest_marker("leaves_behind")
    if marker and (len(marker.args) != 1 or not isinstance(marker.args[0], str) or marker.kwargs):
        pytest.fail('@pytest.mark.leaves_behind takes one reason: leaves_behind("why")', pytrace=False)
    with _nothing_left_behind("the test", excused=marker is not None):
        yield

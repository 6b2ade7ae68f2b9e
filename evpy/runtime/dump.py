"""The stacks of all threads and greenlets of this process, as text.

``kill -USR1 PID`` answers the question "what is it doing?" for a process that runs thousands of greenlets, most of them
waiting in the same few places. Hence greenlets of one thread with equal stacks share one entry with their number.
`gevent.util.format_run_info` prints the same facts one by one, with the place where each greenlet was spawned, which
for a server means megabytes.

Constraints, because all this runs inside a signal handler, at any point of the program:

* No lock is taken, no user code called (no ``repr`` of arguments), nothing imported that the process has not got.
* Text leaves through ``os.write``: the buffered streams cannot be re-entered.
* Python runs signal handlers on the main thread between two bytecodes. A thread stuck in Python code is no obstacle,
  whichever it is; while the *main* thread is inside a C call that does not return, the answer waits for it.
"""

from __future__ import annotations

import _thread
import contextlib
import gc
import linecache
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, TypeAlias

__all__ = ["format_stacks", "install"]

Stack: TypeAlias = tuple[tuple[str, int, str], ...]  # file, line, function; outermost first
Entry: TypeAlias = tuple[str, Stack]


def install(signum: int = signal.SIGUSR1, write: Callable[[str], object] | None = None) -> None:
    """Print `format_stacks` whenever signal `signum` arrives, by `write` or else on file descriptor 2.

    Replaces the handler of that signal. To be called on the main thread (ValueError otherwise).
    """

    def handle(_signum: int, frame: FrameType | None) -> None:
        text = format_stacks(frame)
        if write is not None:
            write(text)
            return
        with contextlib.suppress(OSError):  # closed, or a full pipe that does not block: nobody is reading
            data = text.encode(errors="backslashreplace")
            while data:
                data = data[os.write(2, data) :]

    signal.signal(signum, handle)


def format_stacks(here: FrameType | None = None) -> str:
    """All stacks of this process, the most recent call last, as in a traceback.

    One section per thread: what it is executing, then what its suspended greenlets are waiting in, equal stacks once.
    `here` is the frame to show for the calling thread instead of the caller's (a signal handler is given one).
    """
    frames = sys._current_frames()
    frames[_native_ident()] = here or sys._getframe(1)
    suspended, unstarted = _greenlets()
    names = _thread_names()
    total = sum(stacks.total() for stacks in suspended.values())
    lines = [f"== process {os.getpid()}: {len(frames)} thread(s), {total} suspended and {unstarted} new greenlet(s)"]
    for ident, frame in frames.items():
        lines.append(f"-- thread {ident:#x} {names.get(ident, '')}".rstrip())
        lines += ["   running:", *_source_lines(_stack(frame))]
        lines += _waiting(suspended.pop(ident, Counter()))
    for ident, stacks in suspended.items():
        lines.append(f"-- thread {ident:#x} has ended and left greenlets" if ident else "-- greenlets without a hub")
        lines += _waiting(stacks)
    return "\n".join(lines) + "\n"


def _native_ident() -> int:
    monkey = sys.modules.get("gevent.monkey")  # patched, get_ident identifies greenlets
    ident: int = monkey.get_original("_thread", "get_ident")() if monkey is not None else _thread.get_ident()
    return ident


def _greenlets() -> tuple[dict[int, Counter[Entry]], int]:
    """The suspended greenlets as a count per (kind, stack) for each thread (0: unknown); how many have not begun."""
    suspended: dict[int, Counter[Entry]] = {}
    unstarted = 0
    module = sys.modules.get("greenlet")
    if module is None:
        return suspended, unstarted
    # type(), since isinstance would ask the __class__ of proxies, which is the user's code.
    every = [each for each in gc.get_objects() if issubclass(type(each), module.greenlet)]
    threads = {id(_root(each)): each.thread_ident for each in every if _is_hub(each)}
    for each in every:
        if each.dead or (_is_hub(each) and each.loop is None):  # the latter has been destroyed
            continue
        if not module.greenlet.__bool__(each):  # gevent's own answer would be another: whether it has been scheduled
            unstarted += 1
        elif each.gr_frame is not None:  # None: it is what its thread is running
            where = suspended.setdefault(threads.get(id(_root(each)), 0), Counter())
            where[_kind(each), _stack(each.gr_frame)] += 1
    return suspended, unstarted


def _root(greenlet: Any) -> Any:
    # The main greenlet of the thread. Each thread has one, and a hub knows the thread.
    while greenlet.parent is not None:
        greenlet = greenlet.parent
    return greenlet


def _is_hub(greenlet: Any) -> bool:
    module = sys.modules.get("gevent.hub")
    return module is not None and isinstance(greenlet, module.Hub)


def _kind(greenlet: Any) -> str:
    if greenlet.parent is None:
        return "main greenlet"
    if _is_hub(greenlet):
        return "hub"
    name = getattr(greenlet, "name", None)  # a name that somebody gave, not gevent's "Greenlet-<number>"
    return f"greenlet {name}" if isinstance(name, str) and not name.startswith("Greenlet-") else "greenlet"


def _thread_names() -> dict[int, str]:
    # threading.enumerate() would take a lock. Under gevent this table holds greenlets too; their keys match no thread.
    names = {ident: thread.name for ident, thread in dict(getattr(threading, "_active", {})).items()}
    pool = sys.modules.get("evpy.runtime.threads")
    if pool is not None:
        names |= pool.names()
    hub = sys.modules.get("gevent.hub")
    if hub is not None:
        names[hub.MAIN_THREAD_IDENT] = "MainThread"
    return names


def _stack(frame: FrameType | None) -> Stack:
    stack: list[tuple[str, int, str]] = []
    while frame is not None:
        stack.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_qualname))
        frame = frame.f_back
    return tuple(reversed(stack))


def _waiting(stacks: Counter[Entry]) -> Iterator[str]:
    for (kind, stack), count in stacks.most_common():
        yield f"   {count} times {kind}, suspended:" if count > 1 else f"   {kind}, suspended:"
        yield from _source_lines(stack)


def _source_lines(stack: Stack) -> Iterator[str]:
    for file, number, function in stack:
        yield f'      File "{file}", line {number}, in {function}'
        source = linecache.getline(file, number).strip()
        if source:
            yield f"        {source}"

"""Who holds a connection, and what they are doing at this moment.

While a connection is lent, its slot keeps a weak reference to the greenlet and the number of the thread; everything
else (the stack, the request) is looked up when somebody asks. So knowing costs next to nothing, and keeps nobody alive.
"""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import dataclass
from types import FrameType
from typing import Any

from greenlet import getcurrent

__all__ = ["Holding", "describe"]

_SITE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep  # where packages are
_NOT_INTERESTING = (*(_SITE + name + os.sep for name in ("gevent", "service_utils", "efio", "evpy")), "<")


@dataclass(frozen=True)
class Holding:
    """One connection that is lent."""

    holder: str  #: name of the greenlet or thread
    seconds: float  #: for how long
    place: str  #: file, line and function at which the holder is now; "" when it has ended
    request: str  #: method and path of the request that it handles; "" outside of requests

    def __str__(self) -> str:
        request = f" for {self.request}" if self.request else ""
        place = f", now at {self.place}" if self.place else ""
        return f"{self.holder}{request} since {self.seconds:.1f} s{place}"


def describe(reference: Any, thread: int, seconds: float) -> Holding:
    """What the holder, a weak reference to a greenlet of the thread, is doing now."""
    greenlet = reference()
    if greenlet is None or greenlet.dead:
        return Holding("a greenlet that has ended", seconds, "", "")
    me = greenlet is getcurrent()
    # A greenlet without a frame is the one that its thread runs at this moment.
    frame = sys._getframe(1) if me else greenlet.gr_frame or sys._current_frames().get(thread)
    name = getattr(greenlet, "name", None)
    if name is None and greenlet.parent is None:  # no greenlet of its own: the flow of a thread
        name = next((t.name for t in threading.enumerate() if t.ident == thread), f"thread {thread}")
    return Holding(name or type(greenlet).__name__, seconds, _place(frame), _request(greenlet, me))


def _place(frame: FrameType | None) -> str:
    innermost = frame
    while frame is not None and frame.f_code.co_filename.startswith(_NOT_INTERESTING):
        frame = frame.f_back
    frame = frame or innermost
    return f"{frame.f_code.co_filename}:{frame.f_lineno} ({frame.f_code.co_name})" if frame else ""


def _request(greenlet: Any, me: bool) -> str:
    module = sys.modules.get("evpy.http.request")
    if module is None:
        return ""
    try:
        if me:
            request = module._current.get(None)
        else:
            context = greenlet.gr_context
            request = context.get(module._current) if context is not None else None
        return f"{request.method} {request.path}" if request is not None else ""
    except Exception:  # noqa: BLE001 - it runs in another thread, or the request has just ended: there is no saying
        return ""

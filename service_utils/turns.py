"""Turns of others, while there is always something to do.

Whoever reads what a fast server sends, or expands what is compressed, may never have to wait, and a greenlet that does
not wait keeps all others of its hub from running. So it lets them run every ``TURN``.
"""

from __future__ import annotations

from time import monotonic

from service_utils.waiting import hub_to_wait_on

__all__ = ["Turns", "pass_on"]

TURN = 0.5e-3  # seconds; a turn costs some 5 us


class Turns:
    """Of one piece of work, which begins now."""

    __slots__ = ("_due",)

    def __init__(self) -> None:
        self._due = monotonic() + TURN

    def take(self) -> None:
        """Between two steps of it: raises what ends a greenlet."""
        if monotonic() >= self._due:
            pass_on()
            self._due = monotonic() + TURN


def pass_on() -> None:
    """Lets the loop of this hub go round once; nothing in a thread without one.

    A timer, since ``gevent.sleep(0)`` does not do that: it is a callback, and those are called fifty times before
    timers and descriptors are looked at again.
    """
    hub = hub_to_wait_on()
    if hub is not None:
        timer = hub.loop.timer(0)
        try:
            hub.wait(timer)
        finally:
            timer.close()

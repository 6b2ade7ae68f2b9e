"""Types of the compiled module; the explanations are in _parking.pyx."""

from typing import Any, final

@final
class Waiter:
    """One wait of one greenlet, asyncio task or thread: made by who waits, told to who may wake it, used once."""

    payload: Any
    def wait(self, timeout: float | None = None) -> bool:
        """Waits until wake() was called, at most ``timeout`` seconds (None: for ever). False: timeout.

        Switches the greenlet in a thread with a gevent hub; blocks any other thread, without the interpreter lock.
        Raises what is raised into the greenlet, or by a signal handler; ``woken`` then says whether the wake-up was
        given all the same and has to be passed on. RuntimeError in a callback of the hub itself.
        """

    async def wait_async(self, timeout: float | None = None) -> bool:
        """The same for a task of asyncio."""

    def wake(self) -> bool:
        """Wakes it, from any thread. True for the one call that did; False when it was woken before or has left."""

    @property
    def woken(self) -> bool:
        """Whether the wake-up was given."""

    @property
    def address(self) -> int:
        """Where its efio_parker (efio/native/parking.h) lies; valid while the Waiter exists."""

class Port:
    """An event loop as parking sees it."""

    def close(self) -> None: ...
    @property
    def rings(self) -> int:
        """How often its eventfd was written."""

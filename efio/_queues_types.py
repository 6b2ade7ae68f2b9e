"""What both implementations of the queues raise and return."""

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING

__all__ = ["QueueStatistics", "ShutDown"]

if TYPE_CHECKING:

    class ShutDown(Exception):
        """The queue was shut down: nothing can be put, and what was in it has been got. queue.ShutDown where Python has
        it (3.13)."""

else:
    ShutDown = getattr(queue, "ShutDown", None) or type(
        "ShutDown", (Exception,), {"__module__": "efio", "__doc__": "The queue was shut down."}
    )


@dataclass(frozen=True, slots=True)
class QueueStatistics:
    """A queue at one moment."""

    size: int  # items
    maxsize: int  # items; <= 0: no limit
    getters: int  # greenlets, tasks and threads that wait for an item
    putters: int  # ... that wait for room
    unfinished: int  # items that were put and not reported as done, for Queue.join
    puts: int  # items, since the beginning
    is_shutdown: bool

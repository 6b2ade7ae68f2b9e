from collections.abc import Generator
from concurrent.futures import Future as _StandardFuture
from typing import Any, TypeVar

_T = TypeVar("_T")

class Future(_StandardFuture[_T]):
    """The result of a call that runs elsewhere, or that somebody sets: concurrent.futures.Future in every respect.

    result() and exception() switch the greenlet in a thread with a gevent hub, and block any other thread; `await
    future` suspends the task of asyncio. So do concurrent.futures.wait() and as_completed() with these futures.

    As with asyncio's own futures, a task that is cancelled while it awaits cancels the call, unless that has begun; a
    call that was cancelled raises asyncio.CancelledError in who awaits it, concurrent.futures.CancelledError elsewhere.
    """

    def __await__(self) -> Generator[Any, None, _T]: ...

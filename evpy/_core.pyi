"""Types of the Cython binding of the native core.

It converts and releases the interpreter lock; logic lives in C or Python.
"""

from collections.abc import Callable
from typing import Any, Self

EMPTY: int
STARTING: int
READY: int
DRAINING: int
DEAD: int

GATEWAY_PATH: str  # of the native gateway executable

def cache_greenlet_stacks() -> None:
    """Keeps up to 1 MiB of frame-stack blocks of ended greenlets for new ones. For the whole process; cannot be
    undone."""

def set_time_slice(seconds: float) -> None:
    """Ask the kernel for CPU time slices of so many seconds (0.0001 to 0.1) for the calling thread (EEVDF, Linux 6.12).

    It is then preferred to threads with longer slices whenever it wakes up; its share of the CPU stays what it was.
    Threads and processes that it starts have the kernel's own slices. A refusal is not reported: it is a wish.
    """

class Segment:
    """The shared memory segment of one server. All times in seconds, sizes in bytes."""

    @classmethod
    def create(
        cls,
        *,
        io_threads: int,
        slots: int,
        threads: int,
        slabs: int,
        concurrency: int,
        queue_limit: int,
        depth: int,
        shared: bool = True,
    ) -> Self:
        """Makes the memfd (or, with shared=False, anonymous memory for inline mode) and every eventfd and
        descriptor socket.

        slots: worker slots (twice the workers and two, so that a reload has room); threads: scheduler threads of
        one worker
        including spare ones; slabs, queue_limit: per I/O thread; concurrency: requests that one scheduler thread
        may hold;
        depth: requests that may lie unclaimed in one worker's ring. Raises OSError, ValueError."""
    @classmethod
    def attach(cls, fd: int) -> Self: ...
    @property
    def fd(self) -> int: ...
    @property
    def io_threads(self) -> int: ...
    @property
    def slots(self) -> int: ...
    @property
    def threads(self) -> int: ...
    def configure(
        self,
        *,
        header_timeout: float,
        body_timeout: float,
        body_rate: int,
        body_rate_grace: float,
        handler_timeout: float,
        send_timeout: float,
        keepalive: float,
        max_body: int,
        max_body_at: list[tuple[str, int]],
        max_buffered: int,
        max_connections: int,
        time_slice: float,
        costly: float,
        cores: int,
        server_header: str,
        access_log_fd: int,
        access_log_json: bool,
        echo: bool = False,
    ) -> None: ...
    def add_listener(self, fd: int, name: str, *, https: bool = False, own: bool = True) -> None: ...
    def worker_fds(self, slot: int) -> list[int]:
        """Descriptors that the worker in this slot must inherit, with the same numbers."""
    def gateway_fds(self) -> list[int]: ...
    # --- worker slots, used by the supervisor
    def begin_worker(self, slot: int) -> int:
        """Prepares an EMPTY or fully acknowledged DEAD slot for a new process: state STARTING. Returns the new
        generation."""
    def worker_state(self, slot: int) -> int: ...
    def set_worker_state(self, slot: int, state: int, killed: bool = False) -> None:
        """Also wakes the gateway's threads (and the worker's, for DRAINING), which act upon it.

        killed, with DEAD: somebody has killed it, so none of the requests that it had is to blame."""
    def worker_acked(self, slot: int, state: int) -> bool:
        """True when every I/O thread has acted upon this state of this generation: for DRAINING nothing more will
        be handed over,
        for DEAD the slot may be used again. Always true once the gateway is gone and told so by gateway_gone()."""
    def set_worker_pid(self, slot: int, pid: int) -> None: ...
    def worker_info(self, slot: int) -> dict[str, Any]:
        """state, generation, pid, heartbeat_age (seconds; None before the first), active, taken, finished, threads:
        a list of
        dict(index, state, tid, active, tick, blocked_for (seconds that a ping has been unanswered, 0.0 if none),
        current
        (request id or None), taken, stolen, finished, failed, expired, greenlets)."""
    def requests_of(self, slot: int) -> list[dict[str, Any]]:
        """Requests that this worker has claimed: dict(id, method, target, thread, age (seconds since arrival),
        tries), oldest first."""
    # --- gateway
    def counters(self) -> dict[str, int]: ...
    def counters_of(self, io_thread: int) -> dict[str, int]: ...
    def access_log_reopened(self) -> None:
        """The descriptor of the access log leads to another file now: the gateway follows (log rotation)."""
    def set_running(self) -> None:
        """For a gateway that is to be started after one that has drained."""
    def set_draining(self, stop: bool) -> None:
        """The gateway stops accepting, closes idle connections, answers the rest with Connection: close, and ends.

        With stop it also shuts the listening sockets that are our own, so that the kernel refuses new connections."""
    def give_up(self) -> None:
        """The grace time is over: what is not answered gets 503, the rest is closed."""
    @property
    def gateway_pid(self) -> int: ...
    def gateway_heartbeat_age(self) -> float | None: ...
    def gateway_gone(self) -> None: ...
    def slabs_in_use(self) -> int:
        """Slabs that are not FREE, counted one by one (tests, status)."""
    def close(self) -> None: ...

class Engine:
    """One I/O thread of the gateway, driven from outside: inline mode."""

    def __init__(self, segment: Segment, io_thread: int = 0) -> None: ...
    def fileno(self) -> int:
        """An epoll descriptor: readable when turn() has something to do."""
    def turn(self, timeout: float = 0.0) -> int:
        """One turn; keeps the interpreter lock when timeout is 0."""
    def next_deadline(self) -> float:
        """Seconds until turn() must be called even when nothing is readable; -1.0: no timer is armed."""
    def run(self) -> None:
        """Turns until the segment says drain and all is drained; without the interpreter lock."""
    @property
    def open_connections(self) -> int: ...
    @property
    def drained(self) -> bool:
        """Told to drain, and no connection is open any more."""
    def close(self) -> None: ...

class Worker:
    """This process's place in the segment."""

    def __init__(self, segment: Segment, slot: int) -> None: ...
    slot: int
    segment: Segment
    def start_heartbeat(self, interval: float = 0.1, ping: float = 0.5) -> None:
        """Starts the native thread that writes the heart-beat every `interval` and asks every scheduler for a tick
        every `ping` seconds."""
    def stop_heartbeat(self) -> None: ...
    def set_ready(self) -> None: ...
    def set_draining(self) -> None:
        """Asks the gateway for no more requests (a worker that was told to stop by signal)."""
    def draining(self) -> bool: ...
    def drained(self) -> bool:
        """Draining, acknowledged by the gateway, and no request is claimed any more."""
    def wait_blocked(self, limit: float, timeout: float) -> tuple[int, float] | None:
        """Waits without the interpreter lock, at most `timeout` seconds, until a RUNNING scheduler thread has not
        ticked for `limit`
        seconds; returns (thread index, seconds blocked). Called by the worker's control thread."""
    def set_thread_blocked(self, thread: int) -> None: ...

class Scheduler:
    """What one OS thread with a gevent hub does: claims requests and runs each in a parked greenlet."""

    def __init__(
        self,
        worker: Worker,
        thread: int,
        app: Callable[[Any], Any],
        request_type: type[RequestBase],
        send_result: Callable[[Any, Any], None],
        send_error: Callable[[Any, BaseException], None],
        concurrency: int,
        current_request: Any,
    ) -> None: ...
    def attach(self) -> None:
        """Starts serving on the calling thread's hub: an io watcher on the eventfd. Returns at once; the thread
        must then run its hub."""
    def detach(self) -> None: ...
    def pause(self) -> None:
        """Claims nothing more; what runs goes on, and is told of room and data as before."""
    def requests(self) -> list[Any]:
        """The requests that run on this thread now."""
    active: int
    parked: int

class RequestBase:
    """One request; every property decodes from the slab when asked. Valid until the response is complete."""

    method: str
    target: str
    raw_path: str
    raw_query: str
    http_version: str
    scheme: str
    client: tuple[str, int] | None
    server: str
    host: str
    id: str
    arrival: float
    deadline: float
    disconnected: bool
    content_length: int | None
    has_body: bool
    body_complete: bool
    response_started: bool
    response_ended: bool
    _cache: dict[str, Any] | None
    state: dict[str, Any]
    def header(self, name: str) -> str | None: ...
    def raw_headers(self) -> list[tuple[str, str]]: ...
    def read_body(self, n: int = -1) -> bytes: ...
    def respond(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None: ...
    def start_response(self, status: int, headers: list[tuple[str, str]], content_length: int | None) -> None: ...
    def write(self, data: bytes | bytearray | memoryview) -> None: ...
    def end(self) -> None: ...
    def abort(self) -> None: ...
    def send_file(self, status: int, headers: list[tuple[str, str]], fd: int, offset: int, length: int) -> None: ...

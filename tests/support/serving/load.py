"""Requests in the background, for tests that disturb a server meanwhile."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Self

from serving.client import Client


class Load:
    """``with Load(address) as load: disturb()``; then ``load.failures`` is empty and ``load.answers`` counts statuses.

    Each thread asks for ``target`` again and again on a connection that is kept alive, and opens a new one when the
    server says ``Connection: close``. An answer that does not come, or breaks off, is a failure.
    """

    def __init__(self, address: tuple[str, int], target: str = "/", *, threads: int = 3) -> None:
        self.address = address
        self.target = target
        self.answers: Counter[int] = Counter()
        self.bodies: Counter[bytes] = Counter()
        self.failures: list[str] = []
        self._stop = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int, timeout: float = 20.0) -> None:
        """Waits for so many more answers."""
        with self._changed:
            wanted = self.answers.total() + count
            if not self._changed.wait_for(lambda: self.answers.total() >= wanted or self.failures, timeout):
                raise AssertionError(f"{wanted - self.answers.total()} answers are missing after {timeout:g} s")

    def _run(self) -> None:
        client: Client | None = None
        while not self._stop.is_set():
            try:
                if client is None:
                    client = Client(self.address)
                answer = client.get(self.target)
            except (OSError, EOFError) as error:
                with self._changed:
                    self.failures.append(f"{type(error).__name__}: {error}")
                    self._changed.notify_all()
                if client is not None:
                    client.close()
                client = None
                continue
            with self._changed:
                self.answers[answer.status] += 1
                self.bodies[answer.body] += 1
                self._changed.notify_all()
            if answer.header("connection") == "close":
                client.close()
                client = None
        if client is not None:
            client.close()

"""What a worker tells its supervisor: JSON messages on a socket pair whose packets keep their borders.

``{"event": NAME, ...}`` with these names:

==============  ==============================================================================================
``failed``      cannot start: ``reason`` (one line), ``traceback`` (of the application's frames, or empty)
``ready``       ``on_start`` has returned, requests are welcome
``asked``       somebody sent this worker SIGTERM: it would like to be replaced
``blocked``     scheduler ``thread`` has not come round since ``tick`` for ``seconds``: ``stack``, ``request`` (its id)
``recovered``   it has come round again, after ``seconds``
==============  ==============================================================================================

A worker never waits for its supervisor: what does not fit into the socket's buffer is dropped, and everything that
must not be lost (the state of the slot, the exit status) has a way of its own.
"""

from __future__ import annotations

import json
import os
import signal
import socket
from collections.abc import Iterator
from typing import Any

__all__ = ["STACKS_SIGNAL", "Receiver", "send"]

# On this signal a worker writes the stacks of its threads to the descriptor it was given for that, from C and without
# the interpreter lock (faulthandler). A real-time signal, because applications have uses for the two user signals.
STACKS_SIGNAL: int = signal.SIGRTMIN + 3
MOST = 65536  # bytes of a message
MOST_TEXT = 9000  # characters of a field: JSON may make six bytes of one


def send(fd: int, event: str, **fields: Any) -> bool:
    """Sends one message; False when it was dropped. Takes no lock and never waits, so every thread may call it."""
    for key, value in fields.items():
        if isinstance(value, str):
            fields[key] = value[:MOST_TEXT]
    try:
        os.write(fd, json.dumps({"event": event, **fields}).encode())
    except OSError:
        return False
    return True


class Receiver:
    """The supervisor's end."""

    def __init__(self) -> None:
        self._socket, self._peer = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setblocking(False)
        self._peer.setblocking(False)

    def fileno(self) -> int:
        return self._socket.fileno()

    @property
    def peer(self) -> int:
        """The worker's end, to be inherited."""
        return self._peer.fileno()

    def release_peer(self) -> None:
        """To be called once the worker has inherited it, so that its end shows here."""
        self._peer.close()

    def take(self) -> Iterator[dict[str, Any]]:
        """The messages that are there. What is none of ours is skipped."""
        while True:
            try:
                data = self._socket.recv(MOST)
            except (BlockingIOError, ConnectionResetError):
                return
            if not data:
                return
            try:
                message = json.loads(data)
            except ValueError:
                continue
            if isinstance(message, dict) and isinstance(message.get("event"), str):
                yield message

    def close(self) -> None:
        self._socket.close()
        self._peer.close()

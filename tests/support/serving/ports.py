"""Ports for servers that a test starts."""

from __future__ import annotations

import itertools
import random
import socket
from collections.abc import Iterator

__all__ = ["free_port"]

# Below the range that Linux takes the ports of clients from (32768 and up): between the probe and the server's own
# bind no connection of anybody can get the port.
FIRST, LAST = 20_000, 32_000
PARTS = 8


def _part() -> int:
    """A part of the range that no other process takes ports from: the halves of the suite run beside each other, and
    a port that one has found free is bound by its server only a second later. Its name is kept until the end."""
    for part in range(PARTS):
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0evpy-test-ports-{part}")  # an abstract one (unix(7)): it goes with the process
        except OSError:
            claim.close()
        else:
            claim.detach()
            return part
    return random.randrange(PARTS)


def _shuffled() -> Iterator[int]:
    ports = list(range(FIRST + _part(), LAST, PARTS))
    random.shuffle(ports)
    return itertools.cycle(ports)


# One that was handed out comes again after all the others only, so a port on which nothing shall listen is not the
# next server's.
_ports = _shuffled()


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens and which no other test is about to use."""
    for port in itertools.islice(_ports, (LAST - FIRST) // PARTS):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError(f"no port between {FIRST} and {LAST} is free")

"""Ports for servers that a test starts."""

from __future__ import annotations

import random
import socket

__all__ = ["free_port"]

# Below the range that Linux takes the ports of clients from (32768 and up): between the probe and the server's own
# bind no connection of anybody can get the port. None is handed out twice, so a port on which nothing shall listen
# is not the next server's.
_ports = iter(random.sample(range(20_000, 32_000), 12_000))


def free_port() -> int:
    """A port of 127.0.0.1 on which nothing listens and which this process has not been given before."""
    for port in _ports:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port between 20000 and 32000 is free")

"""A wire to a server, which breaks as a test says."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from typing import Any

from flows import PATIENCE

__all__ = ["WAYS", "Wire"]

WAYS = ("end", "reset", "half", "noise", "silence")


class Wire:
    """Forwards each connection to the server; ``breaks`` says how, and after how many bytes from the server, the next
    one breaks that carries anything."""

    def __init__(self, port: int) -> None:
        self._to = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=50)
        self.port = self._listener.getsockname()[1]
        self.breaks: tuple[str, int] | None = None
        self.broken = 0
        self.deaf = False  #: further connections are accepted, and nothing more
        self.ignored: list[socket.socket] = []
        self._end, self._ended = socket.socketpair()
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        other: dict[socket.socket, socket.socket] = {}
        servers: set[socket.socket] = set()
        stopped: set[socket.socket] = set()  # nothing is forwarded any more

        def drop(sock: socket.socket) -> None:
            peer = other.pop(sock)
            del other[peer]
            for one in (sock, peer):
                servers.discard(one)
                stopped.discard(one)
                one.close()

        while True:
            ready, _, _ = select.select([self._listener, self._ended, *(other.keys() - stopped)], [], [])
            if self._ended in ready:
                break
            for sock in ready:
                if sock is self._listener:
                    client = self._listener.accept()[0]
                    if self.deaf:
                        self.ignored.append(client)
                        continue
                    server = socket.create_connection(self._to)
                    other[client], other[server] = server, client
                    servers.add(server)
                    continue
                if sock not in other:
                    continue
                try:
                    data = sock.recv(65536)
                except OSError:
                    data = b""
                if not data:
                    drop(sock)
                elif sock in servers and self.breaks is not None:
                    self._break(sock, other[sock], data, stopped, drop)
                else:
                    with contextlib.suppress(OSError):
                        other[sock].sendall(data)
        for sock in (*other, *self.ignored):
            sock.close()

    def _break(self, server: socket.socket, client: socket.socket, data: bytes, stopped: Any, drop: Any) -> None:
        assert self.breaks is not None
        how, after = self.breaks
        # The client may have gone already, killed while it waited: then nobody hears it, and it broke all the same.
        if len(data) <= after:
            self.breaks = how, after - len(data)
            with contextlib.suppress(OSError):
                client.sendall(data)
            return
        self.breaks = None
        with contextlib.suppress(OSError):
            client.sendall(data[:after])
        if how == "reset":
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            drop(server)
        elif how == "end":
            drop(server)
        elif how == "half":  # what the client says still arrives
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_WR)
            stopped.add(server)
        elif how == "silence":
            stopped.add(server)
        else:
            with contextlib.suppress(OSError):
                client.sendall(b"\xff\x00HTTP/1.1 200 OK\r\n\r\n" * 20)
                client.shutdown(socket.SHUT_WR)
            stopped.add(server)
        self.broken += 1

    def stop(self) -> None:
        self._end.close()
        self._thread.join(PATIENCE)
        self._listener.close()
        self._ended.close()

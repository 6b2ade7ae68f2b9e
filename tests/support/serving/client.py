"""A client that sends exactly the bytes it is told to, and reads responses by the letter of RFC 9112."""

from __future__ import annotations

import contextlib
import json
import socket
from dataclasses import dataclass
from typing import Any, Self

PATIENCE = 30.0  # seconds; a test that waits longer has found a hang


@dataclass
class Answer:
    """One response."""

    status: int
    reason: str
    headers: list[tuple[str, str]]  # names in lower case
    body: bytes
    version: str = "HTTP/1.1"

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        return values[0] if values else None

    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One connection. ``address``: (host, port) or the path of a Unix socket."""

    def __init__(self, address: tuple[str, int] | str, timeout: float = PATIENCE) -> None:
        if isinstance(address, str):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(address)
        else:
            self.socket = socket.create_connection(address, timeout)
            self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def send_leniently(self, data: bytes) -> None:
        """The server may have closed already: it has answered then."""
        with contextlib.suppress(ConnectionError):
            self.socket.sendall(data)

    def half_close(self) -> None:
        self.socket.shutdown(socket.SHUT_WR)

    def _more(self) -> bool:
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionResetError:
            return False
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._more():
                raise EOFError(f"the connection ended within a response: {self.buffer[:200]!r}")
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def _exactly(self, n: int) -> bytes:
        while len(self.buffer) < n:
            if not self._more():
                raise EOFError(f"the connection ended {n - len(self.buffer)} bytes before the end of a body")
        found, self.buffer = self.buffer[:n], self.buffer[n:]
        return found

    def head(self) -> Answer:
        """The next response's head; its body is left to be read."""
        lines = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        version, status, reason = lines[0].split(" ", 2)
        fields = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        return Answer(int(status), reason, fields, b"", version)

    def body(self, answer: Answer, method: str = "GET") -> bytes:
        if method == "HEAD" or answer.status in (204, 304) or answer.status < 200:
            return b""
        if answer.header("transfer-encoding") == "chunked":
            parts = []
            while size := int(self._until(b"\r\n"), 16):
                parts.append(self._exactly(size))
                assert self._exactly(2) == b"\r\n"
            assert self._until(b"\r\n") == b""
            return b"".join(parts)
        length = answer.header("content-length")
        if length is not None:
            return self._exactly(int(length))
        return self.rest()

    def answer(self, method: str = "GET") -> Answer:
        """The next complete response."""
        answer = self.head()
        answer.body = self.body(answer, method)
        return answer

    def rest(self) -> bytes:
        """Everything up to the end of the connection."""
        while self._more():
            pass
        found, self.buffer = self.buffer, b""
        return found

    def is_closed(self) -> bool:
        """Waits for the server to close; False when it sends something instead."""
        return not self.buffer and not self._more()

    def get(self, target: str = "/", *headers: str) -> Answer:
        lines = [f"GET {target} HTTP/1.1", "Host: test", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1"))
        return self.answer()

    def post(self, target: str, body: bytes, *headers: str) -> Answer:
        lines = [f"POST {target} HTTP/1.1", "Host: test", f"Content-Length: {len(body)}", *headers, "", ""]
        self.send("\r\n".join(lines).encode("latin-1") + body)
        return self.answer()


def exchange(address: tuple[str, int] | str, data: bytes) -> bytes:
    """Sends data on a connection of its own and returns everything that comes back until the server closes."""
    with Client(address) as client:
        client.send_leniently(data)
        return client.rest()

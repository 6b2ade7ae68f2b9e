"""Servers for tests of the HTTP client that do exactly what a test says, in threads of their own."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Seen:
    """A request as it came."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes
    connection: int  #: number of the connection, from 1
    raw: bytes = field(default=b"", repr=False)


def answer(body: bytes | str = b"", status: str = "200 OK", **fields: str) -> bytes:
    """An answer with a length; ``content_type`` stands for Content-Type."""
    body = body.encode() if isinstance(body, str) else body
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def redirect(to: str, status: str = "302 Found", **fields: str) -> bytes:
    return answer(b"", status, location=to, **fields)


class Visit:
    """One connection, seen from the server."""

    def __init__(self, peer: Peer, sock: Any, number: int) -> None:
        self.peer = peer
        self.sock = sock
        self.number = number
        self.file = sock.makefile("rb")

    def request(self, body: bool = True) -> Seen | None:
        """The next request; None when the client has gone."""
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            line = self.file.readline()
            if not line:
                return None
            head += line
        method, target, _ = head.split(b"\r\n")[0].decode("latin-1").split(" ")
        fields = {}
        for line in head.decode("latin-1").split("\r\n")[1:-2]:
            name, _, value = line.partition(":")
            assert name.lower() not in fields, f"{name} came twice"
            fields[name.lower()] = value.strip()
        data = b""
        if body and "chunked" in fields.get("transfer-encoding", ""):
            while size := self._chunk_size():
                data += self.file.read(size)
                assert self.file.read(2) == b"\r\n"
            assert self.file.readline() == b"\r\n"
        elif body:
            data = self.file.read(int(fields.get("content-length", "0")))
        seen = Seen(method, target, fields, data, self.number, head)
        self.peer.seen.append(seen)
        return seen

    def _chunk_size(self) -> int:
        line = self.file.readline()
        if not line:
            raise ConnectionError("the client has gone")
        return int(line, 16)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def gone(self) -> None:
        """Waits until the client has closed the connection."""
        with contextlib.suppress(OSError):
            while self.sock.recv(65536):
                pass

    def reset(self) -> None:
        """Ends the connection by a reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.file.close()
        self.sock.close()


class Peer:
    """A server. ``respond(seen)`` gives the bytes of an answer, or ``talk(visit)`` does all of a connection."""

    def __init__(
        self,
        respond: Callable[[Seen], bytes] | None = None,
        *,
        talk: Callable[[Visit], object] | None = None,
        tls: ssl.SSLContext | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._respond = respond
        self._talk = talk or self._answer_all
        self._tls = tls
        self.seen: list[Seen] = []
        self.connections = 0
        self.errors: list[BaseException] = []
        self._open: set[Any] = set()
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server((host, port))
        self.host = host
        self.port: int = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    def _answer_all(self, visit: Visit) -> None:
        assert self._respond is not None
        while (seen := visit.request()) is not None:
            visit.send(self._respond(seen))

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.add(sock)
            thread = threading.Thread(target=self._serve, args=(sock, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, sock: Any, number: int) -> None:
        plain = sock
        try:
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self._open.add(sock)
            visit = Visit(self, sock, number)
            try:
                self._talk(visit)
            finally:
                visit.file.close()
        except OSError:  # the client has gone, or would not speak to us
            pass
        except BaseException as error:  # noqa: BLE001 - shown by the fixture
            self.errors.append(error)
        finally:
            for one in (sock, plain):
                self._open.discard(one)
                one.close()

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        assert not self.errors, self.errors

"""Mail servers: aiosmtpd, and scripted ones that behave badly."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, Envelope, Session
from certificates import self_signed, server_context
from serving import free_port


class Box:
    """What an aiosmtpd server has been given, and what it refuses."""

    def __init__(self) -> None:
        self.messages: list[Envelope] = []
        self.peers: list[Any] = []
        self.logins: list[tuple[str, str]] = []
        self.refuse: dict[str, str] = {}  # recipient: answer
        self.answer = "250 queued as 7"

    async def handle_RCPT(  # noqa: N802
        self, server: Any, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.answer.startswith("250"):
            self.messages.append(envelope)
            self.peers.append(session.peer)
        return self.answer

    def login(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        if isinstance(data, str):  # XOAUTH2, see below
            self.logins.append((mechanism, data))
            return AuthResult(success=data == "ann:good token")
        self.logins.append((mechanism, data.login.decode()))
        return AuthResult(success=(data.login, data.password) == (b"ann", "pässword".encode()), handled=False)


class Started:
    """A server, and how to reach it."""

    def __init__(self, box: Box, port: int, path: Path) -> None:
        self.box = box
        self.port = port
        self.context = ssl.create_default_context(cafile=str(path))


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return self_signed(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def smtp(certificate: Path) -> Iterator[Callable[..., Started]]:
    """``smtp(tls="none")`` starts a server."""
    with ExitStack() as stack:

        def start(tls: str = "none", **settings: Any) -> Started:
            box, port = Box(), free_port()
            if tls == "implicit":
                settings["ssl_context"] = server_context(certificate)
            if tls == "starttls":
                settings |= {"tls_context": server_context(certificate), "require_starttls": True}
            controller = Controller(
                box,
                "127.0.0.1",
                port,
                authenticator=box.login,
                auth_require_tls=tls == "starttls",
                ready_timeout=60.0,
                **settings,
            )
            controller.start()
            stack.callback(controller.stop)
            return Started(box, port, certificate)

        yield start


@pytest.fixture
def scripted() -> Iterator[Callable[[Callable[[socket.socket], object]], int]]:
    """``scripted(function)``: the port of a server that calls function(connection) for each."""
    ended: list[Callable[[], None]] = []

    def start(function: Callable[[socket.socket], object]) -> int:
        server = socket.create_server(("127.0.0.1", 0))
        open_now: set[socket.socket] = set()

        def one(connection: socket.socket) -> None:
            with connection, suppress(OSError):
                connection.settimeout(30)
                function(connection)
                while connection.recv(65536):
                    pass

        def run() -> None:
            while True:
                try:
                    connection = server.accept()[0]
                except OSError:
                    return
                open_now.add(connection)
                threads.append(threading.Thread(target=one, args=(connection,)))
                threads[-1].start()

        threads = [threading.Thread(target=run)]
        threads[0].start()

        def end() -> None:
            with suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            threads[0].join()
            for connection in open_now:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads[1:]:
                thread.join()

        ended.append(end)
        return int(server.getsockname()[1])

    yield start
    for end in ended:
        end()

"""Sockets for any hub and thread, plain and with TLS."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import pytest
from certificates import self_signed, server_context
from flows import PATIENCE, in_thread

from evpy.errors import DeadlineExceeded
from service_utils import sockets
from service_utils.sockets import Stream, TlsContext, TlsStream, connect

BIG = bytes(range(256)) * 8000  # 2 MB: more than the buffers of the system


@contextlib.contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server for one connection, in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                serve(connection)

        thread = threading.Thread(target=run)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(PATIENCE)
        assert not thread.is_alive()


def echo(connection: socket.socket) -> None:
    while data := connection.recv(65536):
        connection.sendall(data)


def talk(stream: Stream) -> bytes:
    """Sends while it reads: both directions are full."""
    sending = gevent.spawn(stream.sendall, BIG)
    with stream.makefile() as file:
        got = file.read(len(BIG))
    sending.get()
    return got


def test_one_socket_from_several_hubs_and_threads() -> None:
    with listening(echo) as port:
        stream = in_thread(lambda: sockets.connect("127.0.0.1", port, PATIENCE), hub=True).result(PATIENCE)
        assert in_thread(lambda: talk(stream), hub=True).result(PATIENCE) == BIG
        assert gevent.spawn(talk, stream).get() == BIG
        stream.sendall(b"from a thread")
        assert stream.recv(100) == b"from a thread"
        assert stream.local_port
        stream.close()
        stream.close()
        with pytest.raises(OSError, match=r"closed|descriptor"):
            stream.recv(1)


def test_timeouts_and_the_end() -> None:
    released = threading.Event()

    def serve(connection: socket.socket) -> None:
        released.wait(PATIENCE)

    with listening(serve) as port:
        stream = sockets.connect("localhost", port, PATIENCE)
        stream.settimeout(0.005)
        stream.settimeout(None)  # says nothing
        for ask in (lambda: stream.recv(1), lambda: gevent.spawn(stream.recv, 1).get()):
            with pytest.raises(TimeoutError, match=r"0\.005 s"):
                ask()
        with pytest.raises(TimeoutError):
            stream.sendall(BIG * 10)
        released.set()
        stream.timeout = PATIENCE
        with contextlib.suppress(ConnectionError):  # unread data make a reset of the end
            assert stream.recv(1) == b""
        stream.close()


def test_a_deadline_is_no_error_of_the_socket() -> None:
    """Though it is a TimeoutError: whoever catches OSError finds out by ``interruption``."""
    with listening(echo) as port:
        stream = sockets.connect("127.0.0.1", port, PATIENCE)
        deadline = DeadlineExceeded()

        def wait() -> None:
            with gevent.Timeout(0.005, deadline):
                stream.recv(1)

        with pytest.raises(DeadlineExceeded):
            gevent.spawn(wait).get()
        assert stream.interruption is deadline
        stream.close()


def test_what_cannot_be_connected(tmp_path: Path) -> None:
    with pytest.raises(ConnectionRefusedError):
        sockets.connect("127.0.0.1", 1, 1)
    with pytest.raises(FileNotFoundError):
        sockets.connect(str(tmp_path / "nothing"), 0, 1)
    with pytest.raises(OSError, match=r"not known|not found|no address|resolution"):
        gevent.spawn(sockets.connect, "name.invalid", 1, 1).get()


def test_unix_sockets(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        stream = sockets.connect(path, 0, PATIENCE)
        connection, _ = listener.accept()
        with connection:
            stream.sendall(b"hello")
            assert connection.recv(10) == b"hello"
        assert stream.recv(1) == b""
        assert stream.local_port is None
        with pytest.raises(ValueError, match="read from"):
            stream.makefile("wb")
        stream.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=tests", "-addext",
         "subjectAltName=DNS:localhost", "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder


def tls_echo(certificate: Path) -> Callable[[socket.socket], None]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            echo(secure)

    return serve


def test_tls_from_several_hubs_and_threads(certificate: Path) -> None:
    context = TlsContext(ssl.create_default_context(cafile=str(certificate / "cert.pem")))
    with listening(tls_echo(certificate)) as port:
        stream = context.wrap_socket(sockets.connect("127.0.0.1", port, PATIENCE), server_hostname="localhost")
        assert isinstance(stream, TlsStream)
        for piece in (BIG[:100_000], b"x"):
            for hub in (True, False):

                def ask(piece: bytes = piece) -> bytes:
                    stream.sendall(piece)
                    with stream.makefile() as file:
                        return file.read(len(piece))

                assert in_thread(ask, hub=hub).result(PATIENCE) == piece
        stream.close()


@pytest.mark.parametrize(("trusted", "name"), [(False, "localhost"), (True, "other.example")])
def test_certificates_are_verified(certificate: Path, trusted: bool, name: str) -> None:
    context = TlsContext(ssl.create_default_context(cafile=str(certificate / "cert.pem") if trusted else None))
    with listening(tls_echo(certificate)) as port:
        plain = sockets.connect("127.0.0.1", port, PATIENCE)
        with pytest.raises(ssl.SSLCertVerificationError):
            context.wrap_socket(plain, server_hostname=name)
        plain.close()


@pytest.mark.parametrize("polite", [True, False])
def test_tls_that_is_cut_off_is_no_end(tmp_path: Path, polite: bool) -> None:
    """RFC 8446, section 6.1: without close_notify, what has come may not be all."""
    context = server_context(self_signed(tmp_path))

    def serve() -> None:
        accepted, _ = listener.accept()
        secure = context.wrap_socket(accepted, server_side=True)
        secure.sendall(b"half")
        if polite:
            with contextlib.suppress(OSError):
                secure.unwrap()
        secure.close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        trusting = ssl.create_default_context()
        trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
        stream = TlsStream(connect("127.0.0.1", listener.getsockname()[1], 10), trusting, None)
        stream.timeout = 10
        assert stream.recv(100) == b"half"
        if polite:
            assert stream.recv(100) == b""
        else:
            with pytest.raises(ConnectionResetError, match="close_notify"):
                stream.recv(100)
        stream.close()
        thread.join()

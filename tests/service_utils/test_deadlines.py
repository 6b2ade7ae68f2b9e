"""A deadline of evpy that ends a wait in the middle of a client's work is raised as what it is.

It is a TimeoutError, and so an OSError: clients and the libraries below them are tempted to take it for an error of the
network, to tell another one, or to try again.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import gevent
import pytest
import redis
from flows import PATIENCE, in_thread

from evpy.errors import DeadlineExceeded
from service_utils import http
from service_utils.mail import Mailer, MailUnavailable, compose, open_imap, open_pop3
from service_utils.pool import Connector, Pool
from service_utils.redis import connect as connect_redis
from service_utils.tarantool import connect as connect_tarantool

MESSAGE = compose(sender="a@test", to="b@test", text="x")


@contextmanager
def saying(*texts: bytes) -> Iterator[int]:
    """The port of a server that says one text to each connection, at once, and then nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(PATIENCE)

        def serve() -> None:
            peers = []
            for text in texts:
                peer, _ = listener.accept()
                peer.sendall(text)
                peers.append(peer)
            for peer in peers:
                while peer.recv(4096):
                    pass
                peer.close()

        serving = in_thread(serve)
        yield listener.getsockname()[1]
        for _ in texts:  # the deadline may have come before a connection was made
            socket.create_connection(listener.getsockname()).close()
        serving.result(PATIENCE)


def ask_http(port: int) -> None:
    with http.Client(f"http://127.0.0.1:{port}") as client:
        client.get("/")


def ask_https(port: int) -> None:
    with http.Client(f"https://127.0.0.1:{port}") as client:
        client.get("/")


def ask_through_a_proxy(port: int) -> None:
    with http.Client("https://x.invalid", proxy=f"http://127.0.0.1:{port}") as client:
        client.get("/")


def read_a_stream(port: int) -> None:
    with http.Client(f"http://127.0.0.1:{port}") as client, client.stream("GET", "/") as response:
        for _ in response.iter_bytes():
            pass


def ask_redis(port: int) -> None:
    client = connect_redis(f"redis://127.0.0.1:{port}")
    try:
        client.get("x")
    finally:
        client.close()


def listen_to_redis(port: int) -> None:
    client = connect_redis(f"redis://127.0.0.1:{port}", timeout=PATIENCE)
    try:
        client.blpop("x", timeout=PATIENCE)
    finally:
        client.close()


def send_mail(port: int) -> None:
    mailer = Mailer("127.0.0.1", port, tls="none")
    try:
        mailer.send(MESSAGE)
    finally:
        mailer.close()


def read_imap(port: int) -> None:
    with open_imap("127.0.0.1", port, tls="none"):
        pass


def read_pop3(port: int) -> None:
    open_pop3("127.0.0.1", port, tls="none", user="a", password="b").close()


def read_pop3_by_tls(port: int) -> None:
    open_pop3("127.0.0.1", port, tls="implicit").close()


def ask_tarantool(port: int) -> None:
    with connect_tarantool(f"tarantool://127.0.0.1:{port}") as client:
        client.ping()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf"
SMTP = b"220 hi\r\n250-x\r\n250 SMTPUTF8\r\n"
CASES: dict[str, tuple[Callable[[int], None], bytes]] = {
    "http, no answer": (ask_http, b""),
    "http, half a head": (ask_http, HEAD[:20]),
    "http, half a body": (ask_http, HEAD),
    "http, a stream": (read_a_stream, HEAD),
    "https, the handshake": (ask_https, b""),
    "http, a proxy": (ask_through_a_proxy, b""),
    "redis, the greeting": (ask_redis, b""),
    "redis, half an answer": (listen_to_redis, b"%1\r\n+proto\r\n:3\r\n+OK\r\n+OK\r\n*2\r\n+x\r\n"),
    "smtp, the greeting": (send_mail, b""),
    "smtp, the sender": (send_mail, SMTP),
    "smtp, the message": (send_mail, SMTP + b"250 OK\r\n" * 2),
    "smtp, its end": (send_mail, SMTP + b"250 OK\r\n" * 2 + b"354 go\r\n"),
    "imap, the greeting": (read_imap, b""),
    "imap, capabilities": (read_imap, b"* OK hi\r\n"),
    "pop3, the greeting": (read_pop3, b""),
    "pop3, the user": (read_pop3, b"+OK hi\r\n"),
    "pop3, the handshake": (read_pop3_by_tls, b""),
    "tarantool, the greeting": (ask_tarantool, b""),
}


@pytest.mark.parametrize("case", CASES)
def test_a_deadline_stays_one(case: str) -> None:
    ask, text = CASES[case]

    def work() -> Any:
        with gevent.Timeout(0.05, deadline):
            ask(port)

    deadline = DeadlineExceeded()
    with saying(text) as port:
        with pytest.raises(DeadlineExceeded) as caught:
            gevent.spawn(work).get(timeout=PATIENCE)
        assert caught.value is deadline


def test_a_deadline_that_is_being_handled_is_not_told_again() -> None:
    """What goes wrong while somebody cleans up after a deadline is what it is."""
    for ask, error in (
        (ask_http, http.ConnectFailed),
        (ask_redis, redis.ConnectionError),
        (send_mail, MailUnavailable),
    ):
        try:
            raise DeadlineExceeded
        except DeadlineExceeded:
            with pytest.raises(error):
                ask(1)


def test_a_deadline_while_a_connection_is_checked() -> None:
    """It is not the connection that does not answer."""

    class Slow(Connector[object]):
        def connect(self, timeout: float) -> object:
            return object()

        def close(self, connection: object) -> None:
            pass

        def is_alive(self, connection: object, timeout: float) -> bool:
            gevent.sleep(PATIENCE)
            return True

    def work() -> None:
        with gevent.Timeout(0.01, DeadlineExceeded()):
            pool.acquire()

    pool = Pool(Slow(), check_after=0.0)
    pool.acquire().release()
    with pytest.raises(DeadlineExceeded):
        gevent.spawn(work).get(timeout=PATIENCE)
    assert pool.statistics().held == 0
    pool.close()

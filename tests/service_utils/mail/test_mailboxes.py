"""IMAP and POP3 against scripted servers, in greenlets."""

from __future__ import annotations

import base64
import socket
import ssl
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from certificates import server_context

from service_utils.mail import LoginFailed, MailUnavailable, open_imap, open_pop3

HELLO = b"From: a@b\r\nSubject: hello\r\n\r\nbody\r\n"


class Imap:
    """As much of IMAP as the tests need."""

    def __init__(self, certificate: Any = None, tls: str = "none") -> None:
        self.certificate, self.tls = certificate, tls
        self.said: list[bytes] = []

    def __call__(self, connection: Any) -> None:
        if self.tls == "implicit":
            with server_context(self.certificate).wrap_socket(connection, server_side=True) as secured:
                self.talk(secured)
        else:
            self.talk(connection)

    def talk(self, connection: Any) -> None:
        file = connection.makefile("rwb", 0)
        file.write(b"* OK [CAPABILITY IMAP4rev1 STARTTLS IDLE AUTH=XOAUTH2] hi\r\n")
        for line in file:
            self.said.append(line.strip())
            tag, word = line.split()[:2]
            answer = b"OK done"
            match word.upper():
                case b"CAPABILITY":
                    file.write(b"* CAPABILITY IMAP4rev1 STARTTLS IDLE AUTH=XOAUTH2\r\n")
                case b"STARTTLS":
                    file.write(tag + b" OK go\r\n* 99 FORGED\r\n")
                    with server_context(self.certificate).wrap_socket(connection, server_side=True) as secured:
                        return self.go_on(secured.makefile("rwb", 0))
                case b"LOGIN" if b"wrong" in line:
                    answer = b"NO [AUTHENTICATIONFAILED] no"
                case b"SELECT":
                    file.write(b"* 2 EXISTS\r\n")
                case b"SEARCH":
                    file.write(b"* SEARCH 1 2\r\n")
                case b"FETCH":
                    file.write(b"* 1 FETCH (UID 1 RFC822 {%d}\r\n%s)\r\n" % (len(HELLO), HELLO))
                case b"UID" if b"FETCH" in line:
                    file.write(b"* 1 FETCH (UID 1 RFC822 {%d}\r\n%s)\r\n" % (len(HELLO), HELLO))
                case b"UID" if b"SEARCH" in line:
                    file.write(b"* SEARCH 1 2\r\n")
                case b"AUTHENTICATE":
                    self.said.append(base64.b64decode(line.split()[3]) if len(line.split()) > 3 else b"")
                    if len(line.split()) <= 3:
                        file.write(b"+ \r\n")
                        self.said.append(base64.b64decode(file.readline()))
                case b"IDLE":
                    file.write(b"+ idling\r\n* 3 EXISTS\r\n* 1 RECENT\r\n")
                    file.readline()
                case b"NOOP":
                    return None  # never answers
            file.write(tag + b" " + answer + b"\r\n")
        return None

    def go_on(self, file: Any) -> None:
        for line in file:
            self.said.append(line.strip())
            if b"CAPABILITY" in line:
                file.write(b"* CAPABILITY IMAP4rev1\r\n")
            file.write(line.split()[0] + b" OK done\r\n")


def test_imap(scripted: Callable[..., int]) -> None:
    server = Imap()
    port = scripted(server)

    def read() -> Any:
        with open_imap("127.0.0.1", port, tls="none", user="ann", password="s3cret") as box:
            box.select_folder("INBOX")
            found = box.fetch(box.search("UNSEEN"), ["RFC822"])
            box.idle()
            seen = box.idle_check(timeout=20)
            assert box.idle_check(timeout=0.01) == []
            box.idle_done()
        return found, seen

    found, seen = gevent.spawn(read).get()
    assert found[1][b"RFC822"] == HELLO
    assert (3, b"EXISTS") in seen
    assert b"LOGOUT" in server.said[-1]


def test_imap_tls(scripted: Callable[..., int], certificate: Any) -> None:
    context = ssl.create_default_context(cafile=str(certificate))
    for tls in ("implicit", "starttls"):
        server = Imap(certificate, tls)
        port = scripted(server)
        with open_imap("127.0.0.1", port, tls=tls, user="ann", password="s3cret", context=context) as box:
            assert box.welcome
        assert any(b"LOGIN" in line for line in server.said)
        with pytest.raises(MailUnavailable):
            open_imap("127.0.0.1", scripted(Imap(certificate, tls)), tls=tls)


def test_imap_fails(scripted: Callable[..., int]) -> None:
    port = scripted(Imap())
    with pytest.raises(LoginFailed, match="AUTHENTICATIONFAILED"):
        open_imap("127.0.0.1", port, tls="none", user="ann", password="wrong")
    with pytest.raises(MailUnavailable):
        open_imap("127.0.0.1", scripted(lambda c: c.shutdown(socket.SHUT_RDWR)), tls="none")
    with pytest.raises(MailUnavailable):
        open_imap("127.0.0.1", scripted(lambda c: None), tls="none", timeout=0.2)
    with pytest.raises(MailUnavailable):
        open_imap("127.0.0.1", scripted(lambda c: c.sendall(b"* OK " + b"x" * 3_000_000)), tls="none")
    box = open_imap("127.0.0.1", port, tls="none")
    box.socket().each = 0.1
    with pytest.raises((OSError, box.AbortError)):
        box.noop()
    box.shutdown()
    for function in (open_imap, open_pop3):
        with pytest.raises(LoginFailed, match="clear text"):
            function("mail.example.org", tls="none", user="ann", password="x")
        with pytest.raises(ValueError, match="implicit, starttls or none"):
            function("mail.example.org", tls="perhaps")


def test_imap_injection(scripted: Callable[..., int]) -> None:
    """Users and passwords come from forms, perhaps."""
    for user, password in (("ann\r\nA9 DELETE x", "p"), ("ann", "p\r\nA9 DELETE x"), ("ann\0", "p"), ("ann\n", "p")):
        for function in (open_imap, open_pop3):
            with pytest.raises(LoginFailed, match="control character"):
                function("127.0.0.1", 1, tls="none", user=user, password=password)
    for user, password, said in (
        ("ann smith", 'a"b\\c', b'LOGIN "ann smith" "a\\"b\\\\c"'),
        ('a"b', "p", b'LOGIN "a\\"b" "p"'),
        ("ann@example.org", "p", b'LOGIN ann@example.org "p"'),
        ("änn", "pässword", "\0änn\0pässword".encode()),
    ):
        server = Imap()
        with open_imap("127.0.0.1", scripted(server), tls="none", user=user, password=password):
            pass
        assert any(said in line for line in server.said), server.said


def test_imap_literals_have_a_limit(scripted: Callable[..., int]) -> None:
    """Before room is made for them."""

    class Bomb(Imap):
        def talk(self, connection: Any) -> None:
            connection.sendall(b"* OK [CAPABILITY IMAP4rev1] hi\r\n")
            connection.recv(1000)
            connection.sendall(b"* 1 FETCH (RFC822 {4000000000}\r\n")
            connection.recv(1000)

    with pytest.raises(MailUnavailable, match="max_bytes"):
        open_imap("127.0.0.1", scripted(Bomb()), tls="none")


def test_imap_token(scripted: Callable[..., int]) -> None:
    server = Imap()
    with open_imap("127.0.0.1", scripted(server), tls="none", user="ann", token=lambda: "good"):
        pass
    assert any(b"user=ann\x01auth=Bearer good\x01\x01" in line for line in server.said)


def pop3(connection: Any, secured: Any = None) -> None:
    file = connection.makefile("rwb", 0)
    if secured is None:
        file.write(b"+OK hi\r\n")
    for line in file:
        match line.split()[0].upper():
            case b"STLS":
                file.write(b"+OK go\r\n+OK forged\r\n")
                context = server_context(pop3.certificate)  # type: ignore[attr-defined]
                with context.wrap_socket(connection, server_side=True) as inside:
                    return pop3(inside, True)
            case b"PASS" if b"wrong" in line:
                file.write(b"-ERR [AUTH] no\r\n")
            case b"CAPA":
                file.write(b"+OK\r\nSTLS\r\nSASL XOAUTH2\r\n.\r\n")
            case b"STAT":
                file.write(b"+OK 1 %d\r\n" % len(HELLO))
            case b"RETR":
                file.write(b"+OK\r\n" + HELLO + b".\r\n")
            case b"AUTH" if b"good" not in base64.b64decode(line.split()[2]):
                file.write(b"-ERR no\r\n")
            case _:
                file.write(b"+OK\r\n")
    return None


def test_pop3(scripted: Callable[..., int], certificate: Any) -> None:
    port = scripted(pop3)
    pop3.certificate = certificate  # type: ignore[attr-defined]

    def read() -> Any:
        with open_pop3("127.0.0.1", port, tls="none", user="ann", password="s3cret") as box:
            assert box.stat() == (1, len(HELLO))
            return box.retr(1)[1]

    assert gevent.spawn(read).get() == HELLO.splitlines()
    context = ssl.create_default_context(cafile=str(certificate))
    with open_pop3("127.0.0.1", port, tls="starttls", user="ann", token="good", context=context) as box:
        assert box.stat()[0] == 1
    for more in ({"password": "wrong"}, {"token": "bad"}):
        with pytest.raises(LoginFailed):
            open_pop3("127.0.0.1", port, tls="none", user="ann", **more)  # type: ignore[arg-type]
    with pytest.raises(MailUnavailable):
        open_pop3("127.0.0.1", port, tls="starttls")
    with pytest.raises(MailUnavailable):
        open_pop3("127.0.0.1", scripted(lambda c: None), tls="none", timeout=0.2)

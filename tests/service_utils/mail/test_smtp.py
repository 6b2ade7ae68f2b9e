"""Sending, to a server that works, and to servers that do not."""

from __future__ import annotations

import base64
import pickle
import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any

import gevent
import pytest
from serving import free_port

from service_utils.mail import (
    BadMessage,
    DeliveryUncertain,
    LoginFailed,
    Mailer,
    MailUnavailable,
    MessageRefused,
    RecipientsRefused,
    SenderRefused,
    compose,
)
from service_utils.mail.smtp import is_local

MESSAGE = compose(sender="ann@example.org", to="bob@example.org", subject="Hello", text=".dot\r\n.\r\n..dots\r\nend")


def plain(port: int, **more: Any) -> Mailer:
    return Mailer("127.0.0.1", port, **{"tls": "none", "timeout": 20} | more)


def test_delivery(smtp: Callable[..., Any]) -> None:
    server = smtp()
    with plain(server.port) as mailer:
        for _ in range(3):
            done = mailer.send(MESSAGE)
        assert mailer.statistics().connected == 1
    assert (done.accepted, done.refused, done.answer) == (("bob@example.org",), {}, "queued as 7")
    [*_, got] = server.box.messages
    head, _, body = got.content.partition(b"\r\n\r\n")
    assert f"Message-ID: {done.message_id}".encode() in head
    assert b"\r\nDate: " in b"\r\n" + head
    assert body == b".dot\r\n.\r\n..dots\r\nend\r\n"
    assert (got.mail_from, got.rcpt_tos) == ("ann@example.org", ["bob@example.org"])
    assert MESSAGE["Date"] is MESSAGE["Message-ID"] is None, "the message itself stays as it was"


def test_bcc_and_large(smtp: Callable[..., Any]) -> None:
    from service_utils.mail import Attachment

    server = smtp(data_size_limit=5_000_000)
    made = compose(
        sender="ann@example.org", to="bob@example.org", bcc=[f"{name}@example.org" for name in ("eve", *range(20))],
        attachments=[Attachment("large.bin", bytes(2_000_000))],
    )  # fmt: skip
    with plain(server.port) as mailer:
        assert len(gevent.spawn(mailer.send, made).get().accepted) == 22
        small = mailer.send(MESSAGE, sender="bounces@example.org", recipients=["list@example.org"])
        with pytest.raises(MessageRefused, match="server takes 5000000"):
            mailer.send(compose(sender="a@b", to="c@d", attachments=[Attachment("x", bytes(4_000_000))]))
        assert small.accepted == ("list@example.org",)
        assert mailer.statistics().connected == 1
    assert b"eve" not in server.box.messages[0].content
    assert len(server.box.messages[0].content) > 2_600_000
    assert server.box.messages[1].mail_from == "bounces@example.org"


def test_partial_failure(smtp: Callable[..., Any]) -> None:
    server = smtp()
    server.box.refuse = {"full@example.org": "452 4.2.2 mailbox full", "no@example.org": "550 5.1.1 no such user"}
    with plain(server.port) as mailer:
        to = ["no@example.org", "bob@example.org", "full@example.org"]
        done = mailer.send(MESSAGE, recipients=to)
        assert done.accepted == ("bob@example.org",)
        assert repr(dict(done.refused)["no@example.org"]) == "550 5.1.1 no such user"
        assert {address: why.temporary for address, why in done.refused.items()} == {
            "no@example.org": False,
            "full@example.org": True,
        }
        with pytest.raises(RecipientsRefused) as caught:
            mailer.send(MESSAGE, recipients=["no@example.org"])
        assert not caught.value.temporary
        assert "no such user" in str(pickle.loads(pickle.dumps(caught.value)))
        server.box.answer = "554 5.7.1 looks like spam"
        with pytest.raises(MessageRefused, match="spam"):
            mailer.send(MESSAGE)
        server.box.answer = "250 ok"
        mailer.send(MESSAGE)
        assert mailer.statistics().connected == 1, "after each of them the connection was good"
    assert len(server.box.messages) == 2


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
def test_tls_and_login(smtp: Callable[..., Any], tls: str) -> None:
    server = smtp(tls)
    reach: dict[str, Any] = {"tls": tls, "context": server.context, "timeout": 20}
    good = {"user": "ann", "password": "pässword"}
    with Mailer("127.0.0.1", server.port, **reach, **good) as mailer:
        mailer.send(MESSAGE)
    assert server.box.logins == [("PLAIN", "ann")]
    with (
        Mailer("127.0.0.1", server.port, **reach, user="ann", password="wrong") as mailer,
        pytest.raises(LoginFailed, match="535"),
    ):
        mailer.send(MESSAGE)
    with (
        Mailer("127.0.0.1", server.port, **reach | {"context": None}, **good) as mailer,
        pytest.raises(MailUnavailable, match="not who it should be"),
    ):
        mailer.send(MESSAGE)
    with (
        Mailer("localhost", server.port, **reach, **good) as mailer,
        pytest.raises(MailUnavailable, match="not who it should be"),
    ):
        mailer.send(MESSAGE)
    assert server.box.logins[2:] == []


def test_login_kinds(smtp: Callable[..., Any]) -> None:
    server = smtp(auth_exclude_mechanism=["PLAIN"])
    with plain(server.port, user="ann", password="pässword") as mailer:
        mailer.send(MESSAGE)
    assert server.box.logins == [("LOGIN", "ann")]


def test_xoauth2(scripted: Callable[..., int]) -> None:
    said: list[bytes] = []

    def server(connection: socket.socket) -> None:
        file = connection.makefile("rwb", 0)
        file.write(b"220 hi\r\n")
        for line in file:
            said.append(line.strip())
            word = line.split()[0].upper() if line.strip() else b""
            if word == b"EHLO":
                file.write(b"250-hi\r\n250 AUTH XOAUTH2\r\n")
            elif word == b"AUTH" and b"token 2" in base64.b64decode(line.split()[2]):
                file.write(b"235 welcome\r\n")
            elif word == b"AUTH":
                file.write(b"334 " + base64.b64encode(b'{"status":"401"}') + b"\r\n")
            elif word == b"":
                file.write(b"535 5.7.8 no\r\n")
            else:
                file.write(b"354 go on\r\n" if word == b"DATA" else b"250 ok\r\n")
                if word == b"DATA":
                    while file.readline() != b".\r\n":
                        pass
                    file.write(b"250 ok\r\n")

    number = 0

    def token() -> str:
        nonlocal number
        number += 1
        return f"token {number}"

    with plain(scripted(server), user="ann@example.org", token=token) as mailer:
        with pytest.raises(LoginFailed, match=r'535 5\.7\.8 no \{"status":"401"\}'):
            mailer.send(MESSAGE)
        mailer.send(MESSAGE)
    asked = [base64.b64decode(line.split()[2]) for line in said if line.startswith(b"AUTH XOAUTH2")]
    assert asked == [f"user=ann@example.org\x01auth=Bearer token {n}\x01\x01".encode() for n in (1, 2)]


def test_never_in_clear_text(smtp: Callable[..., Any]) -> None:
    server = smtp()
    with (
        Mailer("127.0.0.1", server.port, user="ann", password="x", context=server.context) as mailer,
        pytest.raises(MailUnavailable, match="does not offer STARTTLS"),
    ):
        mailer.send(MESSAGE)
    assert server.box.logins == []
    for host in ("mail.example.org", "127.evil.example", "10.0.0.1"):
        assert not is_local(host)
        with pytest.raises(LoginFailed, match="clear text"):
            Mailer(host, tls="none", user="ann", password="x")


def test_starttls_throws_away_what_was_said_before(scripted: Callable[..., int], certificate: Any) -> None:
    """Answers that somebody has put behind the one to STARTTLS, in clear text (CVE-2021-38371 and its kin)."""
    from certificates import server_context

    def server(connection: socket.socket) -> None:
        file = connection.makefile("rwb", 0)
        file.write(b"220 hi\r\n")
        file.readline()
        file.write(b"250-hi\r\n250 STARTTLS\r\n")
        file.readline()
        file.write(b"220 go\r\n250-forged\r\n250 AUTH PLAIN\r\n")
        try:
            secured = server_context(certificate).wrap_socket(connection, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with secured:
            inside = secured.makefile("rwb", 0)
            inside.readline()
            inside.write(b"250 SIZE 5\r\n")
            inside.readline()

    context = ssl.create_default_context(cafile=str(certificate))
    with Mailer("127.0.0.1", scripted(server), context=context, timeout=20) as mailer:
        with pytest.raises((MessageRefused, MailUnavailable)) as caught:
            mailer.send(MESSAGE)
        assert "forged" not in str(caught.value)


def test_servers_that_fail(scripted: Callable[..., int]) -> None:
    def closes(connection: socket.socket) -> None:
        connection.shutdown(socket.SHUT_RDWR)

    def floods(connection: socket.socket) -> None:
        while True:
            connection.sendall(b"220-" + b"x" * 1000 + b"\r\n")

    for function, says, patience in (
        (closes, "cannot be reached", 20),
        (lambda c: c.sendall(b"554 go away\r\n"), "go away", 20),
        (lambda c: c.sendall(b"what?\r\n"), "does not want to talk", 20),
        (lambda c: None, "the time|nothing happened|Connection unexpectedly", 0.3),
        (floods, "says more than", 20),
        (lambda c: c.sendall(b"220 " + b"x" * 20_000), "Line too long|does not want", 20),
    ):
        with (
            plain(scripted(function), timeout=patience) as mailer,
            pytest.raises(MailUnavailable, match=says) as caught,
        ):
            mailer.send(MESSAGE)
        assert caught.value.temporary
    with plain(free_port()) as mailer, pytest.raises(MailUnavailable, match="refused"):
        mailer.send(MESSAGE)


def conversation(connection: socket.socket, answers: list[bytes]) -> Any:
    file = connection.makefile("rwb", 0)
    file.write(b"220 hi\r\n")
    for answer in answers:
        file.readline()
        file.write(answer)
    return file


def test_hung_up_after_the_message(scripted: Callable[..., int]) -> None:
    def server(connection: socket.socket) -> None:
        file = conversation(connection, [b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"])
        while file.readline() != b".\r\n":
            pass
        connection.shutdown(socket.SHUT_RDWR)

    with plain(scripted(server)) as mailer, pytest.raises(DeliveryUncertain):
        mailer.send(MESSAGE)


def test_sender_refused(scripted: Callable[..., int]) -> None:
    def server(connection: socket.socket) -> None:
        conversation(connection, [b"250 hi\r\n", b"451 4.7.1 greylisted\r\n", b"250 ok\r\n"])

    with plain(scripted(server)) as mailer, pytest.raises(SenderRefused, match="greylisted") as caught:
        mailer.send(MESSAGE)
    assert caught.value.temporary


@pytest.mark.parametrize("way", ["closed", "421"])
def test_a_kept_connection_that_has_ended(scripted: Callable[..., int], way: str) -> None:
    """Another one is made, and the message goes out once."""
    served: list[int] = []

    def server(connection: socket.socket) -> None:
        file = conversation(connection, [b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"])
        while file.readline() != b".\r\n":
            pass
        served.append(1)
        file.write(b"250 ok\r\n")
        if way == "421":
            file.readline()
            file.write(b"421 too long idle\r\n")
        connection.shutdown(socket.SHUT_RDWR)

    with plain(scripted(server)) as mailer:
        for _ in range(3):
            mailer.send(MESSAGE)
        assert mailer.statistics().connected == 3
    assert len(served) == 3


def test_interrupted(scripted: Callable[..., int]) -> None:
    """The connection in the middle of a message is ended, and never given to the next one."""
    count = 0
    reached = threading.Event()

    def server(connection: socket.socket) -> None:
        nonlocal count
        count += 1
        if count == 1:
            conversation(connection, [b"250 hi\r\n", b"250 ok\r\n"]).readline()
            reached.set()
            return
        file = conversation(connection, [b"250 hi\r\n", b"250 ok\r\n", b"250 ok\r\n", b"354 go\r\n"])
        while file.readline() != b".\r\n":
            pass
        file.write(b"250 second\r\n")

    with plain(scripted(server), size=1) as mailer:
        sending = gevent.spawn(mailer.send, MESSAGE)
        while not reached.is_set():
            gevent.sleep(0.001)
        sending.kill()
        assert gevent.spawn(mailer.send, MESSAGE).get().answer == "second"
        assert (mailer.statistics().discarded, mailer.statistics().connected) == (1, 2)


def test_one_mailer_for_hubs_and_threads(smtp: Callable[..., Any]) -> None:
    server = smtp()
    with plain(server.port, size=3) as mailer:
        sending = [gevent.spawn(mailer.send, MESSAGE) for _ in range(10)]
        gevent.joinall(sending, raise_error=True)
        gevent.get_hub().threadpool.apply(mailer.send, (MESSAGE,))
        gevent.get_hub().threadpool.kill()
        assert mailer.statistics().connected <= 3
    assert len(server.box.messages) == 11


def test_max_messages(smtp: Callable[..., Any]) -> None:
    server = smtp()
    with plain(server.port, max_messages=2) as mailer:
        for _ in range(5):
            mailer.send(MESSAGE)
        assert mailer.statistics().connected == 3


def test_bad_messages() -> None:
    with plain(1) as mailer:
        evil = compose(sender="ann@example.org", to="bob@example.org")
        evil._headers.append(("Subject", "x\r\nBcc: eve@example.org"))  # type: ignore[attr-defined]
        for message, more in (
            (evil, {}),
            (MESSAGE, {"recipients": ["a@b>\r\nDATA"]}),
            (MESSAGE, {"sender": "a@b\r\nRSET"}),
            (compose(sender="a@b"), {}),
        ):
            with pytest.raises(BadMessage):
                mailer.send(message, **more)  # type: ignore[arg-type]


def test_settings() -> None:
    with Mailer.from_url("smtps://ann%40example.org:p%2Fw@mail.example.org") as mailer:
        assert (mailer.host, mailer.port, mailer.tls) == ("mail.example.org", 465, "implicit")
        assert (mailer.user, mailer.password) == ("ann@example.org", "p/w")
        assert "p/w" not in repr(mailer.pool.statistics())
    with Mailer.from_url("smtp://mail.example.org:2525?tls=none", size=1) as mailer:
        assert (mailer.port, mailer.tls) == (2525, "none")
    for bad in ("http://a", "smtp://", "smtp://a?tls=maybe", "smtp://a?what=1", "smtp://ann@mail.example.org"):
        with pytest.raises(ValueError, match=r"smtp://|tls|setting|password"):
            Mailer.from_url(bad)
    for bad in ("smtp://ann:s3cret/x@h", "smtp://ann:s3cret\u2100@h"):
        with pytest.raises(ValueError, match="percent-encoded") as caught:
            Mailer.from_url(bad)
        assert "s3cret" not in str(caught.value)

"""IMAP and POP3 against a real server, Dovecot: in greenlets of several hubs, in threads, with TLS of both kinds."""

from __future__ import annotations

import email
import email.policy
import ssl
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

sys.path.insert(0, str(Path(__file__).parents[1]))
import servers

from evpy.errors import DeadlineExceeded
from service_utils.mail import Attachment, LoginFailed, Mailer, MailUnavailable, compose, open_imap, open_pop3

Port = Callable[[str, str], int]


@pytest.fixture(scope="module")
def _dovecot() -> Iterator[None]:
    servers.start({"dovecot"})
    yield
    if (running := servers.running.pop("dovecot", None)) is not None:
        running.remove()


@pytest.fixture
def server(_dovecot: None) -> Any:
    found = servers.get("dovecot")
    found.empty()
    return found


def reach(server: Any, protocol: str, tls: str = "implicit") -> dict[str, Any]:
    """Arguments of open_imap and open_pop3."""
    ports = {
        ("imap", "implicit"): server.imaps_port, ("imap", "other"): server.port,
        ("pop3", "implicit"): server.pop3s_port, ("pop3", "other"): server.pop3_port,
    }  # fmt: skip
    return {
        "host": "127.0.0.1", "port": ports[protocol, tls if tls == "implicit" else "other"], "tls": tls, "user": "ann",
        "password": servers.MAIL_PASSWORD, "context": ssl.create_default_context(cafile=str(server.certificate)),
    }  # fmt: skip


def message(subject: str, size: int = 10) -> bytes:
    made = compose(
        sender="Bob <bob@test>", to="ann@test", subject=subject, text="Grüße\n.\nFrom here",
        attachments=[Attachment("data.bin", bytes(range(256)) * (size // 256 + 1))],
    )  # fmt: skip
    return made.as_bytes(policy=email.policy.SMTP)


def text_of(found: Any, kind: str = "plain") -> list[str]:
    """The lines of its body."""
    return list(found.get_body((kind,)).get_content().splitlines())


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
@pytest.mark.parametrize("hub", [True, False])
def test_imap(server: Any, tls: str, hub: bool) -> None:
    """Puts messages in, finds, reads, marks, moves and removes them."""

    def work() -> None:
        with open_imap(**reach(server, "imap", tls)) as box:
            big = message("a big one", 300_000)
            box.append("INBOX", big)
            box.append("INBOX", message("Prüfung"), flags=[b"\\Seen"])
            assert box.select_folder("INBOX")[b"EXISTS"] == 2
            (number,) = box.search("UNSEEN")
            raw = box.fetch([number], ["RFC822"])[number][b"RFC822"]
            assert raw == big
            found = email.message_from_bytes(raw, policy=email.policy.default)
            assert (found["Subject"], text_of(found)) == ("a big one", ["Grüße", ".", "From here"])
            (other,) = box.search(["SUBJECT", "Prüfung"], "UTF-8")
            assert b"\\Seen" in box.get_flags([other])[other]
            box.create_folder("Ablage Ü")
            box.move([other], "Ablage Ü")
            box.delete_messages([number])
            box.expunge()
            assert box.search("ALL") == []
            assert box.select_folder("Ablage Ü", readonly=True)[b"EXISTS"] == 1

    in_thread(work, hub=hub).result(PATIENCE)


@pytest.mark.parametrize("tls", ["implicit", "starttls", "none"])
def test_pop3(server: Any, tls: str) -> None:
    with open_imap(**reach(server, "imap")) as box:
        for subject in ("first", "second"):
            box.append("INBOX", message(subject, 100_000))

    def work() -> None:
        with open_pop3(**reach(server, "pop3", tls)) as box:
            assert box.stat()[0] == 2
            lines = box.retr(1)[1]
            found = email.message_from_bytes(b"\r\n".join(lines), policy=email.policy.default)
            assert (found["Subject"], text_of(found)) == ("first", ["Grüße", ".", "From here"])
            assert len(set(box.uidl()[1])) == 2
            box.dele(1)
        with open_pop3(**reach(server, "pop3", tls)) as box:
            assert box.stat()[0] == 1

    gevent.spawn(work).get(timeout=PATIENCE)
    in_thread(lambda: open_pop3(**reach(server, "pop3", tls)).close()).result(PATIENCE)


def test_idle(server: Any) -> None:
    """The server says when something comes; other greenlets go on meanwhile."""
    ticks = []

    def listen() -> list[Any]:
        with open_imap(**reach(server, "imap")) as box:
            box.select_folder("INBOX")
            box.idle()
            assert box.idle_check(0.05) == []
            begun.set()
            said: list[Any] = []
            while (1, b"EXISTS") not in said:
                said += box.idle_check(PATIENCE)
            box.idle_done()
            assert box.search("ALL") == [1]
            return said

    begun = gevent.event.Event()
    listening = gevent.spawn(listen)
    begun.wait(PATIENCE)
    with open_imap(**reach(server, "imap")) as box:
        box.append("INBOX", message("now"))
    while not listening.ready():
        ticks.append(1)
        gevent.sleep(0.001)
    assert (1, b"EXISTS") in listening.get()


@pytest.mark.parametrize("protocol", ["imap", "pop3"])
def test_logins_and_certificates(server: Any, protocol: str) -> None:
    open_box: Any = open_imap if protocol == "imap" else open_pop3
    for tls in ("implicit", "starttls"):
        for wrong in ({"password": "wrong"}, {"user": "nobody"}, {"user": "bob"}):
            with pytest.raises(LoginFailed) as caught:
                open_box(**reach(server, protocol, tls) | wrong)
            assert servers.MAIL_PASSWORD not in str(caught.value)
        with pytest.raises(MailUnavailable, match=r"not who it should be|certificate verify failed"):
            open_box(**reach(server, protocol, tls) | {"context": ssl.create_default_context()})
    with pytest.raises(MailUnavailable):  # TLS on the port without
        open_box(**reach(server, protocol, "none") | {"tls": "implicit", "timeout": 5})


def test_many_at_a_time_and_killed(server: Any) -> None:
    """Each has a connection of their own; a deadline in the middle ends nothing but that."""
    with open_imap(**reach(server, "imap")) as box:
        for n in range(5):
            box.append("INBOX", message(f"number {n}", 20_000))

    def read(n: int) -> str:
        with open_imap(**reach(server, "imap")) as box:
            box.select_folder("INBOX", readonly=True)
            ((_, found),) = box.fetch([n + 1], ["RFC822"]).items()
            return str(email.message_from_bytes(found[b"RFC822"], policy=email.policy.default)["Subject"])

    def hub() -> list[str]:
        reading = [gevent.spawn(read, n) for n in range(5)]
        killed = gevent.spawn(read, 0)
        gevent.sleep(0.005)
        killed.kill(timeout=PATIENCE)
        return [each.get() for each in reading]

    for result in [in_thread(hub, hub=True) for _ in range(2)]:
        assert result.result(PATIENCE) == [f"number {n}" for n in range(5)]

    def wait() -> None:
        with open_imap(**reach(server, "imap")) as box:
            box.select_folder("INBOX")
            box.idle()
            with gevent.Timeout(0.02, DeadlineExceeded()):
                box.idle_check()

    with pytest.raises(DeadlineExceeded):
        gevent.spawn(wait).get(timeout=PATIENCE)


def test_from_smtp_to_imap(server: Any, smtp: Callable[..., Any]) -> None:
    """What was sent is what is read."""
    started = smtp("starttls")
    sent = compose(
        sender="Bob <bob@test>", to="Änn <ann@test>", subject="Übermut tut selten gut " * 5,
        text="x" * 2000 + "\n.\nFrom\n", html="<p>ö</p>", attachments=[Attachment("ü.txt", "ß".encode())],
    )  # fmt: skip
    mailer = Mailer("127.0.0.1", started.port, tls="starttls", context=started.context)
    try:
        mailer.send(sent)
    finally:
        mailer.close()
    (envelope,) = started.box.messages
    with open_imap(**reach(server, "imap")) as box:
        box.append("INBOX", envelope.content)
        box.select_folder("INBOX")
        found = email.message_from_bytes(box.fetch([1], ["RFC822"])[1][b"RFC822"], policy=email.policy.default)
    assert (found["Subject"], found["To"]) == (sent["Subject"], sent["To"])
    for kind in ("plain", "html"):
        assert text_of(found, kind) == text_of(sent, kind)
    (attached,) = found.iter_attachments()
    assert (attached.get_filename(), attached.get_content()) == ("ü.txt", "ß")

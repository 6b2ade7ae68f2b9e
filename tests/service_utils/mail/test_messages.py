"""Messages: what they become, and what cannot be smuggled into them."""

from __future__ import annotations

import email
import email.policy
from email.headerregistry import Address
from email.message import EmailMessage, Message
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service_utils.mail import Attachment, BadMessage, compose, messages
from service_utils.mail.messages import check_address, check_message, recipients_of, serialise

BASE: dict[str, Any] = {"sender": "Ann Ä <ann@example.org>", "to": "bob@example.org"}


def parsed(message: Message) -> EmailMessage:
    found = email.message_from_bytes(serialise(message, False), policy=email.policy.default)
    assert isinstance(found, EmailMessage)
    return found


def test_parts(tmp_path: Path) -> None:
    (tmp_path / "räport.pdf").write_bytes(b"%PDF")
    made = compose(
        **BASE | {"to": ["bob@example.org", Address("Eve, Q.C.", "eve", "example.org")]},
        cc=["c@example.org"],
        bcc="d@example.org",
        reply_to="e@example.org",
        subject="Grüße und mehr " + "x" * 200,
        text="text ünd\r.\n.mehr",
        html='<img src="cid:logo">',
        attachments=[Attachment.from_file(tmp_path / "räport.pdf"), Attachment("l.png", b"\x89PNG", inline_id="logo")],
        headers={"X-Campaign": "7"},
    )
    check_message(made)
    found = parsed(made)
    assert found["Subject"].endswith("x" * 200)
    assert found["From"].addresses[0].display_name == "Ann Ä"
    assert recipients_of(found) == [f"{n}@example.org" for n in ("bob", "eve", "c", "d")]
    text, html = found.get_body(("plain",)), found.get_body(("html",))
    assert text is not None
    assert html is not None
    assert "ünd" in text.get_content()
    assert [part.get_filename() for part in found.iter_attachments()] == ["räport.pdf"]
    assert [part["Content-ID"] for part in found.walk() if part["Content-ID"]] == ["<logo>"]
    raw = serialise(made, False)
    assert raw.isascii()
    assert raw.replace(b"\r\n", b"").find(b"\r") == raw.replace(b"\r\n", b"").find(b"\n") == -1
    only_html = parsed(compose(**BASE, html="<p>"))
    assert only_html.get_content_type() == "text/html"


INJECTIONS = [
    "a\r\nBcc: eve@example.org",
    "a\nBcc: eve@example.org",
    "a\rBcc: x",
    "a\r\n\r\nbody",
    "a\0b",
    "a\n \nBcc: x",
]


@pytest.mark.parametrize("evil", INJECTIONS)
def test_injection(evil: str) -> None:
    for more in (
        {"subject": evil},
        {"headers": {"X-Name": evil}},
        {"headers": {evil: "x"}},
        {"to": evil},
        {"to": f"{evil} <bob@example.org>"},
        {"to": f"bob@example.org{evil}"},
        {"sender": f"ann@{evil}"},
        {"reply_to": evil},
        {"attachments": [Attachment(evil, b"")]},
        {"attachments": [Attachment("a", b"", type=f"text/{evil}")]},
        {"html": "x", "attachments": [Attachment("a", b"", inline_id=evil)]},
    ):
        with pytest.raises(BadMessage):
            check_message(compose(**BASE | more))
    old = Message()  # the library's older kind takes everything
    old["Subject"] = evil
    with pytest.raises(BadMessage, match="Subject"):
        check_message(old)
    nested = compose(**BASE, attachments=[Attachment("a.txt", b"x")])
    next(nested.iter_attachments()).add_header("X-Evil", "ok")
    next(nested.iter_attachments())._headers[-1] = ("X-Evil", evil)  # type: ignore[attr-defined]
    with pytest.raises(BadMessage, match="X-Evil"):
        check_message(nested)


@settings(max_examples=50)
@given(st.text(max_size=40), st.text(max_size=40))
def test_no_subject_or_name_makes_a_header(subject: str, name: str) -> None:
    try:
        made = compose(sender="ann@example.org", to=Address(name, "bob", "example.org"), subject=subject)
        check_message(made)
        raw = serialise(made, False)
    except (ValueError, UnicodeError, IndexError, AttributeError):
        return
    names = [line.split(b":")[0] for line in raw.split(b"\r\n\r\n")[0].split(b"\r\n") if line[:1] not in (b" ", b"\t")]
    assert set(names) <= {
        b"From", b"To", b"Subject", b"Content-Type", b"Content-Transfer-Encoding", b"MIME-Version",
    }  # fmt: skip


def test_addresses() -> None:
    for good in ("a@b", '"a b"@example.org'.replace(" ", "."), "ü@example.org", "a+b@example.org", "a@[127.0.0.1]"):
        assert check_address(good) == good
    assert check_address("a@bücher.example") == "a@xn--bcher-kva.example"
    for bad in ("", "a", "@b", "a@", "a b@c", "a@b c", "a@b\r\nRCPT TO:<x@y>", "<a@b>", "a@b>", "a@b@c", "a@b,c@d",
                "a@" + "b" * 300, "x" * 65 + "@b", "a\0@b", "a@\udcff"):  # fmt: skip
        with pytest.raises(BadMessage):
            check_address(bad)
    for bad in ("nobody", "", "a b", "<>", "Ann <>", "Ann <x>"):
        with pytest.raises(BadMessage):
            compose(sender="ann@example.org", to=bad or [bad])


def test_no_lone_line_ends() -> None:
    """Of which one server would make the end of the message, and the next one would not."""
    for kind in (Message, EmailMessage):
        made = kind()
        made["Content-Transfer-Encoding"] = "binary"
        made.set_payload("a\n.\nb\r.\rMAIL FROM:<x@y>\r\n.\rc")
        raw = serialise(made, False)
        assert raw.count(b"\r") == raw.count(b"\n") == raw.count(b"\r\n")


def test_folded_headers_of_messages_that_were_read() -> None:
    text = b"From: a@b\r\nSubject: one\r\n two\r\n\tthree\r\n\r\nbody"
    for policy in (email.policy.default, email.policy.compat32):
        check_message(email.message_from_bytes(text, policy=policy))


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/plain; charset=x-unknown"])
@pytest.mark.parametrize("how", ["8bit", "binary", "7bit"])
@pytest.mark.parametrize("utf8", [False, True])
def test_messages_that_were_read_are_sent_whatever_is_in_them(kind: str, how: str, utf8: bool) -> None:
    """Bytes beyond ASCII in an unknown character set, or without one."""
    body = b"\xc3\xa9\n.\n\xff"
    read = email.message_from_bytes(
        f"From: a@b.c\nTo: d@e.f\nContent-Type: {kind}\nContent-Transfer-Encoding: {how}\n\n".encode() + body
    )
    data, _ = messages.finished(read, "a@b.c", utf8)
    assert data.isascii()
    again = email.message_from_bytes(data)
    assert again.get_payload(decode=True) == body
    assert (again.get_content_type(), again["To"]) == (kind.partition(";")[0], "d@e.f")
    assert read["Content-Transfer-Encoding"] == how

"""Messages: made with few words, and looked at before they are sent.

A message is the standard library's ``EmailMessage``. Whoever made it, no header of any of its parts may hold a line
break that is not a fold, nor an address a control character: else what a visitor types into a form could add
recipients ("header injection").
"""

from __future__ import annotations

import base64
import copy
import email.policy
import email.utils
import mimetypes
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage, Message
from io import BytesIO
from pathlib import Path
from typing import Any

from efio import run_blocking
from service_utils.mail.errors import BadMessage

__all__ = ["Attachment", "check_address", "check_message", "compose", "recipients_of", "serialise"]

OFFLOAD = 256 * 1024  # bytes of a message: larger ones are put together in a thread

_NAME = re.compile(r"[!-9;-~]+")  # RFC 5322 section 2.2
_BREAK = re.compile(r"\r\n(?![ \t]+[^ \t\r\n])|\n(?![ \t]+[^ \t\r\n])|\r(?!\n)|\0")
_CONTROL = re.compile(r"[\x00-\x20\x7f<>,;]")
_POLICY = email.policy.SMTP.clone(cte_type="7bit")  # every server takes it
MAX_ADDRESS = 254  # RFC 5321 section 4.5.3.1.3, without the brackets
MAX_LOCAL = 64


@dataclass(frozen=True)
class Attachment:
    """A file in a message. ``type`` by default is told by the name; ``inline_id``: HTML shows it as ``cid:...``."""

    name: str
    content: bytes
    type: str = ""
    inline_id: str = ""

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Attachment:
        """Reads the file in a thread of efio's pool. OSError."""
        return cls(os.path.basename(os.fspath(path)), run_blocking(Path(path).read_bytes))


def compose(
    *,
    sender: str | Address,
    to: str | Address | Iterable[str | Address] = (),
    subject: str = "",
    text: str = "",
    html: str = "",
    cc: str | Address | Iterable[str | Address] = (),
    bcc: str | Address | Iterable[str | Address] = (),
    reply_to: str | Address | Iterable[str | Address] = (),
    attachments: Iterable[Attachment] = (),
    headers: Mapping[str, str] | None = None,
) -> EmailMessage:
    """A message with text, HTML or both, and attachments. Addresses: ``ann@example.org``, or ``Ann <ann@example.org>``.

    BadMessage for line breaks in headers and bad addresses.
    """
    message = EmailMessage(policy=_POLICY)
    try:
        message["From"] = _addresses(sender)
        for name, value in (("To", to), ("Cc", cc), ("Bcc", bcc), ("Reply-To", reply_to)):
            found = _addresses(value)
            if found:
                message[name] = found
        message["Subject"] = subject
        for name, text_value in (headers or {}).items():
            if not _NAME.fullmatch(name):
                raise BadMessage(f"{name!r} is no name of a header")
            message[name] = text_value
    except BadMessage:
        raise
    except ValueError as error:  # the library's own check for line breaks, and a second Subject
        raise BadMessage(f"a header cannot be written: {error}") from None
    attachments = list(attachments)
    if text or not html:
        message.set_content(text)
    if html:
        if text:
            message.add_alternative(html, subtype="html")
        else:
            message.set_content(html, subtype="html")
        body = message.get_body(("html",))
        for attachment in attachments:
            if attachment.inline_id and body is not None:
                _attach(body, attachment)
    for attachment in attachments:
        if not (attachment.inline_id and html):
            _attach(message, attachment)
    return message


def _attach(message: Any, attachment: Attachment) -> None:
    if _BREAK.search(attachment.name) or _BREAK.search(attachment.inline_id):
        raise BadMessage(f"the name of an attachment holds a line break: {attachment.name!r}")
    kind = attachment.type or mimetypes.guess_type(attachment.name)[0] or "application/octet-stream"
    main, _, sub = kind.partition("/")
    if not re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind, re.ASCII) or main in ("multipart", "message"):
        raise BadMessage(f"{kind!r} is no type of an attachment")
    more: dict[str, Any] = {"filename": attachment.name}
    if main == "text" and not attachment.content.isascii() and _is_utf8(attachment.content):
        more["params"] = {"charset": "utf-8"}  # without, it means ASCII (RFC 2046 section 4.1.2)
    if attachment.inline_id:
        message.add_related(attachment.content, main, sub, cid=f"<{attachment.inline_id}>", **more)
    else:
        message.add_attachment(attachment.content, main, sub, **more)


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _addresses(value: str | Address | Iterable[str | Address]) -> tuple[Address, ...]:
    several = [value] if isinstance(value, (str, Address)) else list(value)
    return tuple(_address(one) for one in several)


def _address(value: str | Address) -> Address:
    if isinstance(value, str):
        if _BREAK.search(value):
            raise BadMessage(f"the address {value!r} holds a line break")
        name, plain = email.utils.parseaddr(value)
        check_address(plain or value)
        try:
            value = Address(name, addr_spec=plain)
        except Exception as error:  # noqa: BLE001 - the parser of the standard library raises all kinds
            raise BadMessage(f"the address {plain!r} cannot be read: {error}") from None
    check_address(value.addr_spec)
    return value


def check_address(address: str) -> str:
    """The address as it travels in SMTP, its domain in ASCII. BadMessage for what is none (RFC 5321 section 4.1.2)."""
    local, at, domain = address.rpartition("@")
    if not at or not local or not domain or _CONTROL.search(address) or ("@" in local and not local.startswith('"')):
        raise BadMessage(f"{address!r} is no address")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:
            raise BadMessage(f"{address!r}: the domain cannot be written in ASCII") from None
    plain = f"{local}@{domain}"
    if len(plain.encode()) > MAX_ADDRESS or len(local.encode()) > MAX_LOCAL:
        raise BadMessage(f"{address[:80]!r}...: the address is too long")
    return plain


def check_message(message: Message) -> None:
    """BadMessage if a header of it, or of a part of it, could be taken for more than one."""
    for part in message.walk():
        for name, value in part.raw_items():
            if not _NAME.fullmatch(name) or _BREAK.search(str(value)):
                raise BadMessage(f"the header {name[:40]!r} holds a line break: {str(value)[:80]!r}")


def recipients_of(message: Message) -> list[str]:
    """The addresses in To, Cc and Bcc, each once."""
    values = [str(value) for name in ("To", "Cc", "Bcc") for value in message.get_all(name, [])]
    found = email.utils.getaddresses(values)
    return list(dict.fromkeys(address for _, address in found if address))


def serialise(message: Message, utf8: bool) -> bytes:
    """The bytes of a message. ``utf8``: headers need not be ASCII.

    All line ends are CRLF: a lone CR or LF could be taken for one by one server and not by the next ("SMTP smuggling").
    """
    from email.generator import BytesGenerator

    out = BytesIO()
    policy = _POLICY.clone(utf8=True) if utf8 else _POLICY
    generator: Any = BytesGenerator(out, mangle_from_=False, policy=policy)
    try:
        generator.flatten(message)
    except (UnicodeError, LookupError):  # the generator has to decode what it makes 7-bit, and cannot
        out.seek(0)
        out.truncate()
        try:
            generator.flatten(_in_base64(message))
        except Exception as error:
            raise BadMessage(f"the message cannot be written: {type(error).__name__}: {error}") from error
    return out.getvalue()


def _in_base64(message: Message) -> Message:
    """A copy whose parts with bytes beyond ASCII are what they are, in whatever character set."""
    copied = copy.deepcopy(message)
    for part in copied.walk():
        payload = part.get_payload()
        if isinstance(payload, str) and not payload.isascii():
            raw = part.get_payload(decode=True)
            del part["Content-Transfer-Encoding"]
            part["Content-Transfer-Encoding"] = "base64"
            part.set_payload(base64.encodebytes(raw if isinstance(raw, bytes) else b"").decode("ascii"))
    return copied


def finished(message: Message, sender: str, utf8: bool) -> tuple[bytes, str]:
    """What travels, and its id: no Bcc, a Date and a Message-ID. The message itself stays as it is."""
    domain = sender.rpartition("@")[2]
    added = []
    if message["Date"] is None:
        added.append(("Date", email.utils.formatdate(localtime=False)))
    message_id = str(message["Message-ID"] or email.utils.make_msgid(domain=domain)).strip()
    if message["Message-ID"] is None:
        added.append(("Message-ID", message_id))
    data = run_blocking(serialise, message, utf8) if _large(message) else serialise(message, utf8)
    head, _, body = data.partition(b"\r\n\r\n")
    kept = _without(head, b"bcc", b"resent-bcc")
    lines = [f"{name}: {value}".encode() for name, value in added]
    return b"\r\n".join([*lines, *kept]) + b"\r\n\r\n" + body, message_id


def _without(head: bytes, *names: bytes) -> list[bytes]:
    """The lines of a head without these headers, folds included."""
    kept: list[bytes] = []
    left_out = False
    for line in head.split(b"\r\n"):
        if line[:1] not in (b" ", b"\t"):
            left_out = line.partition(b":")[0].strip().lower() in names
        if not left_out:
            kept.append(line)
    return kept


def _large(message: Message) -> bool:
    return sum(len(part.get_payload() or "") for part in message.walk() if not part.is_multipart()) > OFFLOAD

"""``Mailer``: sends messages by SMTP (RFC 5321) over pooled connections.

The protocol is smtplib's; its connections are streams that any hub and thread may use, with one deadline for all of
what is done with them.
"""

from __future__ import annotations

import base64
import email.utils
import ipaddress
import os
import smtplib
import ssl
import urllib.parse
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import Message
from time import monotonic
from typing import Any, Self

from efio import run_blocking
from service_utils.mail import messages
from service_utils.mail.errors import (
    BadMessage,
    DeliveryUncertain,
    LoginFailed,
    MailError,
    MailUnavailable,
    MessageRefused,
    RecipientsRefused,
    Refusal,
    SenderRefused,
)
from service_utils.mail.streams import MailTls, default_context, dial
from service_utils.pool import Connector, Pool, PoolExhausted, PoolStatistics
from service_utils.security.secret_values import Secret

__all__ = ["Delivery", "Mailer", "is_local"]

PORTS = {"implicit": 465, "starttls": 587, "none": 25}
OFFLOAD = 256 * 1024  # bytes of a message: larger ones are put together in a thread
Token = str | Callable[[], str]


@dataclass(frozen=True)
class Delivery:
    """What became of a message that at least one recipient's server has accepted."""

    message_id: str
    accepted: tuple[str, ...]
    refused: Mapping[str, Refusal]  #: the recipients who do not get it, and why
    answer: str  #: the server's last words, often its queue's id


class Session(smtplib.SMTP):
    """One connection: connected, secured and logged in."""

    def __init__(self, mailer: Mailer, timeout: float) -> None:
        self._mailer = mailer
        self._until = monotonic() + timeout
        self.sent = 0
        self.idle = False
        super().__init__(local_hostname=mailer.local_hostname)
        self._host = mailer.host
        try:
            code, text = self.connect(mailer.host, mailer.port)
            if code != 220:
                raise MailUnavailable(f"{mailer.host}:{mailer.port} does not want to talk: {code} {_text(text)}")
            self.ehlo_or_helo_if_needed()
            if mailer.tls == "starttls":
                self._secure()
            if mailer.user:
                self._login()
        except BaseException:
            self.close()
            raise
        self.idle = True

    def _get_socket(self, host: str, port: int, timeout: Any) -> Any:
        return dial(host, port, self._until, self._mailer.context if self._mailer.tls == "implicit" else None)

    def within(self, seconds: float) -> None:
        """What follows must be done within this time."""
        if self.sock is not None:
            self.sock.deadline = monotonic() + seconds  # type: ignore[attr-defined]

    def _secure(self) -> None:
        if not self.has_extn("starttls"):
            raise MailUnavailable(f"{self._mailer.name} does not offer STARTTLS (RFC 3207); is the port the right one?")
        context: Any = MailTls(self._mailer.context)
        code, text = self.starttls(context=context)
        if code != 220:
            raise MailUnavailable(f"{self._mailer.name} does not begin TLS: {code} {_text(text)}")
        self.ehlo_or_helo_if_needed()

    def _login(self) -> None:
        mailer = self._mailer
        offered = self.esmtp_features.get("auth", "").upper().split()
        if mailer.token is not None:
            token = mailer.token() if callable(mailer.token) else mailer.token
            said = f"user={mailer.user}\x01auth=Bearer {token}\x01\x01"
            code, text = self.docmd("AUTH", f"XOAUTH2 {_base64(said)}")
            if code == 334:  # why not, in JSON; the empty answer ends the exchange
                why = text
                code, text = self.docmd("")
                text += b" " + base64.b64decode(why + b"==")
        elif "PLAIN" in offered or "LOGIN" not in offered:
            code, text = self.docmd("AUTH", f"PLAIN {_base64(chr(0) + mailer.user + chr(0) + mailer.password)}")
        else:
            code, text = self.docmd("AUTH", "LOGIN")
            if code == 334:
                code, text = self.docmd(_base64(mailer.user))
            if code == 334:
                code, text = self.docmd(_base64(mailer.password))
        if code != 235:
            raise LoginFailed(f"{mailer.name} does not accept {mailer.user}: {code} {_text(text)}")

    def deliver(self, sender: str, recipients: list[str], data: bytes, utf8: bool) -> tuple[dict[str, Refusal], str]:
        """One transaction. Who was refused, and the server's last words."""
        self.idle = False
        options = []
        if self.has_extn("size"):
            limit = self.esmtp_features["size"]
            if limit.isdigit() and 0 < int(limit) < len(data):
                self.idle = True
                raise MessageRefused(552, f"the message has {len(data)} bytes; the server takes {limit}")
            options.append(f"size={len(data)}")
        if utf8:
            if not self.has_extn("smtputf8"):
                self.idle = True
                raise MessageRefused(553, "an address is not ASCII, and the server does not take such (RFC 6531)")
            options += ["SMTPUTF8", "BODY=8BITMIME"]
            self.command_encoding = "utf-8"
        try:
            return self._transact(sender, recipients, data, options)
        finally:
            self.command_encoding = "ascii"

    def _transact(
        self, sender: str, recipients: list[str], data: bytes, options: list[str]
    ) -> tuple[dict[str, Refusal], str]:
        code, text = self.mail(sender, options)
        if code == 421:
            raise smtplib.SMTPServerDisconnected(_text(text))
        if code != 250:
            self._reset()
            raise SenderRefused(code, _text(text))
        refused: dict[str, Refusal] = {}
        for recipient in recipients:
            code, text = self.rcpt(recipient)
            if code == 421:
                raise smtplib.SMTPServerDisconnected(_text(text))
            if code not in (250, 251):
                refused[recipient] = Refusal(code, _text(text))
        if len(refused) == len(recipients):
            self._reset()
            raise RecipientsRefused(refused)
        code, text = self.docmd("DATA")
        if code != 354:
            self._reset()
            raise MessageRefused(code, _text(text))
        try:
            self.send(_dotted(data))
            code, text = self.getreply()
        except (smtplib.SMTPServerDisconnected, OSError) as error:
            raise DeliveryUncertain(
                f"{self._mailer.name} has hung up before it said whether it has it: {error}"
            ) from None
        self.sent += 1
        if code != 250:
            self._reset()
            raise MessageRefused(code, _text(text))
        self.idle = True
        return refused, _text(text)

    def _reset(self) -> None:
        """After something was refused: the next transaction begins with nothing."""
        try:
            self.idle = self.rset()[0] == 250
        except (smtplib.SMTPException, OSError):
            self.idle = False


class _Sessions(Connector[Session]):
    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    def connect(self, timeout: float) -> Session:
        try:
            return Session(self._mailer, timeout)
        except MailError:
            raise
        except ssl.SSLCertVerificationError as error:
            raise MailUnavailable(f"{self._mailer.name} is not who it should be: {error.verify_message}") from error
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise MailUnavailable(f"{self._mailer.name} cannot be reached: {error}") from error

    def close(self, connection: Session) -> None:
        if connection.idle and connection.sock is not None:
            connection.within(0.5)
            connection.idle = False
            with suppress(smtplib.SMTPException, OSError):
                connection.quit()
        connection.close()

    def is_clean(self, connection: Session) -> bool:
        return connection.idle and connection.sent < self._mailer.max_messages and connection.sock is not None

    def is_alive(self, connection: Session, timeout: float) -> bool:
        connection.within(timeout)
        return connection.noop()[0] == 250


class Mailer:
    """Sends messages over up to ``size`` connections to one server.

    ``tls``: "starttls" (which must succeed), "implicit", or "none". ``port`` by default is 587, 465, 25.
    ``user`` with ``password`` (AUTH PLAIN, else LOGIN) or ``token`` (XOAUTH2; a function that gives a fresh one).
    They are not sent over a connection without TLS, but on this host.
    ``timeout``: seconds for sending one message, waiting for a connection included.
    ``max_messages``: so many over one connection.
    """

    def __init__(
        self,
        host: str,
        port: int | None = None,
        *,
        tls: str = "starttls",
        user: str = "",
        password: str | Secret = "",
        token: Token | None = None,
        sender: str = "",
        context: ssl.SSLContext | None = None,
        size: int = 4,
        timeout: float = 30.0,
        max_messages: int = 100,
        local_hostname: str = "",
    ) -> None:
        if tls not in PORTS:
            raise ValueError(f"tls={tls!r}: it is starttls, implicit or none")
        if user and tls == "none" and not is_local(host):
            raise LoginFailed(f"{host}: user and password are not sent in clear text; use tls='starttls' or 'implicit'")
        if user and not password and token is None:
            raise ValueError("a user needs a password or a token")
        self.host = host
        self.port = port or PORTS[tls]
        self.tls = tls
        self.user = user
        self.password = password.reveal() if isinstance(password, Secret) else password
        self.token = token
        self.sender = sender
        self.context = context or default_context()
        self.timeout = timeout
        self.max_messages = max_messages
        self.local_hostname = local_hostname or os.uname().nodename or "localhost"
        self.name = f"{user}@{host}:{self.port}" if user else f"{host}:{self.port}"
        self.pool: Pool[Session] = Pool(
            _Sessions(self), size=size, timeout=timeout, max_idle=60, name=f"smtp {self.name}"
        )

    @classmethod
    def from_url(cls, url: str, **more: Any) -> Mailer:
        """``smtp://user:password@host:587`` (STARTTLS), ``smtps://`` (implicit TLS); ``?tls=none`` without.

        ValueError.
        """
        parts = urllib.parse.urlsplit(url)
        tls = {"smtp": "starttls", "smtps": "implicit"}.get(parts.scheme)
        if tls is None or not parts.hostname:
            raise ValueError("the URL of a mail server is smtp://user:password@host:port or smtps://...")
        given = dict(urllib.parse.parse_qsl(parts.query))
        unknown = given.keys() - {"tls", "sender"}
        if unknown:
            raise ValueError(f"the URL of a mail server has no setting {', '.join(sorted(unknown))}")
        user, password = (urllib.parse.unquote(text or "") for text in (parts.username, parts.password))
        settings = {"tls": tls, "user": user, "password": password} | given
        return cls(parts.hostname, parts.port, **(settings | more))

    def send(
        self, message: Message, *, sender: str = "", recipients: Iterable[str] = (), timeout: float | None = None
    ) -> Delivery:
        """Sends a message. By default from the address in Sender or From, to those in To, Cc and Bcc.

        What was refused for some of the recipients stands in the result. MailError if nobody gets it.
        """
        until = monotonic() + (self.timeout if timeout is None else timeout)
        messages.check_message(message)
        from_whom = sender or self.sender or _sender_of(message)
        envelope_from = messages.check_address(from_whom)
        to = list(dict.fromkeys(map(messages.check_address, recipients or messages.recipients_of(message))))
        if not to:
            raise BadMessage("the message has no recipient: give it a To, or recipients")
        utf8 = not all(address.isascii() for address in (envelope_from, *to))
        data, message_id = _finished(message, envelope_from, utf8)
        refused, answer = self._deliver(envelope_from, to, data, utf8, until)
        return Delivery(message_id, tuple(one for one in to if one not in refused), refused, answer)

    def _deliver(
        self, sender: str, to: list[str], data: bytes, utf8: bool, until: float
    ) -> tuple[dict[str, Refusal], str]:
        while True:
            try:
                lease = self.pool.acquire(max(0.001, until - monotonic()))
            except PoolExhausted as error:
                raise MailUnavailable(str(error)) from error
            fresh = True
            try:
                with lease as session:
                    fresh = not session.sent
                    session.within(max(0.001, until - monotonic()))
                    return session.deliver(sender, to, data, utf8)
            except MailError:
                raise
            except (smtplib.SMTPServerDisconnected, OSError) as error:
                # A connection that was kept has ended meanwhile: nothing of the message was sent yet.
                if fresh or monotonic() >= until:
                    raise MailUnavailable(f"{self.name} has hung up: {error}") from error
            except smtplib.SMTPException as error:
                raise MailUnavailable(f"{self.name} cannot be understood: {error}") from error

    def statistics(self) -> PoolStatistics:
        """Of its connections."""
        return self.pool.statistics()

    def close(self, timeout: float = 0.0) -> bool:
        """Sends nothing any more; whether everything was done within ``timeout`` seconds."""
        return self.pool.close(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(self.timeout)


def is_local(host: str) -> bool:
    """Whether what is sent there does not leave this machine."""
    if host == "localhost" or host.startswith("/"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _finished(message: Message, sender: str, utf8: bool) -> tuple[bytes, str]:
    """What travels, and its id. The message itself stays as it is."""
    domain = sender.rpartition("@")[2]
    added = []
    if message["Date"] is None:
        added.append(("Date", email.utils.formatdate(localtime=False)))
    message_id = str(message["Message-ID"] or email.utils.make_msgid(domain=domain)).strip()
    if message["Message-ID"] is None:
        added.append(("Message-ID", message_id))
    data = run_blocking(messages.serialise, message, utf8) if _large(message) else messages.serialise(message, utf8)
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


def _sender_of(message: Message) -> str:
    found = email.utils.getaddresses([str(message["Sender"] or message["From"] or "")])
    return found[0][1] if found else ""


def _dotted(data: bytes) -> bytes:
    """RFC 5321 section 4.5.2, and the end."""
    if data.startswith(b"."):
        data = b"." + data
    data = data.replace(b"\r\n.", b"\r\n..")
    return data + (b".\r\n" if data.endswith(b"\r\n") else b"\r\n.\r\n")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")

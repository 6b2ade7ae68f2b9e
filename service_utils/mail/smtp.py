"""``Mailer``: sends messages by SMTP (RFC 5321) over pooled connections.

Greenlets of all hubs and threads share a ``Mailer``; one deadline holds for all of what is done for a message.
"""

from __future__ import annotations

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
from typing import Any

from evpy.errors import DeadlineExceeded
from service_utils.deadlines import DeadlinesPass
from service_utils.mail import messages
from service_utils.mail.errors import (
    BadMessage,
    LoginFailed,
    MailError,
    MailUnavailable,
    Refusal,
)
from service_utils.mail.smtp_session import Session
from service_utils.mail.streams import default_context
from service_utils.pool import Connector, Pool, PooledClient, PoolExhausted
from service_utils.security.secret_values import Secret

__all__ = ["Delivery", "Mailer", "is_local"]

PORTS = {"implicit": 465, "starttls": 587, "none": 25}
Token = str | Callable[[], str]


@dataclass(frozen=True)
class Delivery:
    """What became of a message that at least one recipient's server has accepted."""

    message_id: str
    accepted: tuple[str, ...]
    refused: Mapping[str, Refusal]  #: the recipients who do not get it, and why
    answer: str  #: the server's last words, often its queue's id


class _Sessions(Connector[Session]):
    def __init__(self, mailer: Mailer) -> None:
        self._mailer = mailer

    def connect(self, timeout: float) -> Session:
        try:
            with DeadlinesPass():
                return Session(self._mailer, timeout)
        except (MailError, DeadlineExceeded):
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


class Mailer(PooledClient[Session]):
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
        try:
            parts = urllib.parse.urlsplit(url)
            port = parts.port
        except ValueError:  # its text may have the password in it
            raise ValueError(
                "the URL of a mail server cannot be understood: special characters in it are percent-encoded"
            ) from None
        tls = {"smtp": "starttls", "smtps": "implicit"}.get(parts.scheme)
        if tls is None or not parts.hostname:
            raise ValueError("the URL of a mail server is smtp://user:password@host:port or smtps://...")
        given = dict(urllib.parse.parse_qsl(parts.query))
        unknown = given.keys() - {"tls", "sender"}
        if unknown:
            raise ValueError(f"the URL of a mail server has no setting {', '.join(sorted(unknown))}")
        user, password = (urllib.parse.unquote(text or "") for text in (parts.username, parts.password))
        settings = {"tls": tls, "user": user, "password": password} | given
        return cls(parts.hostname, port, **(settings | more))

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
        data, message_id = messages.finished(message, envelope_from, utf8)
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
                    with DeadlinesPass():
                        return session.deliver(sender, to, data, utf8)
            except (MailError, DeadlineExceeded):
                raise
            except (smtplib.SMTPServerDisconnected, OSError) as error:
                # A connection that was kept has ended meanwhile: nothing of the message was sent yet.
                if fresh or monotonic() >= until:
                    raise MailUnavailable(f"{self.name} has hung up: {error}") from error
            except smtplib.SMTPException as error:
                raise MailUnavailable(f"{self.name} cannot be understood: {error}") from error

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


def _sender_of(message: Message) -> str:
    found = email.utils.getaddresses([str(message["Sender"] or message["From"] or "")])
    return found[0][1] if found else ""

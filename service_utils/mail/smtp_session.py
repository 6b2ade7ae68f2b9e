"""One SMTP connection (RFC 5321): connected, secured, logged in, and what is said to deliver a message.

The protocol is smtplib's; its socket is a stream that any hub and thread may use, with one deadline for all of what is
done with it.
"""

from __future__ import annotations

import base64
import smtplib
from time import monotonic
from typing import TYPE_CHECKING, Any

from evpy.errors import DeadlineExceeded
from service_utils.deadlines import DeadlinesPass
from service_utils.mail.errors import (
    DeliveryUncertain,
    LoginFailed,
    MailUnavailable,
    MessageRefused,
    RecipientsRefused,
    Refusal,
    SenderRefused,
)
from service_utils.mail.streams import MailTls, dial

if TYPE_CHECKING:
    from service_utils.mail.smtp import Mailer

__all__ = ["Session"]


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
            with DeadlinesPass():
                self.send(_dotted(data))
                code, text = self.getreply()
        except DeadlineExceeded:
            raise
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
            with DeadlinesPass():
                self.idle = self.rset()[0] == 250
        except DeadlineExceeded:
            self.idle = False
            raise
        except (smtplib.SMTPException, OSError):
            self.idle = False


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

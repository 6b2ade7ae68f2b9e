"""Mail: messages, sending them by SMTP, reading them by IMAP and POP3.

::

    mailer = Mailer.from_url("smtp://ann:password@mail.example:587")
    mailer.send(compose(sender="ann@example.org", to=["bob@example.org"], subject="Hello", text="..."))
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from service_utils.lazily import lazily

if TYPE_CHECKING:
    from service_utils.mail.errors import (
        BadMessage,
        DeliveryUncertain,
        LoginFailed,
        MailError,
        MailUnavailable,
        MessageRefused,
        RecipientsRefused,
        Refusal,
        Refused,
        SenderRefused,
    )
    from service_utils.mail.mailboxes import open_imap, open_pop3
    from service_utils.mail.messages import Attachment, compose
    from service_utils.mail.oauth import gmail_token, outlook_token
    from service_utils.mail.smtp import Delivery, Mailer

__all__ = [
    "Attachment",
    "BadMessage",
    "Delivery",
    "DeliveryUncertain",
    "LoginFailed",
    "MailError",
    "MailUnavailable",
    "Mailer",
    "MessageRefused",
    "RecipientsRefused",
    "Refusal",
    "Refused",
    "SenderRefused",
    "compose",
    "gmail_token",
    "open_imap",
    "open_pop3",
    "outlook_token",
]

_HOME = {
    "errors": (
        "BadMessage", "DeliveryUncertain", "LoginFailed", "MailError", "MailUnavailable", "MessageRefused",
        "RecipientsRefused", "Refusal", "Refused", "SenderRefused",
    ),
    "mailboxes": ("open_imap", "open_pop3"),
    "messages": ("Attachment", "compose"),
    "oauth": ("gmail_token", "outlook_token"),
    "smtp": ("Delivery", "Mailer"),
}  # fmt: skip

__getattr__, __dir__ = lazily(__name__, _HOME)

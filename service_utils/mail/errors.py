"""The errors of mail.

::

    EvpyError
    └── MailError                  .temporary: whether trying again later makes sense
        ├── BadMessage             cannot be sent as it is: a bad address, a line break in a header; also a ValueError
        ├── MailUnavailable        no connection, no answer in time, hung up; nothing was delivered
        ├── DeliveryUncertain      the connection ended after the message was sent and before the answer came
        ├── LoginFailed            the server does not accept who we are; or only in clear text, which we do not do
        └── Refused                the server's answer: .code, .text
            ├── SenderRefused
            ├── RecipientsRefused  all of them; .refused says why for each
            └── MessageRefused     its content, its size
"""

from __future__ import annotations

from collections.abc import Mapping

from evpy.errors import EvpyError

__all__ = [
    "BadMessage",
    "DeliveryUncertain",
    "LoginFailed",
    "MailError",
    "MailUnavailable",
    "MessageRefused",
    "RecipientsRefused",
    "Refusal",
    "Refused",
    "SenderRefused",
]


class Refusal:
    """Why a recipient was refused: the server's ``code`` (RFC 5321 section 4.2) and ``text``."""

    __slots__ = ("code", "text")

    def __init__(self, code: int, text: str) -> None:
        self.code = code
        self.text = text

    @property
    def temporary(self) -> bool:
        """Whether trying again later makes sense (4xx)."""
        return 400 <= self.code < 500

    def __repr__(self) -> str:
        return f"{self.code} {self.text}"


class MailError(EvpyError):
    """Base of what mail raises on purpose."""

    temporary = False


class BadMessage(MailError, ValueError):
    """The message cannot be sent like this."""


class MailUnavailable(MailError):
    """The server cannot be reached, or has hung up; nothing was delivered."""

    temporary = True


class DeliveryUncertain(MailError):
    """Nobody knows whether the message was delivered. Sending it again may deliver it twice."""


class LoginFailed(MailError):
    """User, password or token are not accepted, or the connection is not one to send them over."""


class Refused(MailError):
    """The server has said no."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    @property
    def temporary(self) -> bool:  # type: ignore[override]
        """Whether trying again later makes sense (4xx)."""
        return 400 <= self.code < 500

    def __str__(self) -> str:
        return f"{self.code} {self.text}"


class SenderRefused(Refused):
    """The sender's address."""


class MessageRefused(Refused):
    """The message itself."""


class RecipientsRefused(Refused):
    """All recipients; ``refused`` says why for each."""

    def __init__(self, refused: Mapping[str, Refusal]) -> None:
        first = next(iter(refused.values()))
        super().__init__(first.code, first.text)
        self.refused = dict(refused)

    def __reduce__(self) -> tuple[type[RecipientsRefused], tuple[dict[str, Refusal]]]:
        return type(self), (self.refused,)

    @property
    def temporary(self) -> bool:  # type: ignore[override]
        """Whether any of them may be accepted later."""
        return any(refusal.temporary for refusal in self.refused.values())

    def __str__(self) -> str:
        return "; ".join(f"{address}: {refusal!r}" for address, refusal in self.refused.items())

"""MIME: messages that came from somewhere, and the types of files.

The standard library reads a header field when it is asked for, each time, and for some that takes a time that grows
with the square of their length, or more stack than there is. So a message is refused here, before anybody asks for
its fields, if one is too long; and all of them are read once, in a thread of the pool when the message is not small.
"""

from __future__ import annotations

import email
import email.policy
import mimetypes
from email.message import EmailMessage
from typing import Any

from service_utils.formats.errors import BadData
from service_utils.formats.offload import sized

__all__ = ["media_type", "mime_decode"]

MAX_SIZE = 64 * 1024 * 1024  # bytes
MAX_PARTS = 1000
MAX_FIELD = 32 * 1024  # bytes of one header field: at most some 0.3 s of work
MAX_FIELDS = 2000  # of all parts together
WORK = 16  # reading a byte of a message takes about as long as that many of other formats
_SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)


def media_type(name: str, content: bytes = b"") -> str:
    """By what the content begins with, if it is of a well-known kind, else by the name; in doubt
    application/octet-stream. (What is a ZIP file within goes by its name: XLSX, DOCX, ODS.)"""
    guessed = mimetypes.guess_type(name)[0]
    for start, found in _SIGNATURES:
        if content.startswith(start):
            return guessed if found == "application/zip" and guessed else found
    return guessed or "application/octet-stream"


def mime_decode(
    data: bytes, *, max_size: int = MAX_SIZE, max_parts: int = MAX_PARTS, max_field: int = MAX_FIELD
) -> EmailMessage:
    """A message with all its parts, also nested ones; all but small ones are read by a thread of efio's pool.

    BadData, also for a header field of more than ``max_field`` bytes, and for fields that cannot be read.
    """
    if len(data) > max_size:
        raise BadData(f"the message has {len(data)} bytes; max_size is {max_size}")
    return sized(len(data) * WORK, _decode, data, max_parts, max_field)


def _decode(data: bytes, max_parts: int, max_field: int) -> EmailMessage:
    parts: list[EmailMessage] = []

    def part(policy: Any = email.policy.default) -> EmailMessage:
        if len(parts) > max_parts:  # the parser makes one more to begin with
            raise BadData(f"the message has more than {max_parts} parts")
        parts.append(EmailMessage(policy))
        return parts[-1]

    try:
        message = email.message_from_bytes(data, policy=email.policy.default.clone(message_factory=part))
        fields = [field for part in message.walk() for field in part.raw_items()]
        if len(fields) > MAX_FIELDS:
            raise BadData(f"the message has {len(fields)} header fields; {MAX_FIELDS} are the limit")
        for name, text in fields:
            if len(name) + len(text) > max_field:
                raise BadData(f"the field {name[:50]!r} has {len(text)} bytes; max_field is {max_field}")
            message.policy.header_fetch_parse(name, text)
    except RecursionError:
        raise BadData("the message is nested too deeply") from None
    except BadData:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the parser comes upon in what somebody has made for it
        raise BadData(f"not a message that can be read: {type(error).__name__}: {error}") from None
    assert isinstance(message, EmailMessage)
    return message

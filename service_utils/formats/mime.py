"""MIME: messages that came from somewhere, and the types of files."""

from __future__ import annotations

import email
import email.policy
import mimetypes
from email.message import EmailMessage

from service_utils.formats.errors import BadData
from service_utils.formats.offload import sized

__all__ = ["media_type", "mime_decode"]

MAX_SIZE = 64 * 1024 * 1024  # bytes
MAX_PARTS = 1000
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


def mime_decode(data: bytes, *, max_size: int = MAX_SIZE, max_parts: int = MAX_PARTS) -> EmailMessage:
    """A message with all its parts, also nested ones; large ones are read by a thread of efio's pool. BadData."""
    if len(data) > max_size:
        raise BadData(f"the message has {len(data)} bytes; max_size is {max_size}")
    return sized(len(data), _decode, data, max_parts)


def _decode(data: bytes, max_parts: int) -> EmailMessage:
    try:
        message = email.message_from_bytes(data, policy=email.policy.default)
        for number, _ in enumerate(message.walk()):
            if number >= max_parts:
                raise BadData(f"the message has more than {max_parts} parts")
    except RecursionError:
        raise BadData("the message is nested too deeply") from None
    assert isinstance(message, EmailMessage)
    return message

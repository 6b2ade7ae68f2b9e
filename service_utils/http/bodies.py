"""Bodies of requests: bytes, forms, multipart, JSON, files, generators.

A body knows its length, if that can be known, and whether it can be sent again (after a redirect, a retry).
"""

from __future__ import annotations

import mimetypes
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlencode

import msgspec

from service_utils.http.errors import InvalidRequest

__all__ = ["NOTHING", "Body", "Content", "File", "FileLike", "make_body"]

CHUNK = 65536  # bytes
NOTHING: Any = object()  #: json=None is a body
FileLike = bytes | str | Path | IO[bytes]
Content = bytes | bytearray | memoryview | str | IO[bytes] | Iterable[bytes]
_encode = msgspec.json.encode


@dataclass(frozen=True)
class File:
    """A file in a multipart form: ``content`` is bytes, text, the path of a file, or a file open for reading."""

    content: FileLike
    name: str | None = None  #: default: that of the path or the open file
    type: str | None = None  #: default: guessed from the name


class Body:
    """What is sent after the head: ``data`` in one piece, or ``pieces``."""

    __slots__ = ("_start", "data", "length", "source", "type")

    def __init__(
        self, type: str | None, data: bytes | None = None, source: Any = None, length: int | None = None
    ) -> None:
        self.type = type
        self.data = data
        self.source = source
        self.length = len(data) if data is not None else length
        self._start = source.tell() if length is not None and hasattr(source, "seek") else None

    @property
    def replayable(self) -> bool:
        """Whether it can be sent more than once."""
        source = self.source
        return self.data is not None or self._start is not None or (
            not hasattr(source, "read") and iter(source) is not source
        )  # fmt: skip

    def pieces(self) -> Iterator[bytes]:
        """From its beginning."""
        if self.data is not None:
            yield self.data
        elif hasattr(self.source, "read"):
            if self._start is not None:
                self.source.seek(self._start)
            while piece := self.source.read(CHUNK):
                if not isinstance(piece, bytes):
                    raise InvalidRequest("the body is a file that gives text: open it with mode 'rb'")
                yield piece
        else:
            for piece in self.source:
                if not isinstance(piece, (bytes, bytearray, memoryview)):
                    raise InvalidRequest(f"the body gives pieces of type {type(piece).__name__}: give bytes")
                yield bytes(piece)


def make_body(content: Content | None, data: Any, files: Any, json: Any) -> Body | None:
    """From the arguments of a request; at most one kind. InvalidRequest, also for what is no JSON."""
    given = [
        name for name, there in (("content", content is not None), ("json", json is not NOTHING),
                                 ("data", data is not None or files is not None)) if there
    ]  # fmt: skip
    if not given:
        return None
    if len(given) > 1:
        raise InvalidRequest(f"a request has one body: give {given[0]} or {given[1]}, not both")
    if json is not NOTHING:
        try:
            return Body("application/json", _encode(json))
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidRequest(f"json=...: {error}") from error
    if content is not None:
        return _content(content)
    if files is not None:
        return _multipart(_pairs(data or {}), _pairs(files))
    if isinstance(data, (bytes, str)):
        raise InvalidRequest("data= takes the fields of a form; a body as it is goes into content=")
    return Body("application/x-www-form-urlencoded", urlencode(_pairs(data), doseq=True).encode())


def _content(content: Content) -> Body:
    if isinstance(content, str):
        return Body("text/plain; charset=utf-8", content.encode())
    if isinstance(content, (bytes, bytearray, memoryview)):
        return Body(None, bytes(content))
    if hasattr(content, "read"):
        return Body(None, source=content, length=_rest(content))
    if hasattr(content, "__iter__") and not isinstance(content, Mapping):
        return Body(None, source=content)
    raise InvalidRequest(f"content= takes bytes, text, a file or an iterable of bytes, not {type(content).__name__}")


def _rest(file: Any) -> int | None:
    """How much is left to read; None when nobody knows."""
    try:
        if not file.seekable():
            return None
        here = file.tell()
        end = file.seek(0, os.SEEK_END)
        file.seek(here)
    except (AttributeError, OSError):
        return None
    return max(0, int(end) - int(here))


def _pairs(fields: Any) -> list[tuple[str, Any]]:
    return list(fields.items()) if isinstance(fields, Mapping) else list(fields)


def _quoted(name: str) -> str:
    """As browsers do it: the HTML standard, "Multipart form data"; no way out of the quotes."""
    return '"' + name.replace("\r", "%0D").replace("\n", "%0A").replace('"', "%22") + '"'


class _Parts:
    """A multipart body that can be sent again if its files can."""

    def __init__(self, parts: Sequence[tuple[bytes, Body]], end: bytes) -> None:
        self.parts = parts
        self.end = end

    def __iter__(self) -> Iterator[bytes]:
        for head, body in self.parts:
            yield head
            yield from body.pieces()
            yield b"\r\n"
        yield self.end


def _multipart(fields: list[tuple[str, Any]], files: list[tuple[str, Any]]) -> Body:
    """RFC 7578."""
    boundary = secrets.token_hex(16)
    parts: list[tuple[bytes, Body]] = []

    def add(name: str, body: Body, filename: str | None, type_: str | None) -> None:
        head = f"--{boundary}\r\nContent-Disposition: form-data; name={_quoted(name)}"
        if filename is not None:
            head += f"; filename={_quoted(filename)}"
        if type_ is not None:
            if not type_.isprintable() or not type_.isascii():
                raise InvalidRequest(f"file {name!r}: {type_!r} is no media type")
            head += f"\r\nContent-Type: {type_}"
        parts.append((head.encode() + b"\r\n\r\n", body))

    for name, value in fields:
        for one in value if isinstance(value, (list, tuple)) else [value]:
            add(name, Body(None, one if isinstance(one, bytes) else str(one).encode()), None, None)
    for name, value in files:
        file = value if isinstance(value, File) else File(*value) if isinstance(value, tuple) else File(value)
        content: Any = file.content
        filename = file.name
        if isinstance(content, Path):
            filename = filename or content.name
            content = _File(content)
        elif filename is None:
            own = getattr(content, "name", None)
            filename = os.path.basename(own) if isinstance(own, str) else name
        type_ = file.type or mimetypes.guess_type(filename)[0] or "application/octet-stream"
        body = Body(None, source=content, length=content.size) if isinstance(content, _File) else _content(content)
        add(name, body, filename, type_)
    end = f"--{boundary}--\r\n".encode()
    length: int | None = len(end)
    for head, body in parts:
        length = None if length is None or body.length is None else length + len(head) + body.length + 2
    type_ = f"multipart/form-data; boundary={boundary}"
    if all(body.data is not None for _, body in parts) and length is not None and length <= CHUNK:
        return Body(type_, b"".join(_Parts(parts, end)))
    if all(body.replayable for _, body in parts):
        return Body(type_, source=_Parts(parts, end), length=length)
    return Body(type_, source=iter(_Parts(parts, end)), length=length)


class _File:
    """A file by its path, opened when it is sent."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size

    def __iter__(self) -> Iterator[bytes]:
        from efio import open as efio_open

        with efio_open(self.path, "rb") as file:
            while piece := file.read(CHUNK):
                yield piece

"""Forms: ``application/x-www-form-urlencoded`` and ``multipart/form-data``.

URL-encoded bodies are parsed as query strings are. Multipart (RFC 7578) is cut by the push parser of the ``multipart``
library while the body arrives; a file never is in memory as a whole: beyond the first 64 KiB it lives in an unnamed
temporary file (O_TMPFILE), which vanishes with its descriptor even when the process is killed.

Invariants: the memory of one form is bounded by its limits, whatever the body limit is; when parsing fails for any
reason every temporary file is closed; all are closed when the request is over.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from evpy.errors import BodyTooLarge, HTTPError
from evpy.http.charset import decode_text
from evpy.http.headers import parse_media_type
from evpy.http.multidict import MultiDict
from evpy.http.query import parse_urlencoded
from evpy.http.uploads import UploadedFile

if TYPE_CHECKING:
    from multipart import MultipartSegment  # type: ignore[import-untyped]

CHUNK = 65536  # bytes of body read at a time


@dataclass(frozen=True, slots=True)
class FormLimits:
    """What one form may cost. Sizes in bytes. Beyond: HTTPError 413. File sizes are bounded by the body limit alone."""

    fields: int = 1000
    files: int = 100
    field_size: int = 1 << 20
    memory: int = 4 << 20  # names and values of all fields together, and what part headers take


limits = FormLimits()  # of this process; a server sets its own before it serves

Read = Callable[[int], bytes]  # at most n bytes of the body, b"" at its end


class Form(MultiDict[str]):
    """The fields of a form, in order; ``files`` holds the uploads. An absent name raises MissingField (400)."""

    __slots__ = ("files",)

    def __init__(self, fields: list[tuple[str, str]], files: list[tuple[str, UploadedFile]]) -> None:
        super().__init__(fields, what="form field")
        self.files: MultiDict[UploadedFile] = MultiDict(files, what="uploaded file")

    def close(self) -> None:
        """Closes, and so removes, the temporary files."""
        for _, file in self.files.pairs():
            file.close()


def parse_form(content_type: str, content_length: int | None, read: Read) -> Form:
    """Reads the body as the form that ``content_type`` says, within ``limits``; ``content_length`` in bytes, if
    declared.

    HTTPError 400 for a malformed form, 413 beyond a limit, 415 for another media type, 507 when the disk is full; also
    whatever ``read`` raises (ClientDisconnected, BodyTooLarge).
    """
    media_type, parameters = parse_media_type(content_type)
    if media_type == "application/x-www-form-urlencoded":
        text = _read_at_most(limits.memory, content_length, read).decode("latin-1")
        return Form(parse_urlencoded(text, what="form", max_fields=limits.fields), [])
    if media_type == "multipart/form-data":
        boundary = parameters.get("boundary", "")
        if not 1 <= len(boundary) <= 70 or not boundary.isascii():  # RFC 2046 section 5.1.1
            raise HTTPError(400, "multipart/form-data needs a boundary of 1 to 70 ASCII characters in its Content-Type")
        return _MultipartReader(limits).run(read, boundary)
    raise HTTPError(415, f"a form was expected, the body is {media_type or 'without a Content-Type'}")


def _read_at_most(limit: int, declared: int | None, read: Read) -> bytes:
    chunks, size = [], declared or 0
    if size <= limit:
        size = 0
        while size <= limit and (chunk := read(CHUNK)):
            size += len(chunk)
            chunks.append(chunk)
    if size > limit:
        raise BodyTooLarge(limit, f"a form without files may have {limit} bytes")
    return b"".join(chunks)


class _MultipartReader:
    """Sorts the parts of one multipart body into fields (memory) and files (temporary files)."""

    def __init__(self, limits: FormLimits) -> None:
        self.limits = limits
        self.memory_left = limits.memory
        self.fields: list[tuple[str, str]] = []
        self.files: list[tuple[str, UploadedFile]] = []
        self.file: UploadedFile | None = None  # the part that is arriving, if it is a file
        self.value: list[bytes] = []  # ... if it is a field

    def run(self, read: Read, boundary: str) -> Form:
        try:
            self._parse(read, boundary)
        except BaseException as error:
            for _, file in self.files:
                file.close()
            if self.file:
                self.file.close()
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise HTTPError(507, "the server has no space left for the upload") from error
            raise
        return Form(self.fields, self.files)

    def _parse(self, read: Read, boundary: str) -> None:
        from multipart import MultipartError, ParserLimitReached, PushMultipartParser

        parser = PushMultipartParser(boundary, max_segment_count=self.limits.fields + self.limits.files)
        segment: MultipartSegment | None = None
        try:
            while chunk := read(CHUNK):
                if parser.closed:
                    continue  # an epilogue (RFC 2046 section 5.1.1) says nothing
                for event in parser.parse(chunk):
                    if event is None:
                        assert segment is not None
                        self._end(segment)
                    elif isinstance(event, (bytes, bytearray)):
                        assert segment is not None
                        self._data(segment, event)
                    else:
                        segment = event
                        self._begin(segment)
            parser.close()
        except ParserLimitReached as error:
            raise HTTPError(413, f"multipart form: {error}") from None
        except MultipartError as error:
            what = error.args[0] if error.args else "it cannot be parsed"
            raise HTTPError(400, f"malformed multipart form: {what}") from None

    def _begin(self, segment: MultipartSegment) -> None:
        if not segment.name:
            raise HTTPError(400, "malformed multipart form: a part has no name")
        self._spend(sum(len(name) + len(value) for name, value in segment.headerlist))
        if segment.filename is None:
            if len(self.fields) >= self.limits.fields:
                raise HTTPError(413, f"the form has more than {self.limits.fields} fields")
            self.value = []
        else:
            if len(self.files) >= self.limits.files:
                raise HTTPError(413, f"the form has more than {self.limits.files} files")
            self.file = UploadedFile(segment.name, segment.filename, segment.content_type or "application/octet-stream")

    def _data(self, segment: MultipartSegment, data: bytes | bytearray) -> None:
        if self.file:
            self.file._write(data)
            return
        if segment.bytes_received > self.limits.field_size:
            raise HTTPError(413, f"form field {segment.name!r} is longer than {self.limits.field_size} bytes")
        self._spend(len(data))
        self.value.append(bytes(data))

    def _end(self, segment: MultipartSegment) -> None:
        name = segment.name or ""
        if self.file:
            file, self.file = self.file, None
            file._finish()
            if segment.filename or file.size:
                self.files.append((name, file))
            else:
                file.close()  # what browsers send for a file input in which nothing was chosen
            return
        charset = segment.charset or "utf-8"
        try:
            self.fields.append((name, decode_text(b"".join(self.value), charset)))
        except (LookupError, UnicodeDecodeError):
            raise HTTPError(400, f"form field {name!r} is not {charset}") from None

    def _spend(self, size: int) -> None:
        self.memory_left -= size
        if self.memory_left < 0:
            raise HTTPError(413, f"the fields of the form are longer than {self.limits.memory} bytes together")

"""``Response.file``: a file from disk, as RFC 9110 wants it.

The gateway sends the bytes (sendfile): the handler's greenlet only opens the file and writes the head. Only the rare
answer with several ranges (multipart/byteranges, section 14.6) is read here, in pieces of 64 KiB, while the client's
speed sets the pace.

What comes from the client goes into ``path`` only together with ``root``. The file is opened first and asked afterwards
where it really is, so that neither "..", nor a symbolic link, nor a rename between check and use leads out of ``root``.
"""

from __future__ import annotations

import errno
import os
import stat
from functools import cache as memoize
from typing import TYPE_CHECKING

from evpy.errors import HTTPError
from evpy.http.conditional import evaluate, http_date, range_applies
from evpy.http.headers import HeadersLike, MutableHeaders
from evpy.http.ranges import parse_ranges
from evpy.http.response import Response
from evpy.http.uploads import give_turn

if TYPE_CHECKING:
    from mimetypes import MimeTypes

    from evpy.http.request import RequestMixin

CHUNK = 65536  # bytes read at a time for an answer of several ranges

# Not in every Python's table, but on every web site.
_MORE_TYPES = {
    ".avif": "image/avif",
    ".md": "text/markdown",
    ".mkv": "video/x-matroska",
    ".opus": "audio/ogg",
    ".webp": "image/webp",
    ".woff": "font/woff",
    ".woff2": "font/woff2",
}
_ENCODED = {"gzip": "application/gzip", "bzip2": "application/x-bzip2", "xz": "application/x-xz"}


class FileResponse(Response):
    """See ``Response.file``. The file is opened when the response is sent."""

    __slots__ = ("path", "root")

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        root: str | os.PathLike[str] | None = None,
        content_type: str | None = None,
        download_name: str | None = None,
        cache: int | None = None,
        headers: HeadersLike = (),
    ) -> None:
        super().__init__(None, 200, headers)
        self.path = os.fspath(path)
        self.root = None if root is None else os.fspath(root)
        if content_type is not None:
            self.headers["Content-Type"] = content_type
        else:
            self.headers.setdefault("Content-Type", guess_type(self.path))
        if download_name is not None:
            self.headers["Content-Disposition"] = content_disposition(download_name)
        if cache is not None:
            self.headers["Cache-Control"] = f"max-age={int(cache)}" if cache > 0 else "no-cache"
        self.headers["Accept-Ranges"] = "bytes"

    def _send(self, request: RequestMixin) -> None:
        fd = open_file(self.path, self.root)
        try:
            self._send_fd(request, fd)
        finally:
            os.close(fd)

    def _send_fd(self, request: RequestMixin, fd: int) -> None:
        info = os.fstat(fd)
        size, modified = info.st_size, int(info.st_mtime)
        headers = self.headers.copy()
        headers.pop("Content-Length")
        etag = headers.setdefault("ETag", f'"{size:x}-{info.st_mtime_ns:x}"')
        headers.setdefault("Last-Modified", http_date(modified))
        if request.method in ("GET", "HEAD"):
            status = evaluate(lambda name: _combined(request, name), etag, modified)
            if status == 304:  # section 15.4.5: nothing about content that is not there
                headers.pop("Content-Type")
                headers.pop("Content-Disposition")
                request.respond(304, headers.pairs(), b"")
                return
            if status == 412:
                raise HTTPError(412, "the file is not the one that the request speaks of")
        wanted = request.header("range") if request.method == "GET" else None  # section 14.2: defined for GET only
        ranges = None
        if wanted is not None and range_applies(request.header("if-range"), etag, modified):
            ranges = parse_ranges(wanted, size)
        if ranges is None:
            _send_stretch(request, 200, headers, fd, 0, size)
        elif not ranges:
            raise HTTPError(416, f"the file has {size} bytes", {"Content-Range": f"bytes */{size}"})
        elif len(ranges) == 1:
            start, end = ranges[0]
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{size}"
            _send_stretch(request, 206, headers, fd, start, end - start)
        else:
            self._send_parts(request, headers, fd, ranges, size)

    def _send_parts(
        self, request: RequestMixin, headers: MutableHeaders, fd: int, ranges: list[tuple[int, int]], size: int
    ) -> None:
        """multipart/byteranges; the boundary is random, so that no file can contain it on purpose."""
        boundary = os.urandom(16).hex()
        content_type = headers["Content-Type"]
        heads = [
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: bytes {start}-{end - 1}/{size}\r\n\r\n".encode("latin-1")
            for start, end in ranges
        ]
        tail = f"\r\n--{boundary}--\r\n".encode()
        length = sum(map(len, heads)) + sum(end - start for start, end in ranges) + len(tail)
        headers["Content-Type"] = f"multipart/byteranges; boundary={boundary}"
        request.start_response(206, headers.pairs(), length)
        for head, (start, end) in zip(heads, ranges, strict=True):
            request.write(head)
            while start < end:
                piece = os.pread(fd, min(CHUNK, end - start), start)
                if not piece:
                    raise OSError(errno.EIO, "the file became shorter while it was being sent", self.path)
                request.write(piece)
                start += len(piece)
                give_turn()
        request.write(tail)
        request.end()


def _send_stretch(
    request: RequestMixin, status: int, headers: MutableHeaders, fd: int, start: int, length: int
) -> None:
    if length:
        request.send_file(status, headers.pairs(), fd, start, length)
    else:
        request.respond(status, headers.pairs(), b"")


def _combined(request: RequestMixin, name: str) -> str | None:
    return None if request.header(name) is None else request.headers.combined(name)


def open_file(path: str, root: str | None) -> int:
    """A descriptor of a regular file. HTTPError 404 when there is none, 403 when it is no file or may not be read.

    With ``root``, ``path`` is relative to it; 404 for whatever lies outside of it or has a component that begins with a
    dot (".git", ".env"), except ".well-known" (RFC 8615).
    """
    if root is not None:
        path = path.lstrip("/")
        for part in path.split("/"):
            if part.startswith(".") and part != ".well-known":
                raise HTTPError(404, "no such file")
        path = os.path.join(root, path)
    try:
        # O_NONBLOCK: a FIFO must not stop the thread. O_NOCTTY: nor may a terminal take it over.
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except PermissionError:
        raise HTTPError(403, "the file may not be read") from None
    except ValueError:  # a NUL in the path
        raise HTTPError(404, "no such file") from None
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP):
            raise HTTPError(404, "no such file") from None
        if error.errno in (errno.ENXIO, errno.ENODEV):  # a socket, a device that is not there
            raise HTTPError(403, "that is not a file") from None
        raise
    try:
        if root is not None and not _is_below(fd, root):
            raise HTTPError(404, "no such file")
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise HTTPError(403, "that is not a file")
    except BaseException:
        os.close(fd)
        raise
    return fd


def _is_below(fd: int, root: str) -> bool:
    real = os.readlink(f"/proc/self/fd/{fd}")
    base = os.path.realpath(root)
    return real == base or real.startswith(base.rstrip("/") + "/")


def guess_type(path: str) -> str:
    """The media type for a file name, with UTF-8 as the charset of text; application/octet-stream when unknown.

    By Python's own table, not the machine's, so that it is the same everywhere.
    """
    media_type, encoding = _types().guess_type(os.path.basename(path).replace(":", "_"))  # a colon would make it a URL
    if encoding is not None:  # the file is what it is; a Content-Encoding would make clients unpack it
        return _ENCODED.get(encoding, "application/octet-stream")
    if media_type is None:
        return "application/octet-stream"
    if media_type.startswith("text/") or media_type == "application/javascript":
        return f"{media_type}; charset=utf-8"
    return media_type


@memoize
def _types() -> MimeTypes:
    from mimetypes import MimeTypes

    types = MimeTypes()
    for extension, media_type in _MORE_TYPES.items():
        types.add_type(media_type, extension)
    return types


def content_disposition(filename: str) -> str:
    """``attachment`` with a file name: a plain one for all clients, a UTF-8 one (RFC 8187) where it says more.

    ValueError for controls in the name (RFC 6266 section 4.3 has no way to send them).
    """
    if not filename.isprintable():
        raise ValueError(f"download_name {filename!r} holds a line break or another control")
    plain = filename.encode("ascii", "replace").decode().replace("\\", "_").replace('"', "_").replace("%", "_")
    value = f'attachment; filename="{plain}"'
    if plain != filename:
        from urllib.parse import quote

        value += f"; filename*=UTF-8''{quote(filename, safe='')}"
    return value

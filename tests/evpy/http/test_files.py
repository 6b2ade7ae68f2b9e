from __future__ import annotations

import os
import re
import socket

import pytest

from evpy.errors import HTTPError
from evpy.http import files
from evpy.http.files import content_disposition, guess_type, open_file
from evpy.http.response import Response

DATA = bytes(range(256)) * 40  # 10240 bytes


@pytest.fixture
def path(tmp_path):
    file = tmp_path / "data.bin"
    file.write_bytes(DATA)
    os.utime(file, ns=(0, 784111777_123456789))
    return file


def get(fake, path, method: str = "GET", headers=(), **options):
    request = fake(method, headers=headers)
    Response.file(path, **options)._send(request)
    assert request.ended
    return request


def test_the_whole_file(fake, path) -> None:
    r = get(fake, path)
    assert (r.status, r.answer, r.declared) == (200, DATA, len(DATA))
    assert r.sent_files == [(0, len(DATA))]
    assert r.got("content-type") == "application/octet-stream"
    assert r.got("etag") == f'"{len(DATA):x}-{784111777_123456789:x}"'
    assert r.got("last-modified") == "Sun, 06 Nov 1994 08:49:37 GMT"
    assert r.got("accept-ranges") == "bytes"
    assert r.got("cache-control") is None


def test_head_and_post(fake, path) -> None:
    r = get(fake, path, "HEAD", {"Range": "bytes=0-1"})
    assert (r.status, r.answer, r.declared) == (200, b"", len(DATA))
    r = get(fake, path, "POST", {"Range": "bytes=0-1", "If-None-Match": "*"})
    assert (r.status, r.answer) == (200, DATA)


def test_an_empty_file(fake, tmp_path) -> None:
    (tmp_path / "e").touch()
    for headers in ({}, {"Range": "bytes=0-"}):
        r = get(fake, tmp_path / "e", headers=headers)
        assert (r.status, r.answer, r.sent_files) == (200, b"", [])


def test_a_changed_file_has_another_tag(fake, path) -> None:
    before = get(fake, path).got("etag")
    os.utime(path, ns=(0, 784111777_123456790))
    assert get(fake, path).got("etag") != before


# --- conditional


def test_not_modified(fake, path) -> None:
    tag = get(fake, path).got("etag")
    response = Response.file(path, download_name="x", cache=60, headers={"Set-Cookie": "a=1"})
    for headers in ({"If-None-Match": tag}, {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}):
        r = fake(headers=headers)
        response._send(r)
        assert (r.status, r.answer) == (304, b"")
        assert (r.got("etag"), r.got("cache-control"), r.got("set-cookie")) == (tag, "max-age=60", "a=1")
        assert r.got("content-type") is None
        assert r.got("content-disposition") is None
    assert get(fake, path, headers=[("If-None-Match", '"x"'), ("If-None-Match", tag)]).status == 304
    assert get(fake, path, "HEAD", {"If-None-Match": tag}).status == 304


def test_precondition_failed(fake, path) -> None:
    with pytest.raises(HTTPError, match="412"):
        get(fake, path, headers={"If-Match": '"x"'})


def test_own_validators_win(fake, path) -> None:
    r = get(fake, path, headers={"If-None-Match": '"v1"'})
    assert r.status == 200
    request = fake(headers={"If-None-Match": '"v1"'})
    Response.file(path, headers={"ETag": '"v1"'})._send(request)
    assert request.status == 304


# --- ranges


@pytest.mark.parametrize(
    ("value", "start", "end"),
    [("bytes=0-0", 0, 1), ("bytes=100-199", 100, 200), ("bytes=-5", 10235, 10240), ("bytes=10000-", 10000, 10240)],
)
def test_one_range(fake, path, value: str, start: int, end: int) -> None:
    r = get(fake, path, headers={"Range": value})
    assert (r.status, r.answer, r.sent_files) == (206, DATA[start:end], [(start, end - start)])
    assert r.got("content-range") == f"bytes {start}-{end - 1}/10240"
    assert r.got("content-type") == "application/octet-stream"


def test_several_ranges(fake, path) -> None:
    r = get(fake, path, headers={"Range": "bytes=5000-5099,0-99,-10"}, content_type="video/mp4")
    boundary = re.fullmatch("multipart/byteranges; boundary=([0-9a-f]{32})", r.got("content-type"))[1]
    assert r.status == 206
    assert r.declared == len(r.answer)
    assert r.got("content-range") is None
    preamble, *parts, end = r.answer.split(b"\r\n--" + boundary.encode())
    assert (preamble, end) == (b"", b"--\r\n")
    assert parts == [
        b"\r\nContent-Type: video/mp4\r\nContent-Range: bytes %d-%d/10240\r\n\r\n%b" % (a, b - 1, DATA[a:b])
        for a, b in [(5000, 5100), (0, 100), (10230, 10240)]
    ]


def test_large_parts_are_read_in_pieces(fake, tmp_path, monkeypatch) -> None:
    data = os.urandom(300_000)
    (tmp_path / "f").write_bytes(data)
    turns = []
    monkeypatch.setattr(files, "give_turn", lambda: turns.append(1))
    r = get(fake, tmp_path / "f", headers={"Range": "bytes=0-149999,200000-"})
    assert data[:150_000] in r.answer
    assert data[200_000:] in r.answer
    assert len(turns) == 5


def test_a_file_that_shrinks_fails_loudly(fake, path, monkeypatch) -> None:
    monkeypatch.setattr(os, "pread", lambda fd, n, offset: b"")
    with pytest.raises(OSError, match="became shorter"):
        get(fake, path, headers={"Range": "bytes=0-1,500-501"})


def test_unsatisfiable(fake, path) -> None:
    with pytest.raises(HTTPError, match="416") as caught:
        get(fake, path, headers={"Range": "bytes=10240-"})
    assert caught.value.headers == (("Content-Range", "bytes */10240"),)


def test_if_range(fake, path) -> None:
    tag = get(fake, path).got("etag")
    assert get(fake, path, headers={"Range": "bytes=0-1", "If-Range": tag}).status == 206
    r = get(fake, path, headers={"Range": "bytes=0-1", "If-Range": '"old"'})
    assert (r.status, r.answer) == (200, DATA)


def test_a_response_can_serve_many_requests(fake, path) -> None:
    response = Response.file(path)
    for headers in ({"Range": "bytes=0-1"}, {"Range": "bytes=0-1,500-501"}):
        response._send(fake(headers=headers))
    path.write_bytes(b"new")
    r = fake()
    response._send(r)
    assert (r.answer, r.got("content-range"), r.got("etag").startswith('"3-')) == (b"new", None, True)
    assert r.got("content-type") == "application/octet-stream"


# --- options


def test_options(fake, path) -> None:
    r = get(fake, path, content_type="text/x", download_name='r\xe9sum\xe9 "1".pdf', cache=0)
    assert r.got("content-type") == "text/x"
    assert r.got("cache-control") == "no-cache"
    assert r.got("content-disposition") == (
        "attachment; filename=\"r?sum? _1_.pdf\"; filename*=UTF-8''r%C3%A9sum%C3%A9%20%221%22.pdf"
    )
    assert content_disposition("a b.txt") == 'attachment; filename="a b.txt"'
    with pytest.raises(ValueError, match="line break"):
        Response.file(path, download_name="a\r\nb")


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.html", "text/html; charset=utf-8"),
        ("a.TXT", "text/plain; charset=utf-8"),
        ("a.js", "text/javascript; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.mp4", "video/mp4"),
        ("a.webp", "image/webp"),
        ("a.woff2", "font/woff2"),
        ("a.svg", "image/svg+xml"),
        ("a.tar.gz", "application/gzip"),
        ("a.svgz", "application/gzip"),
        ("a.xz", "application/x-xz"),
        ("a", "application/octet-stream"),
        ("a.unknown", "application/octet-stream"),
        ("data:text/html,x", "application/octet-stream"),
    ],
)
def test_types(name: str, media_type: str) -> None:
    if name == "a.js":  # Python 3.11 says application/javascript
        assert guess_type(name) in (media_type, "application/javascript; charset=utf-8")
    else:
        assert guess_type("/x/" + name) == media_type


# --- what may be opened


def refused(path, root=None) -> str:
    with pytest.raises(HTTPError) as caught:
        os.close(open_file(os.fspath(path), None if root is None else os.fspath(root)))
    return str(caught.value)


def test_missing_and_unreadable(tmp_path, monkeypatch) -> None:
    assert refused(tmp_path / "none") == "404 no such file"
    assert refused(tmp_path / "none" / "x") == "404 no such file"
    (tmp_path / "file").touch()
    assert refused(tmp_path / "file" / "x") == "404 no such file"
    assert refused("x" * 5000) == "404 no such file"
    assert refused("a\0b") == "404 no such file"
    assert refused(tmp_path) == "403 that is not a file"
    os.symlink("loop", tmp_path / "loop")
    assert refused(tmp_path / "loop") == "404 no such file"

    def forbidden(*args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    assert refused(tmp_path / "file") == "403 the file may not be read"


def test_what_is_no_regular_file(tmp_path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert refused(tmp_path / "fifo") == "403 that is not a file"  # and does not wait for a writer
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.fspath(tmp_path / "sock"))
        assert refused(tmp_path / "sock") == "403 that is not a file"
    assert refused("/dev/null") == "403 that is not a file"


@pytest.mark.parametrize(
    "path",
    ["../secret", "a/../../secret", "..", "/../secret", "/etc/passwd", "//etc/passwd", "a/./b", ".env", "a/.git/config",
     "out", "outdir/secret", "a\0b", "..\\secret", "none"],
)  # fmt: skip
def test_nothing_outside_of_root(tmp_path, path: str) -> None:
    root = tmp_path / "root"
    (root / "a" / ".git").mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (root / ".env").write_text("secret")
    (root / "a" / ".git" / "config").write_text("secret")
    (root / "a" / "b").write_text("b")
    os.symlink("../secret", root / "out")
    os.symlink("..", root / "outdir")
    assert refused(path, root) == "404 no such file"


def test_within_root(tmp_path, fake) -> None:
    root = tmp_path / "root"
    (root / ".well-known").mkdir(parents=True)
    (root / ".well-known" / "x").write_text("x")
    (root / "a").mkdir()
    (root / "a" / "b.txt").write_text("b")
    os.symlink("a/b.txt", root / "link")
    os.symlink(root, tmp_path / "root2")
    for path in ("a/b.txt", "/a/b.txt", "a//b.txt", "link", ".well-known/x"):
        os.close(open_file(path, os.fspath(root)))
        os.close(open_file(path, os.fspath(tmp_path / "root2")))
    assert refused("", root) == "403 that is not a file"
    assert refused("a", root) == "403 that is not a file"
    assert get(fake, "a/b.txt", root=root).answer == b"b"
    sibling = tmp_path / "root-other"
    sibling.mkdir()
    (sibling / "x").write_text("x")
    os.symlink("../root-other/x", root / "sibling")
    assert refused("sibling", root) == "404 no such file"


def test_a_root_of_everything(tmp_path) -> None:
    (tmp_path / "x").touch()
    os.close(open_file(os.fspath(tmp_path / "x"), "/"))

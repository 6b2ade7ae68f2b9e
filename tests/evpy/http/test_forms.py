from __future__ import annotations

import errno
import itertools
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.errors import BodyTooLarge, ClientDisconnected, HTTPError
from evpy.http import forms
from evpy.http.forms import Form, FormLimits, parse_form
from evpy.http.uploads import SPOOL, UploadedFile

MULTIPART = "multipart/form-data; boundary=XyZ"
URLENCODED = "application/x-www-form-urlencoded"


def reader(*pieces: bytes):
    left = [piece for piece in pieces if piece]

    def read(n: int) -> bytes:
        if not left:
            return b""
        piece, left[0] = left[0][:n], left[0][n:]
        if not left[0]:
            del left[0]
        return piece

    return read


def part(name: str, value: bytes, filename: str | None = None, content_type: str | None = None) -> bytes:
    head = f'--XyZ\r\nContent-Disposition: form-data; name="{name}"'
    if filename is not None:
        head += f'; filename="{filename}"'
    if content_type:
        head += f"\r\nContent-Type: {content_type}"
    return head.encode() + b"\r\n\r\n" + value + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--XyZ--\r\n"


def multipart(*pieces: bytes) -> Form:
    return parse_form(MULTIPART, None, reader(*pieces))


@pytest.fixture
def limits(monkeypatch):
    def set_to(**values: int) -> None:
        monkeypatch.setattr(forms, "limits", FormLimits(**values))

    return set_to


# --- urlencoded


def test_urlencoded() -> None:
    form = parse_form(f"{URLENCODED}; charset=utf-8", 9, reader(b"a=1&", b"b=%2B"))
    assert form.pairs() == [("a", "1"), ("b", "+")]
    assert len(form.files) == 0
    with pytest.raises(HTTPError, match="400 form field 'c' is missing"):
        form["c"]
    with pytest.raises(HTTPError, match="400 uploaded file 'c' is missing"):
        form.files["c"]


def test_urlencoded_limits(limits) -> None:
    limits(memory=10, fields=2)
    assert len(parse_form(URLENCODED, None, reader(b"a=12&b=345"))) == 2
    with pytest.raises(BodyTooLarge, match="may have 10 bytes"):
        parse_form(URLENCODED, None, reader(b"a=12&b=", b"3456"))
    with pytest.raises(HTTPError, match="413 the form has more than 2 fields"):
        parse_form(URLENCODED, None, reader(b"a&b&c"))

    def never(n: int) -> bytes:
        raise AssertionError("a declared length is refused unread")

    with pytest.raises(BodyTooLarge):
        parse_form(URLENCODED, 11, never)


def test_urlencoded_reads_no_more_than_the_limit(limits) -> None:
    limits(memory=100_000)
    read = 0

    def endless(n: int) -> bytes:
        nonlocal read
        read += n
        return b"a" * n

    with pytest.raises(BodyTooLarge):
        parse_form(URLENCODED, None, endless)
    assert read <= 100_000 + forms.CHUNK


@pytest.mark.parametrize(
    ("content_type", "complaint"),
    [
        ("application/json", "415 a form was expected, the body is application/json"),
        ("", "415 a form was expected, the body is without a Content-Type"),
        ("multipart/mixed; boundary=X", "415"),
        ("multipart/form-data", "400 multipart/form-data needs a boundary"),
        ("multipart/form-data; boundary=" + "x" * 71, "400 multipart/form-data needs a boundary"),
        ("multipart/form-data; boundary=\xe9", "400 multipart/form-data needs a boundary"),
    ],
)
def test_other_types(content_type: str, complaint: str) -> None:
    with pytest.raises(HTTPError, match=complaint):
        parse_form(content_type, None, reader(b"x"))


# --- multipart


def test_fields_and_files() -> None:
    form = multipart(
        body(
            part("title", "\xfcber".encode()),
            part("latin", b"\xe9", content_type="text/plain; charset=iso-8859-1"),
            part("doc", b"\x00\x01\r\n--Xy", "C:\\a\\b.bin", "application/x-thing"),
            part("title", b"two"),
            part("doc", b"2", "c"),
        )
    )
    assert form.pairs() == [("title", "\xfcber"), ("latin", "\xe9"), ("title", "two")]
    one, two = form.files.get_all("doc")
    assert (one.filename, one.content_type, one.size, one.read()) == (
        "b.bin",
        "application/x-thing",
        8,
        b"\x00\x01\r\n--Xy",
    )
    assert (two.filename, two.content_type, two.size) == ("c", "application/octet-stream", 1)
    form.close()
    assert one.file.closed
    assert two.file.closed


def test_a_file_input_without_a_file() -> None:
    form = multipart(body(part("f", b"", "", "application/octet-stream"), part("g", b"", "empty.txt")))
    assert [(name, file.filename) for name, file in form.files.pairs()] == [("g", "empty.txt")]
    form.close()


DATA = st.one_of(
    st.binary(max_size=300), st.sampled_from([b"\r\n--XyZ", b"\r\n--XyZx", b"--XyZ--", b"\r", b"x" * 70_000])
)
NAME = st.text(st.sampled_from("ab\xe9\u20ac c"), min_size=1, max_size=5)


@given(
    st.lists(st.tuples(NAME, DATA.filter(lambda data: b"\r\n--XyZ" not in b"\r\n" + data), st.booleans()), max_size=6),
    st.lists(st.integers(0, 2000), max_size=20),
)
def test_however_it_is_cut(parts: list[tuple[str, bytes, bool]], cuts: list[int]) -> None:
    whole = body(
        *(
            part(name, data, "f.bin") if is_file else part(name, data, content_type="text/plain; charset=latin-1")
            for name, data, is_file in parts
        )
    )
    places = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    form = multipart(*(whole[a:b] for a, b in itertools.pairwise(places)))
    assert [(n, v.encode("latin-1")) for n, v in form.pairs()] == [(n, d) for n, d, is_file in parts if not is_file]
    assert [(n, f.read()) for n, f in form.files.pairs()] == [(n, d) for n, d, is_file in parts if is_file]
    form.close()


def test_byte_by_byte() -> None:
    whole = body(part("a", b"1"), part("f", b"data", "x"))
    form = multipart(*(bytes([b]) for b in whole))
    assert (form["a"], form.files["f"].read()) == ("1", b"data")
    form.close()


@pytest.mark.parametrize(
    ("whole", "complaint"),
    [
        (b"", "400 malformed multipart form: Unexpected end"),
        (b"garbage", "400 malformed multipart form"),
        (body(part("a", b"1"))[:-6], "400 malformed multipart form: Unexpected end"),
        (
            b"--XyZ\r\nContent-Type: text/plain\r\n\r\nx\r\n--XyZ--",
            "400 malformed multipart form: Missing Content-Disp",
        ),
        (b"--XyZ\r\nContent-Disposition: form-data\r\n\r\nx\r\n--XyZ--", "400 malformed .* a part has no name"),
        (b"--XyZ\r\nContent-Disposition: attachment; name=a\r\n\r\nx\r\n--XyZ--", "400 malformed"),
        (b"--XyZ\nContent-Disposition: form-data; name=a\n\nx\n--XyZ--", "400 malformed"),
        (body(part("a", b"\xff")), "400 form field 'a' is not utf-8"),
        (body(part("a", b"x", content_type="text/plain; charset=nope")), "400 form field 'a' is not nope"),
        (body(part("a", b"x", content_type="text/plain; charset=punycode")), "400 form field 'a' is not punycode"),
        (b"--XyZ\r\nX-A: " + b"x" * 5000 + b"\r\n\r\n", "413 multipart form: Maximum segment header length"),
    ],
)
def test_malformed(whole: bytes, complaint: str) -> None:
    with pytest.raises(HTTPError, match=complaint):
        multipart(whole)


def test_an_epilogue_is_ignored() -> None:
    whole = body(part("a", b"1"))
    assert multipart(whole, b"\r\n", b"epilogue" * 20_000)["a"] == "1"


def test_limits(limits) -> None:
    limits(fields=2, files=1, field_size=10, memory=200)
    assert len(multipart(body(part("a", b"0123456789"), part("b", b"")))) == 2
    for whole, complaint in [
        (body(part("a", b""), part("b", b""), part("c", b"")), "413 the form has more than 2 fields"),
        (body(part("a", b"x", "f"), part("b", b"x", "g")), "413 the form has more than 1 files"),
        (body(part("a", b"0123456789X")), "413 form field 'a' is longer than 10 bytes"),
        (body(part("n" * 180, b"0123")), "413 the fields of the form are longer than 200 bytes together"),
    ]:
        with pytest.raises(HTTPError, match=complaint):
            multipart(whole)
    big = multipart(body(part("a", b"x" * 5000, "f")))  # a file's size is no matter of memory
    assert big.files["a"].size == 5000
    big.close()


@pytest.fixture
def opened(monkeypatch) -> list[UploadedFile]:
    files: list[UploadedFile] = []
    original = UploadedFile.__init__

    def init(self, *args) -> None:
        original(self, *args)
        files.append(self)

    monkeypatch.setattr(UploadedFile, "__init__", init)
    return files


@pytest.mark.parametrize("error", [ClientDisconnected(), BodyTooLarge(5)])
def test_a_failed_form_leaves_no_file(opened: list[UploadedFile], error: Exception) -> None:
    read = reader(part("a", b"x" * 200_000, "f") + part("b", b"y" * 200_000, "g"))

    def failing(n: int) -> bytes:
        piece = read(n)
        if not piece:
            raise error
        return piece

    with pytest.raises(type(error)):
        parse_form(MULTIPART, None, failing)
    assert len(opened) == 2
    assert all(file.file.closed for file in opened)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_507(opened: list[UploadedFile], monkeypatch, code: int) -> None:
    def write(self, data: bytes) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(UploadedFile, "_write", write)
    with pytest.raises(HTTPError, match="507 the server has no space left") as caught:
        multipart(body(part("a", b"x", "f")))
    assert isinstance(caught.value.__cause__, OSError)
    assert [file.file.closed for file in opened] == [True]


def test_a_really_full_disk_is_507(opened: list[UploadedFile], monkeypatch) -> None:
    """/dev/full accepts nothing; the spool hits it when it leaves memory."""

    def full(*args: object, **options: object):
        return open("/dev/full", "w+b")

    monkeypatch.setattr("tempfile.TemporaryFile", full)
    with pytest.raises(HTTPError, match="507"):
        multipart(body(part("a", b"x" * (2 * SPOOL), "f")))
    assert len(opened) == 1


def test_other_os_errors_are_errors(monkeypatch) -> None:
    def write(self, data: bytes) -> None:
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(UploadedFile, "_write", write)
    with pytest.raises(OSError, match="broken"):
        multipart(body(part("a", b"x", "f")))

from __future__ import annotations

import errno
import io
import os
import socket

import gevent
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.http import uploads
from evpy.http.uploads import SPOOL, UploadedFile, give_turn, safe_filename


def upload(data: bytes) -> UploadedFile:
    file = UploadedFile("f", "C:\\dir\\a.txt", "text/plain")
    for start in range(0, len(data), 50_000):
        file._write(data[start : start + 50_000])
    file._finish()
    return file


@pytest.mark.parametrize("size", [0, 1, SPOOL, SPOOL + 1, 3 * uploads.TURN + 7])
def test_contents(size: int, tmp_path) -> None:
    data = os.urandom(size)
    file = upload(data)
    assert (file.name, file.filename, file.content_type, file.size) == ("f", "a.txt", "text/plain", size)
    assert file.read(10) == data[:10]
    assert file.read() == data[10:]
    file.save(tmp_path / "saved")
    assert (tmp_path / "saved").read_bytes() == data
    assert file.file.tell() == 0
    assert repr(file) == f"UploadedFile('f', 'a.txt', 'text/plain', {size} bytes)"
    file.close()
    file.close()


def test_small_files_need_no_descriptor_and_large_ones_no_name(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    small = upload(b"x" * SPOOL)
    assert not small.file._rolled  # type: ignore[attr-defined]
    large = upload(b"x" * (SPOOL + 1))
    assert os.readlink(f"/proc/self/fd/{large.file.fileno()}").startswith(str(tmp_path))
    assert os.listdir(tmp_path) == []  # nothing would stay behind after kill -9
    small.close()
    large.close()


def test_save_replaces_nothing_and_leaves_no_half_copy(tmp_path, monkeypatch) -> None:
    file = upload(b"new")
    target = tmp_path / "t"
    target.write_text("old")
    with pytest.raises(FileExistsError):
        file.save(target)
    assert target.read_text() == "old"

    def fail() -> None:
        raise OSError(errno.EIO, "no")

    monkeypatch.setattr(uploads, "give_turn", fail)
    with pytest.raises(OSError, match="no"):
        file.save(tmp_path / "u")
    assert os.listdir(tmp_path) == ["t"]
    file.close()


def test_others_get_their_turn(monkeypatch) -> None:
    turns = []
    monkeypatch.setattr(uploads, "give_turn", lambda: turns.append(1))
    upload(b"x" * (3 * uploads.TURN)).close()
    assert len(turns) >= 2


def test_closing_never_fails() -> None:
    class Full(io.BytesIO):
        full = True

        def close(self) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, "full")
            super().close()

    file = upload(b"")
    file.file.close()
    full = file.file = Full()
    file.close()
    full.full = False  # its end closes it once more


@pytest.mark.parametrize(
    ("raw", "safe"),
    [
        ("a.txt", "a.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\x\\y.doc", "y.doc"),
        ("a\r\nb\0c", "abc"),
        ("\u202egpj.exe", "gpj.exe"),
        ("", "unnamed"),
        ("..", "unnamed"),
        ("a/", "unnamed"),
        (" . ", "unnamed"),
        ("\u00fcber uns.pdf", "\u00fcber uns.pdf"),
    ],
)
def test_file_names(raw: str, safe: str) -> None:
    assert safe_filename(raw) == safe


@given(st.text())
def test_file_names_are_single_components(raw: str) -> None:
    name = safe_filename(raw)
    assert name not in ("", ".", "..")
    assert not set("/\\\0\r\n") & set(name)


def test_a_turn_lets_the_hub_look_at_its_sockets() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen: list[bytes] = []
        watcher = gevent.get_hub().loop.io(ours.fileno(), 1)
        watcher.start(lambda: seen.append(ours.recv(10)))
        try:
            give_turn()
            theirs.send(b"here")
            give_turn()
            give_turn()
            assert seen == [b"here"]
        finally:
            watcher.stop()
            watcher.close()

"""efio.os, atomic_write and watch: what they do, how they fail, and that greenlets switch."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import gevent
import pytest
from flows import PATIENCE, in_thread

import efio
import efio.os
from efio import atomic_write

hubs = pytest.mark.parametrize("hub", [False, True])


@pytest.fixture(autouse=True)
def _no_threads_stay() -> Iterator[None]:
    yield
    efio.default_pool().shutdown()


@hubs
def test_names(tmp_path: Path, hub: bool) -> None:
    def work() -> None:
        folder = tmp_path / "a" / "b"
        efio.os.makedirs(folder)
        efio.os.mkdir(folder / "c", 0o700)
        with pytest.raises(FileExistsError):
            efio.os.mkdir(folder / "c")
        (folder / "file").write_bytes(b"12345")
        assert efio.os.stat(folder / "file").st_size == 5
        efio.os.rename(folder / "file", folder / "renamed")
        efio.os.symlink("renamed", folder / "link")
        assert efio.os.readlink(folder / "link") == "renamed"
        assert {entry.name: entry.is_dir() for entry in efio.os.scandir(folder)} == {
            "c": True, "renamed": False, "link": False,
        }  # fmt: skip
        efio.os.truncate(folder / "renamed", 2)
        assert sorted(efio.os.listdir(folder)) == ["c", "link", "renamed"]
        efio.os.unlink(folder / "link")
        with pytest.raises(FileNotFoundError) as caught:
            efio.os.stat(folder / "link")
        assert caught.value.filename == str(folder / "link") or caught.value.filename == folder / "link"
        efio.os.fsync_directory(folder)
        efio.os.rmtree(tmp_path / "a")
        assert not efio.os.exists(tmp_path / "a")

    in_thread(work, hub=hub).result(PATIENCE)


@hubs
def test_copy(tmp_path: Path, hub: bool) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    data = os.urandom(5_352_871)
    source.write_bytes(data)
    source.chmod(0o640)
    target.write_bytes(b"longer" * 2_000_000)

    def work() -> None:
        assert efio.os.copy(source, target) == len(data)
        with pytest.raises(FileExistsError):
            efio.os.copy(source, target, exclusive=True)
        with pytest.raises(shutil.SameFileError, match="are the same file"):
            efio.os.copy(source, source)
        with pytest.raises(FileNotFoundError):
            efio.os.copy(tmp_path / "missing", target)

    in_thread(work, hub=hub).result(PATIENCE)
    assert target.read_bytes() == data == source.read_bytes()
    assert target.stat().st_mode & 0o777 == 0o640


def test_copies_where_the_system_cannot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_arguments: Any) -> int:
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))

    monkeypatch.setattr(os, "copy_file_range", refuse)
    (tmp_path / "source").write_bytes(b"x" * 3_000_000)
    assert efio.os.copy(tmp_path / "source", tmp_path / "target") == 3_000_000
    assert efio.os.copy("/proc/self/status", tmp_path / "status") > 0
    monkeypatch.undo()
    assert efio.os.copy("/proc/self/status", tmp_path / "status") > 0
    with pytest.raises(OSError, match="No space left"):
        efio.os.copy(tmp_path / "source", "/dev/full")


def test_fifty_copies_at_once(tmp_path: Path) -> None:
    data = os.urandom(5_352_871)
    (tmp_path / "source").write_bytes(data)

    def work() -> None:
        copies = [gevent.spawn(efio.os.copy, tmp_path / "source", tmp_path / f"copy{n}") for n in range(50)]
        gevent.joinall(copies, timeout=PATIENCE, raise_error=True)
        assert [copy.value for copy in copies] == [len(data)] * 50

    in_thread(work, hub=True).result(2 * PATIENCE)
    wanted = hashlib.sha256(data).digest()
    for n in range(50):
        assert hashlib.sha256((tmp_path / f"copy{n}").read_bytes()).digest() == wanted
        (tmp_path / f"copy{n}").unlink()


@hubs
def test_sendfile(tmp_path: Path, hub: bool) -> None:
    (tmp_path / "f").write_bytes(bytes(range(256)) * 400)
    ours, theirs = socket.socketpair()
    got = bytearray()

    def receive() -> None:
        while data := theirs.recv(65536):
            got.extend(data)

    reader = threading.Thread(target=receive)
    reader.start()
    with ours, theirs, open(tmp_path / "f", "rb") as file:
        send: Callable[[], int] = lambda: efio.os.sendfile(ours.fileno(), file.fileno(), 256, 1 << 20)  # noqa: E731
        assert in_thread(send, hub=hub).result(PATIENCE) == 399 * 256
        ours.shutdown(socket.SHUT_WR)
        reader.join()
    assert bytes(got) == bytes(range(256)) * 399


# --- atomic_write


@hubs
def test_atomic_write(tmp_path: Path, hub: bool) -> None:
    path = tmp_path / "settings"

    def work() -> None:
        with atomic_write(path, encoding="utf-8") as file:
            file.write("größe = 1\n")
            assert not path.exists()
        assert path.read_text(encoding="utf-8") == "größe = 1\n"
        path.chmod(0o604)
        with atomic_write(path, "wb", sync=False) as file:
            file.write(b"two")
            assert path.read_text(encoding="utf-8") == "größe = 1\n"
        assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"two", 0o604)

    in_thread(work, hub=hub).result(PATIENCE)
    assert os.listdir(tmp_path) == ["settings"]


def test_atomic_write_that_fails_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "settings"
    path.write_text("old")

    def work() -> None:
        with atomic_write(path) as file:
            file.write("new")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["settings"]
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "missing" / "f"):
        pass
    with pytest.raises(ValueError, match=r"atomic_write\(mode='a'\): 'w' or 'wb'"), atomic_write(path, "a"):
        pass


def test_atomic_write_of_new_files_and_links(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder/real")
    old = os.umask(0o027)
    try:
        with atomic_write(tmp_path / "link") as file:
            file.write("x")
    finally:
        os.umask(old)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "real").stat().st_mode & 0o777 == 0o640
    with atomic_write(tmp_path / "secret", "wb", permissions=0o600) as file:
        file.write(b"x")
    assert (tmp_path / "secret").stat().st_mode & 0o777 == 0o600


# --- watch


@hubs
def test_watch(tmp_path: Path, hub: bool) -> None:
    (tmp_path / "there").write_text("x")

    def work() -> list[set[tuple[str, str]]]:
        stop = threading.Event()
        changes = efio.watch(tmp_path, stop=stop, timeout=0.1, filter=lambda kind, path: not path.endswith(".tmp"))
        assert next(changes) == set(), "nothing yet: it is watching"
        (tmp_path / "unseen.tmp").write_text("x")
        (tmp_path / "new").write_text("x")
        seen = []
        while not seen or not any(kind == "deleted" for each in seen for kind, _ in each):
            if found := next(changes):
                seen.append(found)
                if len(seen) == 1:
                    (tmp_path / "there").unlink()
        stop.set()
        assert list(changes) == []
        return seen

    seen = in_thread(work, hub=hub).result(PATIENCE)
    everything = set().union(*seen)
    assert ("deleted", str(tmp_path / "there")) in everything
    assert any(path == str(tmp_path / "new") for _, path in everything)
    assert not any(path.endswith(".tmp") for _, path in everything)


def test_watching_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        next(efio.watch(tmp_path / "missing"))


# --- more of files


def test_vectors_readahead_and_room(tmp_path: Path) -> None:
    def work() -> None:
        with efio.open(tmp_path / "f", "w+b", buffering=0) as file:
            assert file.pwritev([b"01", b"", b"2345"], 3) == 6  # type: ignore[attr-defined]
            buffers = [bytearray(4), bytearray(10)]
            assert file.preadv(buffers, 2) == 7  # type: ignore[attr-defined]
            assert (bytes(buffers[0]), bytes(buffers[1][:3])) == (b"\x00" + b"012", b"345")
            file.readahead(0, 100)  # type: ignore[attr-defined]
            file.allocate(0, 10_000)  # type: ignore[attr-defined]
            assert os.fstat(file.fileno()).st_size == 10_000
            assert file.tell() == 0

    for hub in (False, True):
        in_thread(work, hub=hub).result(PATIENCE)


@hubs
def test_an_input_output_error(hub: bool) -> None:
    """/proc/self/mem has nothing at 0: the one file on every system whose reading fails with EIO."""

    def work() -> None:
        with efio.open("/proc/self/mem", "rb", buffering=0) as file:
            for _ in range(2):  # the original gives memory that was never read at the second time
                with pytest.raises(OSError, match="Input/output error") as caught:
                    file.read(10)
                assert caught.value.errno == errno.EIO

    in_thread(work, hub=hub).result(PATIENCE)


def test_a_file_that_grows_and_shrinks(tmp_path: Path) -> None:
    """The original decides on the end when it opens a file."""
    path = tmp_path / "f"
    path.write_bytes(b"one")

    def work() -> None:
        with efio.open(path, "rb", buffering=0) as reader:
            assert reader.read(10) == b"one"
            assert reader.read(10) == b""
            with path.open("ab") as more:
                more.write(b"two")
            assert reader.read(10) == b"two"
            os.truncate(path, 1)
            assert reader.read(10) == b""
            reader.seek(0)
            assert reader.read(10) == b"o"

    for hub in (False, True):
        path.write_bytes(b"one")
        in_thread(work, hub=hub).result(PATIENCE)


def test_overwriting_a_part_keeps_the_rest(tmp_path: Path) -> None:
    """The original writes whole pages back, the rest of them as its memory happens to be."""
    path = tmp_path / "f"
    path.write_bytes(bytes(range(256)) * 8192)
    with efio.open(os.open(path, os.O_WRONLY), "wb") as file:
        file.seek(5000)
        file.write(b"new")
    want = bytearray(bytes(range(256)) * 8192)
    want[5000:5003] = b"new"
    assert path.read_bytes() == bytes(want)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", folder], check=True)


@hubs
def test_a_full_disk(tiny: Path, hub: bool) -> None:
    def work() -> None:
        with pytest.raises(OSError, match="No space left"), efio.open(tiny / "f", "wb") as file:
            file.writelines([b"x" * 10_000] * 100)
        assert (tiny / "f").stat().st_size == 256 << 10, "as much as fits is there"
        behind = efio.open(tiny / "f", "wb", write_behind=1 << 20)
        behind.write(b"y" * 500_000)  # it says nothing yet
        with pytest.raises(OSError, match="No space left"):
            behind.close()
        (tiny / "f").unlink()
        (tiny / "small").write_bytes(b"old")
        with pytest.raises(OSError, match="No space left"), atomic_write(tiny / "small", "wb") as file:
            file.writelines([b"z" * 10_000] * 100)
        assert (os.listdir(tiny), (tiny / "small").read_bytes()) == (["small"], b"old")
        with efio.open(tiny / "room", "wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
            file.allocate(0, 1 << 20)  # type: ignore[attr-defined]

    in_thread(work, hub=hub).result(PATIENCE)


def test_the_interpreter_ends_while_a_greenlet_reads() -> None:
    program = """
import gevent, os, time, efio
r, w = os.pipe()
f = efio.open(r, "rb", buffering=0)
g = [gevent.spawn(efio.run_blocking, time.sleep, 0.2) for _ in range(3)]
g.append(gevent.spawn(f.read, 1))
b = efio.open(os.memfd_create("x"), "wb", 0, write_behind=1000)
b.write(b"x")
gevent.sleep(0.01)
print("ends", flush=True)
"""
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "ends\n", "")

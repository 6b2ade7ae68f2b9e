"""A disk that is full: an upload gets 507, log lines are dropped and counted, the server lives on."""

from __future__ import annotations

import os
import re
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from hammer import APP, Hammer
from serving import Server
from serving.inside import Inside

UPLOADS = """
handle_others = handle

def handle(request):
    if request.raw_path == "/form":
        file = request.form.files["file"]
        return f"{file.name} {file.size}"
    return handle_others(request)
"""
MIB = 1 << 20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a disk of one MiB; for root only."""
    made = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", tmp_path], capture_output=True, check=False
    )
    if not made or made.returncode:
        pytest.skip("only root may mount a small disk")
    yield tmp_path
    subprocess.run(["umount", "--lazy", tmp_path], check=True)


def form(size: int) -> tuple[bytes, str]:
    head = b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    return head + b"x" * size + b"\r\n--B--\r\n", "Content-Type: multipart/form-data; boundary=B"


def upload(server: Server, size: int) -> tuple[int, bytes]:
    """Sends everything, whatever happens, and then looks for the answer."""
    body, kind = form(size)
    with server.client() as client:
        head = ["POST /form HTTP/1.1", "Host: a", kind, f"Content-Length: {len(body)}", "", ""]
        client.send_leniently("\r\n".join(head).encode() + body)
        answer = client.answer()
        return answer.status, answer.body


def check_uploads(server: Server) -> None:
    with Inside(server.pid) as inside:
        workers = set(server.workers())
        for _ in range(3):
            assert upload(server, 8 * MIB)[0] == 507
            assert upload(server, MIB // 2) == (200, b"file %d" % (MIB // 2)), "the failed one has taken nothing"
        assert server.get("/hello/0000000c").body == b"hello 0000000c"
        assert set(server.workers()) == workers
        inside.wait_at_rest()
        assert "no space left for the upload" in server.log


def test_an_upload_to_a_full_disk(small_disk: Path) -> None:
    with Server(APP + UPLOADS, "-w", "2", env={"TMPDIR": str(small_disk)}) as server:
        check_uploads(server)
        assert list(small_disk.iterdir()) == []


def test_an_upload_beyond_the_limit_of_file_sizes() -> None:
    """The same without being root: the kernel refuses files of more than a MiB."""
    with Server(APP + UPLOADS, "-w", "2") as server:
        for pid in server.workers():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (MIB, MIB))
        check_uploads(server)


@pytest.mark.parametrize("form", ["combined", "json"])
def test_an_access_log_on_a_full_disk(form: str) -> None:
    options = ("-w", "2", "--access-log", "/dev/full", "--access-log-format", form)
    with Server(APP, *options) as server, Inside(server.pid) as inside:
        with Hammer(server.port, {"hello": 1}, requests=2000) as hammer:
            report = hammer.wait()
        assert report.failures() == []
        server.wait_until(lambda: inside.count("log_dropped") == 2000, "every line is dropped and counted")
        inside.wait_at_rest()


def test_an_access_log_whose_disk_fills_up_and_is_cleared(small_disk: Path) -> None:
    log, filler = small_disk / "access.log", small_disk / "filler"
    filler.write_bytes(bytes(MIB * 3 // 4))
    with Server(APP, "-w", "2", "--access-log", str(log)) as server, Inside(server.pid) as inside:
        with Hammer(server.port, {"hello": 1}) as hammer:
            server.wait_until(lambda: inside.count("log_dropped") > 0, "the disk is full")
            report = hammer.stop()
        assert report.failures() == []
        filler.unlink()
        # What fits again is logged again: no restart is needed.
        server.wait_until(lambda: server.get("/hello/again").status == 200 and b"/again" in log.read_bytes(), "logged")
        inside.wait_at_rest()
        requests = inside.count("requests")
        assert inside.count("log_lines") == requests, "each line was on its way"
        server.wait_until(
            lambda: log.read_bytes().count(b"\n") + inside.count("log_dropped") == requests,
            "each arrived or is counted",
        )
    lines = log.read_bytes().split(b"\n")
    pattern = re.compile(rb'127\.0\.0\.1 - - \[[^]]+\] "GET /hello/\w+(\?n=\d+)? HTTP/1\.1" 200 \d+ "-" "-"')
    assert [line for line in lines[:-1] if not pattern.fullmatch(line)] == [], "no half line is left"
    assert lines[-1] == b""


def test_an_event_log_on_a_full_disk(small_disk: Path) -> None:
    log, filler = small_disk / "events.log", small_disk / "filler"
    filler.write_bytes(bytes(MIB * 3 // 4))
    app = "def handle(request):\n    raise ValueError('x' * 2000)\n"
    with Server(app, "-w", "2", "--log-file", str(log), ready=False) as server:
        server.wait_until(lambda: log.exists() and b" ready " in log.read_bytes(), "ready")
        client = server.client()
        while os.statvfs(small_disk).f_bavail:
            assert client.get("/").status == 500
        for _ in range(100):
            assert client.get("/").status == 500
        filler.unlink()
        server.wait_until(
            lambda: client.get("/").status == 500 and re.search(rb"log lines were dropped.*=\d+", log.read_bytes()),
            "how much was dropped is in the log",
        )
        client.close()

"""The load generator under AddressSanitizer and UBSan: what counts as an answer, and what is said of others."""

import contextlib
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
sys.path.insert(0, str(SCRIPTS))

from benchlib import install  # noqa: E402
from benchlib.histogram import bucket_range  # noqa: E402
from benchlib.launch import Running  # noqa: E402
from benchlib.loadgen import Load, Measurement, hold, measure  # noqa: E402
from benchlib.places import BenchError  # noqa: E402
from benchlib.procfs import ProcessTree  # noqa: E402

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nhe\r\n00003\r\nllo\r\n0\r\nTrailer: x\r\n\r\n"
Answer = Callable[[str, bytes], list[bytes] | None]  # path and body to the pieces sent; None closes the connection


@pytest.fixture(scope="module", autouse=True)
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The generator under AddressSanitizer and UBSan, instead of the one that the benchmarks use."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    program = tmp_path_factory.mktemp("loadgen") / "loadgen"
    flags = ["-std=gnu11", "-O1", "-Wall", "-Wextra", "-Wshadow", "-Werror", "-fsanitize=address,undefined"]
    flags += ["-fno-sanitize-recover=all"]
    assert compiler, "no C compiler"
    subprocess.run([compiler, *flags, "-o", program, SCRIPTS / "benchlib" / "loadgen.c", "-lm"], check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchlib.loadgen.build_loadgen", lambda: program)
        yield program


def running(port: int) -> Running:
    """A server of which this process is the process."""
    return Running("test", port, ProcessTree(os.getpid()), os.sched_getaffinity(0), Path(os.devnull), 0.0)


@contextlib.contextmanager
def answering(answer: Answer, connections: list[socket.socket] | None = None) -> Iterator[Running]:
    """A server in threads of this process, which answers as told."""

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 128

    class Handler(socketserver.StreamRequestHandler):
        disable_nagle_algorithm = True

        def setup(self) -> None:
            super().setup()
            if connections is not None:
                connections.append(self.connection)

        def handle(self) -> None:
            with contextlib.suppress(ConnectionError):
                while line := self.rfile.readline():
                    length = 0
                    while (field := self.rfile.readline()) not in (b"\r\n", b""):
                        if field.lower().startswith(b"content-length:"):
                            length = int(field[15:])
                    pieces = answer(line.split()[1].decode(), self.rfile.read(length))
                    if pieces is None:
                        return
                    for piece in pieces:
                        self.wfile.write(piece)

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def run(answer: Answer, **load: Any) -> Measurement:
    settings = {"connections": 2, "requests": 20, "seconds": 30, "warmup": 0, "expect": 5, **load}
    with answering(answer) as server:
        return measure(server, Load(**settings), os.sched_getaffinity(0))


def bytewise(data: bytes) -> list[bytes]:
    return [data[i : i + 1] for i in range(len(data))]


@pytest.mark.parametrize(
    "pieces",
    [[OK], bytewise(OK), [CHUNKED], bytewise(CHUNKED), [b"HTTP/1.1 100 Continue\r\n\r\n" + OK]],
    ids=["sized", "sized, byte by byte", "chunked", "chunked, byte by byte", "after an interim answer"],
)
def test_whole_answers_are_counted(pieces: list[bytes]) -> None:
    got = run(lambda path, body: pieces)
    assert (got.completed, got.answered, got.errors, got.reconnects) == (20, 20, {}, 0)
    assert got.bytes == 20 * len(b"".join(pieces))
    assert got.cpu_seconds >= 0
    low, high = min(got.normal.buckets), max(got.normal.buckets)
    assert bucket_range(low)[0] <= got.normal.min_ns <= bucket_range(low)[1]
    assert bucket_range(high)[0] <= got.normal.max_ns <= bucket_range(high)[1]


@pytest.mark.parametrize(
    "answer",
    [OK.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), b"HTTP/1.0 200 OK\r\n\r\nhello"],
    ids=["connection: close", "HTTP/1.0 until the end"],
)
def test_a_connection_that_the_server_closes_is_opened_again(answer: bytes) -> None:
    got = run_closing(lambda path, body: [answer])
    assert (got.completed, got.errors) == (20, {})
    assert got.reconnects >= 18


def run_closing(answer: Answer) -> Measurement:
    """As run(), with a server that closes after each answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        for piece in answer("/", b"") or []:
                            connection.sendall(piece)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            server = Running(
                "test",
                listener.getsockname()[1],
                ProcessTree(os.getpid()),
                os.sched_getaffinity(0),
                Path(os.devnull),
                0.0,
            )
            load = Load(connections=2, requests=20, seconds=30, warmup=0, expect=5)
            return measure(server, load, os.sched_getaffinity(0))
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([OK.replace(b"200", b"503")], "status: 503 for /"),
        ([OK.replace(b"5\r", b"4\r")], "malformed: bytes after the answer"),
        ([OK.replace(b"5\r", b"4\r")[:-1]], "length: 4 body bytes"),
        ([b"nonsense\r\n\r\n"], "malformed: not an HTTP/1.x answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello"], "malformed"),
        ([OK.replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\n")], "malformed"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\nhello"], "malformed"),
        ([CHUNKED.replace(b"00003", b"zz")], "malformed"),
        ([CHUNKED.replace(b"he\r\n", b"hex\n")], "malformed"),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20000 + b"\r\n\r\n"], "malformed"),
        (None, "closed: before an answer"),
    ],
)
def test_anything_but_a_whole_good_answer_is_an_error(pieces: list[bytes] | None, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        run(lambda path, body: pieces, requests=3)


def test_a_few_errors_are_reported_and_many_are_refused() -> None:
    lock, seen = threading.Lock(), [0]

    def one_in(n: int) -> Answer:
        def answer(path: str, body: bytes) -> list[bytes]:
            with lock:
                seen[0] += 1
                return [OK.replace(b"200", b"500")] if seen[0] % n == 0 else [OK]

        return answer

    got = run(one_in(300), requests=600)
    assert got.errors == {"status": 2}
    assert got.completed == 598
    with pytest.raises(BenchError, match=r"2\.0 % of the requests failed; the first: status: 500 for /"):
        run(one_in(50), requests=600)


def test_one_request_in_k_is_slow_and_kept_apart() -> None:
    def count(seed: int) -> int:
        paths: list[str] = []

        def answer(path: str, body: bytes) -> list[bytes]:
            paths.append(path)
            return [OK]

        got = run(answer, requests=300, slow_every=4, connections=1, seed=seed)
        assert got.slow.count == paths.count("/slow")
        assert got.normal.count == paths.count("/")
        assert len(paths) == 300
        return got.slow.count

    assert 40 < count(1) < 120  # the seed decides: not chance
    assert count(1) == count(1)
    assert count(2) != count(3)


def test_thinking_connections_send_as_many_requests() -> None:
    got = run(lambda path, body: [OK], rate=5000, requests=50, connections=4)
    assert (got.completed, got.errors) == (50, {})


def test_an_upload_arrives_whole_and_its_answer_is_shown(tmp_path: Path) -> None:
    file = tmp_path / "body"
    file.write_bytes(os.urandom(300_000))
    bodies: list[bytes] = []

    def answer(path: str, body: bytes) -> list[bytes]:
        bodies.append(body)
        return [OK]

    got = run(answer, path="/upload", post_file=file, requests=2, connections=1)
    assert bodies == [file.read_bytes()] * 2
    assert got.last_body == "hello"
    assert got.bytes == 600_000


def test_bulk_may_be_discarded_but_is_counted() -> None:
    body = os.urandom(3_000_000)
    answer = [b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n", body]
    got = run(lambda path, _: answer, discard=True, expect=len(body), requests=3, connections=1)
    assert (got.completed, got.errors) == (3, {})
    assert got.bytes == 3 * sum(map(len, answer))


def test_idle_connections_are_held_and_missed() -> None:
    hello = OK.replace(b"5\r", b"13\r").replace(b"hello", b"Hello, World!")
    cpus = os.sched_getaffinity(0)
    with answering(lambda path, body: [hello]) as server, hold(server, 100, cpus) as held:
        assert held == 100
    connections: list[socket.socket] = []
    with (  # noqa: PT012
        answering(lambda path, body: [hello], connections) as server,
        pytest.raises(BenchError, match="2 of 3 idle connections were closed by the server"),
        hold(server, 3, cpus),
    ):
        for connection in connections[:2]:
            connection.shutdown(socket.SHUT_RDWR)
    with (
        answering(lambda path, body: [OK]) as server,
        pytest.raises(BenchError, match="only 0 of 3 connections got an answer: length"),
        hold(server, 3, cpus) as held,
    ):
        assert held == 0


def test_the_generator_stops_when_its_caller_fails() -> None:
    cpus = os.sched_getaffinity(0)
    hello = OK.replace(b"5\r", b"13\r").replace(b"hello", b"Hello, World!")
    with (
        answering(lambda path, body: [hello]) as server,
        pytest.raises(RuntimeError, match="in between"),
        hold(server, 3, cpus),
    ):
        raise RuntimeError("in between")  # the fixture that looks for children sees the generator if it lives on


@pytest.mark.parametrize("arguments", [[], ["--port", "0"], ["--port", "80", "--connections", "many"], ["--nonsense"]])
def test_the_generator_refuses_a_wrong_command_line(program: Path, arguments: list[str]) -> None:
    done = subprocess.run([program, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr
    assert not done.stdout


def test_the_generator_is_compiled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(install, "BENCH", tmp_path)
    (tmp_path / "loadgen-old").touch()
    program = install.build_loadgen()
    made = program.stat().st_mtime_ns
    assert install.build_loadgen() == program
    assert program.stat().st_mtime_ns == made
    assert [p.name for p in tmp_path.iterdir()] == [program.name]
    done = subprocess.run([program, "--help"], capture_output=True, text=True, check=True)
    assert "--slow-every" in done.stdout

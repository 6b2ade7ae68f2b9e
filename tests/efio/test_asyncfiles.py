"""efio.aopen and efio.awatch: files for tasks of asyncio."""

import asyncio
import contextlib
import io
import os
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest
from flows import PATIENCE

import efio

TEXT = "".join(f"line {n}\u00e4\n" for n in range(20_000))  # many times what one call gets


def run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(main, PATIENCE))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


def test_write_and_read(path: Path) -> None:
    async def main() -> None:
        async with efio.aopen(path, "w", encoding="utf-8") as file:
            assert await file.write(TEXT) == len(TEXT)
            await file.writelines(["more\n", "end"])
            await file.sync()
        assert file.closed
        file = await efio.aopen(path, encoding="utf-8")
        assert await file.readline() == "line 0\u00e4\n"
        assert await file.readlines(20) == ["line 1\u00e4\n", "line 2\u00e4\n", "line 3\u00e4\n"]
        async for line in file:
            assert line == "line 4\u00e4\n"
            break
        assert await file.read() == TEXT[5 * 8 :] + "more\nend"
        await file.close()
        async with efio.aopen(path, "r+b") as both:
            assert (await both.peek(4))[:4] == b"line"
            assert await both.read1(4) == b"line"
            buffer = bytearray(3)
            assert await both.readinto(buffer) == 3
            assert bytes(buffer) == b" 0\xc3"
            assert await both.seek(-3, os.SEEK_END) == await both.tell()
            assert await both.truncate() == both.file.tell()
            assert await both.write(b"END") == 3
            await both.flush()
            assert path.read_bytes().endswith(b"more\nEND")

    run(main())


def test_lines_are_those_of_the_file(path: Path) -> None:
    path.write_text(TEXT, encoding="utf-8")

    async def main() -> list[str]:
        async with efio.aopen(path, encoding="utf-8") as file:
            return [line async for line in file]

    assert run(main()) == TEXT.splitlines(keepends=True)


@pytest.mark.parametrize("mode", ["r", "rb"])
def test_what_follows_an_iteration_begins_where_it_stopped(path: Path, mode: str) -> None:
    """Lines that were got ahead count as not read."""
    path.write_text(TEXT, encoding="utf-8")
    encoding = None if "b" in mode else "utf-8"
    whole: Any = path.read_bytes() if "b" in mode else TEXT

    async def main() -> None:
        async with efio.aopen(path, mode, encoding=encoding) as file:
            seen = []
            async for line in file:
                seen.append(line)
                if len(seen) == 5000:
                    break
            assert await file.readline() == whole.splitlines(keepends=True)[5000]
            async for line in file:
                assert line == whole.splitlines(keepends=True)[5001]
                break
            rest = await file.read()
            assert rest == whole[0:0].join(whole.splitlines(keepends=True)[5002:])

    run(main())


def test_a_pipe_is_read_line_by_line() -> None:
    """Nothing is got ahead of what cannot be put back, and the loop goes on while there is nothing."""
    reading, writing = os.pipe()

    async def main() -> None:
        async with efio.aopen(reading, "rb") as file:
            os.write(writing, b"one\ntwo")
            assert await anext(aiter(file)) == b"one\n"
            second = asyncio.ensure_future(file.readline())
            await asyncio.sleep(0.01)
            assert not second.done()
            os.write(writing, b"!\n")
            assert await second == b"two!\n"
            os.close(writing)
            assert [line async for line in file] == []

    run(main())


def test_cached_reads_need_no_thread(path: Path) -> None:
    path.write_bytes(b"0123456789" * 1000)
    with efio.open(path, "rb", buffering=0) as probe:
        if not probe.read(4) or not probe.statistics().cached_reads:  # type: ignore[attr-defined]
            pytest.skip("this file system does not tell what it has cached")

    async def main() -> None:
        async with efio.aopen(path, "rb", 0) as file:
            assert await file.read(4096) == (b"0123456789" * 1000)[:4096]
            assert await file.read(10_000) == (b"0123456789" * 1000)[4096:]
            assert await file.read(1) == b""
            found = file.file.statistics()
            assert (found.cached_reads, found.blocking_calls) == (3, 0)
            assert await file.pread(4, 1) == b"1234"
            assert file.file.statistics().blocking_calls == 1

    run(main())


def test_calls_are_made_in_order(path: Path) -> None:
    async def main() -> None:
        async with efio.aopen(path, "wb", 0) as file:
            await asyncio.gather(*[file.write(b"%04d" % n) for n in range(300)])

    run(main())
    assert path.read_bytes() == b"".join(b"%04d" % n for n in range(300))


def test_a_cancelled_read_ends_before_the_file_is_used_again() -> None:
    reading, writing = os.pipe()
    entered = threading.Event()

    class Slow(io.FileIO):
        def readinto(self, buffer: Any) -> Any:
            entered.set()
            return super().readinto(buffer)

    async def main() -> None:
        file = efio.AsyncFile(io.BufferedReader(Slow(reading, "rb")))
        task = asyncio.ensure_future(file.read(4))
        await asyncio.to_thread(entered.wait, PATIENCE)
        task.cancel()
        await asyncio.sleep(0.01)
        assert not task.done(), "the thread still reads into its buffer"
        os.write(writing, b"abcdefgh")
        os.close(writing)
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert task.cancelled()
        assert await file.read(4) == b"efgh"
        await file.close()

    run(main())


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (("{path}/none",), FileNotFoundError, "none"),
        (("{path}", "rw"), ValueError, "exactly one of create/read/write/append mode"),
        (("{path}", "rb", -1, "utf-8"), ValueError, "binary mode doesn't take an encoding argument"),
        (("{path}",), IsADirectoryError, "directory"),
    ],
)
def test_errors_are_those_of_open(
    tmp_path: Path, arguments: tuple[Any, ...], error: type[Exception], text: str
) -> None:
    given = (arguments[0].format(path=tmp_path), *arguments[1:])

    async def main() -> None:
        with pytest.raises(error, match=text):
            await efio.aopen(*given)
        with pytest.raises(error, match=text):
            async with efio.aopen(*given):
                pass

    run(main())


def test_errors_of_calls(path: Path) -> None:
    async def main() -> None:
        file = await efio.aopen(path, "w")
        with pytest.raises(io.UnsupportedOperation, match="not readable"):
            await file.read()
        await file.close()
        await file.close()
        with pytest.raises(ValueError, match="closed file"):
            await file.write("x")

    run(main())


def test_awatch(tmp_path: Path) -> None:
    async def main() -> None:
        found: set[tuple[str, str]] = set()
        stop = asyncio.Event()

        async def look() -> None:
            async for changes in efio.awatch(tmp_path, timeout=0.2, stop=stop):
                if not changes:
                    (tmp_path / "new").write_text("x")  # the watch is there by now
                found.update(changes)
                if found:
                    stop.set()

        await look()
        assert ("added", str(tmp_path / "new")) in found
        with pytest.raises(FileNotFoundError, match="missing"):
            await anext(efio.awatch(tmp_path / "missing"))

    run(main())

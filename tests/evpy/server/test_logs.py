"""The handler behind the standard logging module: without locks, replaceable, alive whatever happens to the file."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from evpy.errors import StartupError
from evpy.server import logs

LOG = logging.getLogger("evpy.test")
APP = logging.getLogger("shop.orders")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Logging as it was before, for the tests that follow."""
    loggers = [logging.getLogger("evpy"), logging.getLogger()]
    before = [(logger.level, logger.propagate) for logger in loggers]
    yield
    for logger, (level, propagate) in zip(loggers, before, strict=True):
        logger.setLevel(level)
        logger.propagate = propagate
    while logs._installed:
        handler = logs._installed.pop()
        for logger in loggers:
            logger.removeHandler(handler)
        handler.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "log"


def events(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_event_has_fields(path: Path) -> None:
    logs.configure(role="worker-1", form="json", path=str(path))
    logs.event(LOG, logging.INFO, "ready at 100 %", slot=3, level="x", logger="y", message="z")
    (event,) = events(path)
    assert (event["message"], event["slot"], event["role"], event["level"]) == ("ready at 100 %", 3, "worker-1", "info")
    assert (event["level_"], event["logger_"], event["message_"]) == ("x", "y", "z")


def test_an_event_has_its_traceback(path: Path) -> None:
    logs.configure(role="supervisor", path=str(path))
    try:
        raise ValueError("bad")
    except ValueError as error:
        logs.event(LOG, logging.ERROR, "failed", exc_info=True)
        logs.event(LOG, logging.ERROR, "failed", exc_info=error)
    lines = path.read_text().splitlines()
    assert [line for line in lines if not line.startswith("  ")] == [lines[0], lines[len(lines) // 2]]
    assert lines.count("  ValueError: bad") == 2


def test_an_event_says_where_it_came_from(path: Path) -> None:
    handler = logs.configure(role="supervisor", path=str(path))
    seen: list[logging.LogRecord] = []

    def look(record: logging.LogRecord) -> bool:
        seen.append(record)
        return True

    handler.addFilter(look)
    logs.event(LOG, logging.ERROR, "x")
    assert [record.funcName for record in seen] == ["test_an_event_says_where_it_came_from"]


def test_levels(path: Path) -> None:
    logs.configure(role="supervisor", path=str(path), form="json", level="warning")
    for level in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        logs.event(LOG, level, "x")
    assert [event["level"] for event in events(path)] == ["warning", "error"]


def test_filters_apply(path: Path) -> None:
    handler = logs.configure(role="supervisor", path=str(path), form="json")
    handler.addFilter(lambda record: record.getMessage() != "secret")
    LOG.info("secret")
    LOG.info("open")
    assert [event["message"] for event in events(path)] == ["open"]


def test_loggers_of_the_application_come_along_when_asked(path: Path) -> None:
    logs.configure(role="worker-1", path=str(path), form="json")
    APP.error("not asked")
    logs.configure(role="worker-1", path=str(path), form="json", root=True)
    APP.info("asked")
    LOG.info("ours")
    logs.configure(role="worker-1", path=str(path), form="json")
    APP.error("no more")
    assert [event["message"] for event in events(path)] == ["asked", "ours"]


def test_a_second_configuration_replaces_the_first(tmp_path: Path) -> None:
    logs.configure(role="supervisor", path=str(tmp_path / "a"), form="json")
    LOG.info("1")
    logs.configure(role="supervisor", path=str(tmp_path / "b"), form="json")
    LOG.info("2")
    assert [event["message"] for event in events(tmp_path / "a")] == ["1"]
    assert [event["message"] for event in events(tmp_path / "b")] == ["2"]


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(StartupError) as caught:
        logs.configure(role="supervisor", path=str(tmp_path))
    assert str(caught.value) == f"cannot write the log to '{tmp_path}': Is a directory; choose another --log-file"


@pytest.mark.parametrize("path", [None, "-"])
def test_stderr(path: str | None, capfd: pytest.CaptureFixture[str]) -> None:
    logs.configure(role="supervisor", path=path)
    LOG.warning("here")
    assert capfd.readouterr().err.endswith(" evpy.test: here\n")


def test_dropped_lines_are_counted_and_reported(path: Path) -> None:
    before = logs.dropped_lines()
    path.symlink_to("/dev/full")
    logs.configure(role="supervisor", path=str(path), form="json")
    LOG.info("1")
    LOG.info("2")
    assert logs.dropped_lines() == before + 2
    path.unlink()
    logs.reopen()
    LOG.info("3")
    LOG.info("4")
    assert [event["message"] for event in events(path)] == ["3", logs_dropped(), "4"]
    assert events(path)[1]["lines"] == 2
    assert events(path)[1]["level"] == "warning"
    logs.configure(role="supervisor", path=str(path))
    assert logs.dropped_lines() == before + 2


def logs_dropped() -> str:
    return "log lines were dropped because they could not be written at once"


def test_rotation(path: Path, tmp_path: Path) -> None:
    logs.configure(role="supervisor", path=str(path), form="json")
    LOG.info("1")
    path.rename(tmp_path / "log.1")
    logs.reopen()
    LOG.info("2")
    assert [event["message"] for event in events(path)] == ["2"]


def test_a_failed_rotation_is_told_in_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    logs.configure(role="supervisor", path=str(tmp_path / "a" / "log"), form="json")
    (tmp_path / "a").rename(tmp_path / "b")
    logs.reopen()
    (event,) = events(tmp_path / "b" / "log")
    assert event["message"] == "the log file cannot be reopened, the old one stays in use"
    assert event["error"] == "No such file or directory"


def test_nothing_is_reopened_before_there_is_a_log() -> None:
    logs.reopen()


def test_no_lock_is_ever_taken(path: Path) -> None:
    class Poison:
        def acquire(self) -> None:
            raise AssertionError("locked")

        __enter__ = release = acquire

    handler = logs.configure(role="supervisor", path=str(path), form="json")
    assert handler.lock is None
    handler.lock = Poison()  # type: ignore[assignment]  # as gevent replaces it
    LOG.info("1")
    logs.reopen()
    assert len(events(path)) == 1


SCRIPT = """
    import logging, sys, threading
    {before}
    from evpy.server import logs
    logs.configure(role="worker-1", form="json", path=sys.argv[1], root=True)
    log = logging.getLogger("app")
    log.info("before")
    {after}
    import gevent, gevent.monkey
    gevent.get_hub()  # one thread chooses the event loop; several at once would get stuck in gevent's import lock
    start_new_thread = gevent.monkey.get_original("_thread", "start_new_thread")
    Lock = gevent.monkey.get_original("_thread", "allocate_lock")

    def hub(name, done):
        def work(n):
            for i in range(20):
                log.info("line", extra={{"fields": {{"id": f"{{name}}-{{n}}-{{i}}", "pad": "x" * 200}}}})
                gevent.sleep(0)
        gevent.joinall([gevent.spawn(work, n) for n in range(5)])
        gevent.get_hub().destroy(destroy_loop=True)
        done.release()

    locks = []
    for name in range(4):
        locks.append(Lock())
        locks[-1].acquire()
        start_new_thread(hub, (name, locks[-1]))
    for lock in locks:
        lock.acquire()
    log.info("after")
    """
PATCH = "import gevent.monkey; gevent.monkey.patch_all()"


@pytest.mark.parametrize(("before", "after"), [(PATCH, ""), ("", PATCH), ("", "")], ids=["before", "after", "never"])
def test_several_hubs_log_at_once(path: Path, before: str, after: str) -> None:
    """Whether gevent has patched the process before the log was configured, after that, or not at all."""
    script = textwrap.dedent(SCRIPT).format(before=before, after=after)
    done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = events(path)
    assert lines[0]["message"] == "before"
    assert lines[-1]["message"] == "after"
    found = sorted(str(event["id"]) for event in lines[1:-1])
    assert found == sorted(f"{name}-{n}-{i}" for name in range(4) for n in range(5) for i in range(20))

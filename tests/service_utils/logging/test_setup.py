"""What stands in a line, and which lines there are."""

from __future__ import annotations

import json
import logging
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import gevent
import pytest
from serving import Server

from evpy.http.request import _current, install_context_inheritance
from service_utils.logging import FileSink, bind, bound, configure, set_level

APP = """
import logging
import gevent
import evpy
from service_utils.logging import FileSink, bind, configure

log = logging.getLogger("shop")

def on_start():
    configure("info", [FileSink({path!r})], service="shop")

def handle(request):
    bind(user=request.query["user"])
    evpy.gather(lambda: log.info("inner"), lambda: gevent.sleep(0))
    log.warning("outer", extra={{"item": 5}})
    return request.id
"""


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def close() -> None:
    for handler in logging.getLogger().handlers:
        handler.close()


def test_in_a_server(tmp_path: Path) -> None:
    path = tmp_path / "shop.log"
    with Server(APP.format(path=str(path)), "-w", "1") as server:
        ids = {server.get(f"/?user=u{n}").body.decode(): f"u{n}" for n in range(5)}
        assert '"outer"' not in server.log
        assert "ready" in server.log, "evserver's own events go on where they went"
    found = [(line["request"], line["user"], line["message"], line.get("item")) for line in entries(path)]
    assert sorted(found, key=str) == sorted(
        [(i, u, "inner", None) for i, u in ids.items()] + [(i, u, "outer", 5) for i, u in ids.items()], key=str
    )


def test_fields(tmp_path: Path, logged: Any) -> None:
    path = tmp_path / "log"
    log = logged(FileSink(path))
    install_context_inheritance()

    class Request:
        id = "0123"

    def work(user: str) -> None:
        bind(user=user, order=1)
        with bound(order=2):
            gevent.sleep(0)
            log.info("in %s", "block")
        log.info("after", extra={"time": "not mine"})

    def request() -> None:
        _current.set(Request())  # type: ignore[arg-type]
        gevent.joinall([gevent.spawn(work, "ann"), gevent.spawn(work, "bob")], raise_error=True)
        log.info("end")

    gevent.spawn(request).get()
    log.info("outside")
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("failed\nand forged: 2026 INFO")
    close()
    lines = entries(path)
    assert [(x["message"], x.get("user"), x.get("order"), x.get("request")) for x in lines[:-1]] == [
        ("in block", "ann", 2, "0123"),
        ("after", "ann", 1, "0123"),
        ("in block", "bob", 2, "0123"),
        ("after", "bob", 1, "0123"),
        ("end", None, None, "0123"),
        ("outside", None, None, None),
    ]
    assert lines[1]["time_"] == "not mine"
    assert lines[-1]["traceback"].endswith("ValueError: why")
    assert lines[-1]["level"] == "error"


def test_text_and_levels(tmp_path: Path, logged: Any) -> None:
    path = tmp_path / "log"
    log = logged(FileSink(path, "text"), levels="warning, shop.db=debug")
    log.info("not this")
    log.warning("line\none", extra={"a": "b c"})
    logging.getLogger("shop.db").debug("query")
    set_level("info")
    log.info("now it is")
    set_level("error", "shop.db")
    logging.getLogger("shop.db").warning("not this")
    log.info("%d arguments that do not fit", "x")
    close()
    lines = path.read_text().splitlines()
    assert re.fullmatch(r'\S+Z WARNING  \[app \d+\] shop: line\\none a="b c"', lines[0])
    assert [line.split(": ", 1)[1][:9] for line in lines[1:]] == ["query", "now it is", "%d argume"]
    for wrong in ("loud", "info,shop=loud", "info,,debug"):
        with pytest.raises(ValueError, match="no level"):
            configure(wrong, [])


class Unfit:
    """What nobody should log."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("not even that")

    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_whoever_logs_never_comes_upon_it(tmp_path: Path, logged: Any) -> None:
    """A field that cannot be shown, or ten thousand of them, is neither an exception nor an endless line."""
    sinks = [FileSink(tmp_path / "json"), FileSink(tmp_path / "text", "text")]
    log = logged(*sinks)
    many = {f"k{n}": n for n in range(10_000)}
    extras: list[Any] = [{"n": 10**5000}, {1: 2, (3,): 4}, {"n" * 100_000: 1}, many, {"x": Unfit()}, {"x": 5}]
    for number, extra in enumerate(extras):
        log.info("event %d", number, extra=extra)
    with bound(user="ann", **many):
        log.info("event %d", len(extras))
    close()
    found = entries(tmp_path / "json")
    assert [line["message"] for line in found if line["message"] != "an event that cannot be shown"] == [
        f"event {number}" for number in range(7) if number != 4
    ]
    assert (found[1]["1"], found[1]["(3,)"], found[5]["x"], found[6]["user"]) == (2, 4, 5, "ann")
    lines = (tmp_path / "text").read_text().splitlines()
    assert [len(found), len(lines)] == [7, 7]
    assert max(map(len, lines)) < 5000


@pytest.mark.parametrize("patched", [False, True])
def test_everything_is_written_at_exit(tmp_path: Path, patched: bool) -> None:
    program = f"""
if {patched}:
    import gevent.monkey
    gevent.monkey.patch_all()
import logging, sys
from service_utils.logging import ConsoleSink, FileSink, configure
configure("info", [FileSink({str(tmp_path / "log")!r}), ConsoleSink()])
for n in range(5000):
    logging.info("line %d", n)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-P", "-c", program], stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 3
    expected = [f"line {n}" for n in range(5000)]
    assert [line["message"] for line in entries(tmp_path / "log")] == expected
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == expected

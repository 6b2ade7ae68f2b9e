"""An event is one line, whatever is in it, and formatting never fails."""

from __future__ import annotations

import enum
import json
import logging
import re
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evpy.server.log_formats import (
    MAX_FIELD,
    MAX_FIELDS,
    MAX_MESSAGE,
    MAX_NAME,
    MAX_TRACEBACK,
    JsonFormatter,
    TextFormatter,
    escape,
)

FORMATTERS = [TextFormatter("worker-3"), JsonFormatter("worker-3")]


class Broken:
    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


class Colour(enum.IntEnum):
    RED = 1


def record(message: object = "ready", *args: object, exc_info: Any = None, **fields: object) -> logging.LogRecord:
    made = logging.LogRecord("evpy.server", logging.WARNING, "file.py", 1, message, args, exc_info)
    made.created = 1767225600.1239
    made.process = 4711
    made.__dict__["fields"] = fields
    return made


def text(*args: Any, **fields: Any) -> str:
    return FORMATTERS[0].format(record(*args, **fields))


def data(*args: Any, **fields: Any) -> dict[str, Any]:
    def no_constant(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    loaded = json.loads(FORMATTERS[1].format(record(*args, **fields)), parse_constant=no_constant)
    assert isinstance(loaded, dict)
    return loaded


def raised(error: BaseException) -> Any:
    try:
        raise error
    except BaseException:  # noqa: BLE001  # whichever was given
        return sys.exc_info()


HEAD = "2026-01-01T00:00:00.123Z WARNING  [worker-3 4711] evpy.server: "


def test_text() -> None:
    assert text("worker %s ready", 3, took=0.25, file="a b", none=None, yes=True) == (
        HEAD + 'worker 3 ready took=0.25 file="a b" none=null yes=true'
    )


def test_json() -> None:
    assert data("worker %s ready", 3, took=0.25, file="a b", none=None, list=[1, "x"]) == {
        "time": "2026-01-01T00:00:00.123Z",
        "level": "warning",
        "role": "worker-3",
        "pid": 4711,
        "logger": "evpy.server",
        "message": "worker 3 ready",
        "took": 0.25,
        "file": "a b",
        "none": None,
        "list": [1, "x"],
    }


def test_without_fields() -> None:
    plain = record()
    del plain.__dict__["fields"]
    assert FORMATTERS[0].format(plain) == HEAD + "ready"
    plain.__dict__["fields"] = "nonsense"
    assert FORMATTERS[0].format(plain) == HEAD + "ready"


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("a\nb\r\n", "a\\nb\\r\\n"),
        ("\x1b[31m", "\\x1b[31m"),
        ("\0\t\x7f\x85", "\\x00\\t\\x7f\\x85"),
        ("a\u2028b\u202ec\u2066", "a\\u2028b\\u202ec\\u2066"),
        ("äö€😀", "äö€😀"),
    ],
)
def test_escapes(raw: str, shown: str) -> None:
    assert escape(raw) == shown
    assert text(raw) == HEAD + shown
    assert data(raw)["message"] == raw


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("", '""'),
        ("a=b", '"a=b"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\nb", '"a\\nb"'),
        ("/a/b?c", "/a/b?c"),
        (3, "3"),
        (b"x y", "\"b'x y'\""),
    ],
)
def test_values_in_text(value: object, shown: str) -> None:
    assert text(x=value) == f"{HEAD}ready x={shown}"


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Colour.RED, 1),
        (b"x", "b'x'"),
        ([float("inf")], "[inf]"),
        ({"a": [1]}, {"a": [1]}),
        ({(1, 2): 3}, "{(1, 2): 3}"),
        ({1}, "{1}"),
        (2**1024 - 1, 2**1024 - 1),
        (10**5000, "<int that cannot be shown: ValueError>"),
        (Broken(), "<Broken that cannot be shown: RuntimeError>"),
        ([Broken()], "<list that cannot be shown: RuntimeError>"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_in_json(value: object, shown: object) -> None:
    assert data(x=value)["x"] == shown


def test_nothing_in_text_passes_for_something_else() -> None:
    """Neither the name of a logger for a line, nor a key or the end of a value for further fields."""
    record = logging.makeLogRecord(
        {
            "name": "a\nb",
            "levelname": "INFO",
            "msg": "m",
            "fields": {"k l=1": "v", "q": 'x\\" admin="true', "p": "c:\\d"},
        }
    )
    line = TextFormatter("worker-1").format(record)
    assert "\n" not in line
    assert line.endswith(r' a\nb: m k_l_1=v q="x\\\" admin=\"true" p="c:\\d"')


def test_fields_that_collide_with_ours_in_json() -> None:
    loaded = data(level="high", pid=1, role="x")
    assert (loaded["level"], loaded["level_"], loaded["pid_"], loaded["role_"]) == ("warning", "high", 1, "x")


def test_a_message_whose_arguments_do_not_fit() -> None:
    assert text("%d things", "many") == HEAD + "%d things (arguments that do not fit: ('many',))"
    assert text("100 % sure") == HEAD + "100 % sure"
    assert "arguments that do not fit" in text("%s %s", Broken())
    assert "cannot be shown" in text("%s", Broken())
    assert "cannot be shown" in text(Broken())


class TestTraceback:
    def test_it_is_indented_in_text(self) -> None:
        first, *rest = text(
            "failed", exc_info=raised(ValueError("bad\n2026-01-01T00:00:00.000Z forged\r\x1b")), x=1
        ).split("\n")
        assert first == HEAD + "failed x=1"
        assert rest[0] == "  Traceback (most recent call last):"
        assert rest[-2:] == ["  ValueError: bad", "  2026-01-01T00:00:00.000Z forged\\r\\x1b"]
        assert all(line.startswith("  ") for line in rest)

    def test_it_is_a_field_in_json(self) -> None:
        trace = data("failed", exc_info=raised(ValueError("bad")))["traceback"]
        assert trace.startswith("Traceback (most recent call last):\n")
        assert trace.endswith("\nValueError: bad")

    def test_it_is_the_one_that_was_given(self) -> None:
        kind, error, whole = raised(ValueError("bad"))
        assert "log_formats" in text(exc_info=(kind, error, whole))
        assert text(exc_info=(kind, error, whole.tb_next)).endswith("\n  ValueError: bad")
        assert "log_formats" not in text(exc_info=(kind, error, whole.tb_next))

    def test_one_can_be_given_as_text(self) -> None:
        stack = "Thread 1:\n\n  File x\n"
        assert text("blocked", traceback=stack, x=1) == HEAD + "blocked x=1\n  Thread 1:\n    File x"
        loaded = data("blocked", traceback=stack)
        assert loaded["traceback"] == "Thread 1:\n\n  File x"
        assert "traceback_" not in loaded

    def test_a_stack_is_shown(self) -> None:
        made = record()
        made.stack_info = "Stack:\n  x"
        assert FORMATTERS[0].format(made).endswith("ready\n  Stack:\n    x")

    def test_no_exception_is_none(self) -> None:
        assert text("x", exc_info=(None, None, None)) == HEAD + "x"
        assert "traceback" not in data("x", exc_info=(None, None, None))

    def test_an_exception_that_cannot_be_shown(self) -> None:
        class Bad(Exception):
            __str__ = Broken.__str__

        assert "Bad: <exception str() failed>" in text(exc_info=raised(Bad()))

    def test_a_traceback_that_cannot_be_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*error: object) -> list[str]:
            raise RecursionError

        monkeypatch.setattr("traceback.format_exception", fail)
        assert "its traceback cannot be shown: RecursionError" in text(exc_info=raised(ValueError()))


class TestBounds:
    def test_a_long_message_keeps_both_ends(self) -> None:
        line = text("a" * 10_000 + "b" * 10_000)
        assert re.search(rf"a\.\.\.\[{20_000 - MAX_MESSAGE} characters left out\]\.\.\.b", line)
        assert len(line) < MAX_MESSAGE + 200

    def test_long_fields(self) -> None:
        assert len(text(x="a" * 100_000)) < MAX_FIELD + 200
        assert len(json.dumps(data(x="a" * 100_000, y=["a" * 100_000]))) < 2 * MAX_FIELD + 400

    def test_many_fields(self) -> None:
        assert text(**{f"f{n}": n for n in range(1000)}).endswith(f" f{MAX_FIELDS - 1}={MAX_FIELDS - 1}")
        assert len(text(**{"n" * 100_000: 1})) < MAX_NAME + 200

    def test_long_tracebacks(self) -> None:
        assert len(data(exc_info=raised(ValueError("x" * 1_000_000)))["traceback"]) < MAX_TRACEBACK + 100


class Mute:
    """Like ``Broken``, but Hypothesis can show it when a test fails."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


anything: st.SearchStrategy[Any] = st.recursive(
    st.text() | st.integers() | st.floats() | st.none() | st.booleans() | st.binary() | st.builds(Mute),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.integers(), inner),
    max_leaves=10,
)


@given(anything, st.lists(anything), st.dictionaries(st.text(), anything))
def test_any_event_is_one_line(message: object, args: list[object], fields: dict[str, object]) -> None:
    fields.pop("traceback", None)
    made = record(message, *args)
    made.__dict__["fields"] = fields
    for formatter in FORMATTERS:
        line = formatter.format(made)
        assert len(line.splitlines()) == 1
        line.encode("utf-8", "backslashreplace")
    json.loads(line)
